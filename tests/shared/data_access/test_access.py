"""Opening the ports that a process asks for, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from uuid import uuid4

import pytest

from shared.data_access.access import PORTS, StoreUrls, open_data_access
from shared.data_access.ports import Document, Node, VectorItem
from shared.errors import ConfigError, InternalError, StoreUnavailable

NOWHERE = StoreUrls(
    database="postgresql://nobody@127.0.0.1:1/x",
    graph="bolt://127.0.0.1:1",
    vector=None,
    search=None,
    redis="redis://127.0.0.1:1",
)


@pytest.fixture
def urls(stores, database_url, redis_url) -> StoreUrls:
    return StoreUrls(database_url, stores.graph_url, None, None, redis_url)


async def test_all_ports_of_embedded_stores_work(urls):
    org = uuid4()
    async with open_data_access(urls) as data:
        for port in sorted(PORTS):
            await getattr(data, port).ping()
        await data.search.index(org, "calls", [Document("c1", "退款")])
        await data.vectors.upsert(org, "users", "v1", [VectorItem("u1", [1.0, 0.0])])
        await data.graph.upsert_nodes(org, [Node("Person", "p1")])
        await data.cache.set("k", b"v", ttl=5)
        assert len((await data.search.search(org, "calls", "退款")).hits) == 1
        assert len(await data.vectors.search(org, "users", "v1", [1.0, 0.1])) == 1
        assert await data.graph.counts(org) == ({"Person": 1}, {})
        assert await data.cache.get("k") == b"v"
        await data.graph.clear(org)


async def test_a_port_that_was_not_asked_for_is_not_there(urls):
    async with open_data_access(urls, ports={"search"}) as data:
        await data.search.ping()
        for port in sorted(PORTS - {"search"}):
            with pytest.raises(InternalError, match=port):
                getattr(data, port)


async def test_opening_needs_no_store(urls):
    async with open_data_access(NOWHERE) as data:
        for port in sorted(PORTS):
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await getattr(data, port).ping()
            assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"graph": "http://x"}, "GRAPH_URL"),
        ({"redis": "http://x"}, "REDIS_URL"),
        ({"search": "redis://x"}, "SEARCH_URL"),
        ({"vector": "bolt://x"}, "VECTOR_URL"),
    ],
)
async def test_a_url_of_another_store_is_refused(change, message):
    fields = {name: getattr(NOWHERE, name) for name in ("database", "graph", "vector", "search", "redis")}  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        async with open_data_access(StoreUrls(**{**fields, **change})):
            pass


async def test_an_unknown_port_is_refused():
    with pytest.raises(ConfigError, match="seach"):
        async with open_data_access(NOWHERE, ports={"seach"}):
            pass


def test_urls_are_not_shown():
    assert "nobody" not in repr(NOWHERE)


def run_python(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return result.stdout


def test_a_process_loads_the_clients_of_its_stores_only():
    code = """
import asyncio, sys
from shared.data_access.access import StoreUrls, open_data_access
heavy = ("neo4j", "weaviate", "elasticsearch", "redis", "snowballstemmer", "jieba", "grpc")
print(sorted(name for name in heavy if name in sys.modules))
async def main():
    urls = StoreUrls("postgresql://x", "bolt://x", None, None, "redis://x")
    async with open_data_access(urls, ports={"relational", "cache"}):
        print(sorted(name for name in heavy if name in sys.modules))
asyncio.run(main())
"""
    assert run_python(code).splitlines() == ["[]", "['redis']"]


def test_the_graph_port_loads_no_array_libraries_and_leaves_them_usable():
    code = """
import sys
import shared.data_access.graph.bolt
print([name for name in ("numpy", "pandas", "pyarrow") if name in sys.modules])
import pyarrow
print(pyarrow.array([1]).to_pylist())
"""
    assert run_python(code).splitlines() == ["[]", "[1]"]


@pytest.mark.parametrize(
    ("client", "setting"), [("weaviate", "VECTOR_URL"), ("elasticsearch", "SEARCH_URL")]
)
def test_a_missing_client_is_named_with_its_extra(client, setting):
    code = f"""
import asyncio, sys
sys.modules[{client!r}] = None  # as if it weren't installed
from shared.data_access.access import StoreUrls, open_data_access
from shared.errors import ConfigError
async def main():
    urls = StoreUrls("postgresql://x", "bolt://x", "http://x", "http://x", "redis://x")
    port = {{"weaviate": "vectors", "elasticsearch": "search"}}[{client!r}]
    try:
        async with open_data_access(urls, ports={{port}}):
            pass
    except ConfigError as error:
        print(error.message)
asyncio.run(main())
"""
    message = run_python(code)
    assert setting in message
    assert f"looma-ai[{client}]" in message
