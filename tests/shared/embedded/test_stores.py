"""A set of stores as its users see it: started, used, found, measured, closed to others."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import neo4j
import neo4j.exceptions
import psutil
import pytest

from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.process import identify
from shared.embedded.stores import EmbeddedStores, find
from tests.shared.embedded.conftest import (
    FIND,
    Running,
    cache,
    graph_values,
    in_another_process,
    rows,
    started,
    urls,
)

MEBIBYTE = 1024 * 1024


async def test_postgres_has_vectors_and_unicode_sorted_by_bytes(running: Running) -> None:
    distance = await rows(running.endpoints, "SELECT '[1,0]'::vector <=> '[0,1]'::vector")
    assert distance == [1.0]
    assert await rows(running.endpoints, "SELECT lower('ÄÉ客户')") == ["äé客户"]
    ordered = "SELECT x FROM unnest(ARRAY['b','B','a','客']) AS x ORDER BY x"
    assert await rows(running.endpoints, ordered) == ["B", "a", "b", "客"]
    words = "SELECT to_tsvector('simple', '客户 很满意，谢谢')::text"
    assert await rows(running.endpoints, words) == ["'客户':1 '很满意':2 '谢谢':3"]


async def test_postgres_is_set_for_a_laptop_with_durable_commits(running: Running) -> None:
    names = {
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "max_connections": "100",
        "jit": "off",
        "synchronous_commit": "on",
        "fsync": "on",
        "wal_compression": "pglz",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "data_checksums": "on",
    }
    for name, expected in names.items():
        assert await rows(running.endpoints, "SELECT current_setting($1)", name) == [expected]


async def test_our_role_owns_databases_and_roles_but_is_no_superuser(running: Running) -> None:
    connection = await asyncpg.connect(running.endpoints.database_url)
    try:
        assert await connection.fetchval("SHOW is_superuser") == "off"
        await connection.execute("CREATE ROLE looma_reader")
        await connection.execute("SET ROLE looma_reader")
        await connection.execute("RESET ROLE; DROP ROLE looma_reader")
        await connection.execute("CREATE DATABASE another")
        url = running.endpoints.database_url.replace("/looma?", "/another?")
        other = await asyncpg.connect(url)
        assert await other.fetchval("SELECT '[3,4]'::vector <-> '[0,0]'") == 5.0
        await other.close()
        await connection.execute("DROP DATABASE another")
    finally:
        await connection.close()


async def test_redis_keeps_values_within_its_memory(running: Running) -> None:
    async with cache(running.endpoints) as client:
        await client.set("客户", "张三")
        assert (await client.get("客户")).decode() == "张三"
        assert await client.config_get("maxmemory") == {"maxmemory": str(256 * MEBIBYTE)}


async def test_graph_merges_and_finds_paths(running: Running) -> None:
    merge = (
        "UNWIND range(1, 5) AS i MERGE (a:Customer {id: i}) MERGE (b:Customer {id: i + 1}) "
        "MERGE (a)-[:CALLED]->(b) RETURN i"
    )
    assert await graph_values(running.endpoints, merge) == [1, 2, 3, 4, 5]
    assert len(await graph_values(running.endpoints, merge)) == 5
    count = "MATCH (c:Customer) RETURN count(c)"
    assert await graph_values(running.endpoints, count) == [6]
    path = (
        "MATCH p = shortestPath((a:Customer {id: 1})-[:CALLED*..9]->(b:Customer {id: 6})) "
        "RETURN length(p)"
    )
    assert await graph_values(running.endpoints, path) == [5]


async def test_starting_again_reuses_every_server(running: Running) -> None:
    before = {name: health.pid for name, health in (await running.stores.health()).items()}
    told: list[tuple[str, str]] = []
    again = await EmbeddedStores(running.home).start(lambda *what: told.append(what))
    assert again == running.endpoints
    after = {name: health.pid for name, health in (await running.stores.health()).items()}
    assert after == before
    assert sorted(told) == [
        ("graph", "found running"),
        ("postgres", "found running"),
        ("redis", "found running"),
    ]


async def test_another_process_finds_the_same_endpoints(running: Running) -> None:
    assert await in_another_process(FIND, running.home) == urls(running.endpoints)


async def test_health_tells_process_memory_and_address(running: Running) -> None:
    health = await running.stores.health()
    assert set(health) == {"postgres", "redis", "graph"}
    for store in health.values():
        assert store.up
        assert store.address
        assert 1 * MEBIBYTE < store.rss_bytes < 450 * MEBIBYTE


async def test_nothing_listens_beyond_loopback(running: Running) -> None:
    listening: dict[str, set[str]] = {}
    for name, health in (await running.stores.health()).items():
        root = psutil.Process(health.pid)
        listening[name] = {
            connection.laddr.ip
            for process in [root, *root.children(recursive=True)]
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        }
    assert listening == {"postgres": set(), "redis": set(), "graph": {"127.0.0.1"}}


async def test_secrets_and_sockets_are_closed_to_others(running: Running) -> None:
    assert stat.S_IMODE(running.home.stat().st_mode) & 0o066 == 0
    for folder in ("secrets", "logs", "postgres", "redis", "graph"):
        assert stat.S_IMODE((running.home / folder).stat().st_mode) == 0o700, folder
    private = [
        running.home / "stores.json",
        running.home / "redis" / "redis.conf",
        running.home / "graph" / "root.password",
        *(running.home / "secrets").iterdir(),
        *(running.home / "logs").iterdir(),
    ]
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


async def test_no_password_is_shown(running: Running) -> None:
    passwords = [path.read_text() for path in (running.home / "secrets").iterdir()]
    assert len(passwords) == len(set(passwords)) == 3
    shown = [repr(running.endpoints), (running.home / "stores.json").read_text()]
    shown += [log.read_text() for log in (running.home / "logs").iterdir()]
    for health in (await running.stores.health()).values():
        process = psutil.Process(health.pid)
        shown += [*process.cmdline(), *process.environ().values()]
    assert not [text for text in shown for password in passwords if password in text]


async def test_postgres_wants_the_password(running: Running) -> None:
    host = running.endpoints.database_url.partition("?host=")[2]
    assert host
    for user, password in (("looma", "wrong"), ("postgres", ""), ("postgres", "postgres")):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(
                running.endpoints.database_url, user=user, password=password, timeout=5
            )


async def test_redis_wants_the_password(running: Running) -> None:
    socket = running.home / "redis" / "redis.sock"
    reader, writer = await asyncio.open_unix_connection(str(socket))
    for command, answer in ((b"PING", b"-NOAUTH"), (b"AUTH wrong", b"-WRONGPASS")):
        writer.write(command + b"\r\n")
        assert (await reader.readline()).startswith(answer)
    writer.close()
    await writer.wait_closed()


async def test_graph_wants_the_password(running: Running) -> None:
    url = urlsplit(running.endpoints.graph_url)
    for password in ("playwithdata", "wrong"):
        driver = neo4j.AsyncGraphDatabase.driver(
            f"bolt://{url.hostname}:{url.port}", auth=("root", password)
        )
        async with driver:
            with pytest.raises(neo4j.exceptions.AuthError):
                await driver.verify_connectivity()


async def test_stopped_stores_are_not_found_and_come_back_where_they_were(tmp_path: Path) -> None:
    which = frozenset({"postgres", "redis"})
    async with started(tmp_path / ".looma", which=which) as running:
        await rows(running.endpoints, "CREATE TABLE kept AS SELECT 42 AS value")
        async with cache(running.endpoints) as client:
            await client.set("kept", "yes")
        await stop_and_start_again(running)
        assert await rows(running.endpoints, "SELECT value FROM kept") == [42]
        async with cache(running.endpoints) as client:
            assert await client.get("kept") == b"yes"


@pytest.mark.slow
async def test_a_stopped_graph_comes_back_where_it_was(tmp_path: Path) -> None:
    async with started(tmp_path / ".looma", which=frozenset({"graph"})) as running:
        await graph_values(running.endpoints, "MERGE (c:Customer {id: 7}) RETURN c.id")
        await stop_and_start_again(running)
        assert await graph_values(running.endpoints, "MATCH (c:Customer) RETURN c.id") == [7]


async def stop_and_start_again(running: Running) -> None:
    pids = [health.pid for health in (await running.stores.health()).values()]
    await running.stores.stop()
    assert find(running.home) is None
    assert not [pid for pid in pids if pid and identify(pid)]
    assert not any(health.up for health in (await running.stores.health()).values())
    assert await running.stores.start() == running.endpoints


async def test_a_home_runs_only_the_stores_that_were_asked_for(tmp_path: Path) -> None:
    async with started(tmp_path / ".looma", which=frozenset({"redis"})) as running:
        found = find(running.home)
        assert found == running.endpoints
        assert found is not None
        assert found.redis_url
        assert found.database_url == found.graph_url == ""
        assert set(await running.stores.health()) == {"redis"}


async def test_an_unused_home_has_nothing_to_find_or_stop(tmp_path: Path) -> None:
    home = tmp_path / ".looma"
    assert find(home) is None
    await EmbeddedStores(home).stop()
    assert not home.exists()


async def test_an_unknown_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedStoreError, match=r"unknown store mongo: choose from graph"):
        EmbeddedStores(tmp_path, which=frozenset({"redis", "mongo"}))
