"""Homes with running servers, and clients that speak to them as the platform does."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import neo4j
import pytest
import redis.asyncio

from shared.embedded.stores import EmbeddedStores, Endpoints

REPOSITORY = Path(__file__).parents[3]
# For a Python that is not that of this virtual environment.
SITE_PACKAGES = os.pathsep.join(
    filter(None, [sysconfig.get_path("platlib"), os.environ.get("PYTHONPATH")])
)


@dataclass(frozen=True)
class Running:
    home: Path
    stores: EmbeddedStores
    endpoints: Endpoints

    async def pid(self, store: str) -> int:
        pid = (await self.stores.health())[store].pid
        assert pid is not None, f"{store} does not run"
        return pid


@asynccontextmanager
async def started(home: Path, **options: Any) -> AsyncIterator[Running]:
    stores = EmbeddedStores(home, **options)
    try:
        yield Running(home, stores, await stores.start())
    finally:
        await stores.stop()


@contextmanager
def own_directory() -> Iterator[Path]:
    """A directory outside pytest's own, which every pytest that starts closes to all but its user.

    PostgreSQL of a run as root has an account of its own and would be shut out in the middle.
    """
    path = Path(tempfile.mkdtemp(prefix="looma-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with own_directory() as path:
        yield path


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Running]:
    """All three stores, one set per module, in a path that is not plain ASCII."""
    with own_directory() as path:
        async with started(path / "测试 目录's" / ".looma") as running:
            yield running


async def rows(endpoints: Endpoints, query: str, *arguments: object) -> list[Any]:
    """The first column of what PostgreSQL answers."""
    connection = await asyncpg.connect(endpoints.database_url, timeout=10)
    try:
        return [row[0] for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()


@asynccontextmanager
async def cache(endpoints: Endpoints) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.from_url(endpoints.redis_url)
    try:
        yield client
    finally:
        await client.aclose()


async def graph_values(
    endpoints: Endpoints, query: str, *, retry_s: float = 30, **parameters: object
) -> list[Any]:
    """The first column of what the graph database answers, in a transaction that is retried."""
    url = urlsplit(endpoints.graph_url)
    driver = neo4j.AsyncGraphDatabase.driver(
        f"bolt://{url.hostname}:{url.port}",
        auth=(url.username, url.password),
        max_transaction_retry_time=retry_s,
    )
    async with driver:
        database = url.path.removeprefix("/")
        result = await driver.execute_query(query, parameters, database_=database)
        return [record.values()[0] for record in result.records]


START = """
import asyncio, json, sys
from pathlib import Path
from shared.embedded.stores import EmbeddedStores
stores = EmbeddedStores(Path(sys.argv[1]))
found = asyncio.run(stores.start())
print(json.dumps([found.database_url, found.redis_url, found.graph_url]))
"""
FIND = """
import json, sys
from pathlib import Path
from shared.embedded.stores import find
found = find(Path(sys.argv[1]))
print(json.dumps(found and [found.database_url, found.redis_url, found.graph_url]))
"""


async def in_another_process(
    script: str, home: Path, *, wrapper: tuple[str, ...] = (), python: str = sys.executable
) -> Any:
    """Run one of the scripts above and return the JSON that it prints."""
    process = await asyncio.create_subprocess_exec(
        *wrapper,
        python,
        "-c",
        script,
        str(home),
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": SITE_PACKAGES},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def urls(endpoints: Endpoints) -> list[str]:
    return [endpoints.database_url, endpoints.redis_url, endpoints.graph_url]
