"""Whatever dies, and however, the next start brings the stores and their data back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import neo4j.exceptions
import pytest

from shared.embedded.process import identify, stop
from shared.embedded.stores import EmbeddedStores, find
from tests.shared.embedded.conftest import (
    REPOSITORY,
    START,
    Running,
    cache,
    graph_values,
    in_another_process,
    rows,
    started,
    urls,
)

POSTGRES = frozenset({"postgres"})
GRAPH = frozenset({"graph"})
REDIS = frozenset({"redis"})


async def kill(running: Running, store: str) -> int:
    pid = await running.pid(store)
    process = identify(pid)
    assert process is not None
    assert await asyncio.to_thread(stop, process, [(signal.SIGKILL, 10)])
    return pid


def wait_for(folder: Path, pattern: str) -> None:
    deadline = time.monotonic() + 30
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in {folder}"
        time.sleep(0.005)


async def write_until_it_dies(
    write: Callable[[int], Awaitable[object]], errors: type[Exception] | tuple[type[Exception], ...]
) -> int:
    """Write 0, 1, 2, … one by one; the number of writes that were acknowledged."""
    done = 0
    while True:
        try:
            await write(done)
        except errors:
            return done
        done += 1


async def test_postgres_killed_while_writing_keeps_every_commit(running: Running) -> None:
    await rows(running.endpoints, "CREATE TABLE events (n int PRIMARY KEY)")
    connection = await asyncpg.connect(running.endpoints.database_url)
    writing = asyncio.create_task(
        write_until_it_dies(
            lambda n: connection.execute("INSERT INTO events VALUES ($1)", n),
            (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError),
        )
    )
    await asyncio.sleep(0.5)
    killed = await kill(running, "postgres")
    committed = await writing
    connection.terminate()
    assert not (await running.stores.health())["postgres"].up

    assert await running.stores.start() == running.endpoints
    assert await running.pid("postgres") != killed
    kept = await rows(running.endpoints, "SELECT n FROM events ORDER BY n")
    # The one in flight may have been committed without our hearing of it.
    assert kept in (list(range(committed)), list(range(committed + 1)))
    assert committed > 10


@pytest.mark.slow
async def test_graph_killed_while_writing_keeps_every_commit_whole(running: Running) -> None:
    batch = "UNWIND range(1, 100) AS i CREATE (e:Event {batch: $n, i: i}) RETURN count(e)"
    await graph_values(running.endpoints, batch, n=-1)
    writing = asyncio.create_task(
        write_until_it_dies(
            lambda n: graph_values(running.endpoints, batch, n=n, retry_s=0),
            (neo4j.exceptions.DriverError, neo4j.exceptions.Neo4jError),
        )
    )
    await asyncio.sleep(1)
    killed = await kill(running, "graph")
    committed = await writing

    assert await running.stores.start() == running.endpoints
    assert await running.pid("graph") != killed
    sizes = "MATCH (e:Event) WITH e.batch AS batch, count(e) AS size RETURN [batch, size]"
    kept = dict(await graph_values(running.endpoints, sizes))
    assert set(kept.values()) == {100}
    # The one in flight may have been committed without our hearing of it.
    assert sorted(kept) in (list(range(-1, committed)), list(range(-1, committed + 1)))
    assert committed > 5


async def test_redis_killed_comes_back_with_its_last_snapshot(running: Running) -> None:
    async with cache(running.endpoints) as client:
        await client.set("kept", "yes")
        await client.save()
        await client.set("later", "perhaps")
    await kill(running, "redis")
    (running.home / "redis" / "temp-4711.rdb").write_bytes(b"half of a snapshot")
    assert await running.stores.start() == running.endpoints
    async with cache(running.endpoints) as client:
        assert await client.get("kept") == b"yes"
    assert not list((running.home / "redis").glob("temp-*"))


async def test_all_killed_at_once_come_back(running: Running) -> None:
    await rows(running.endpoints, "CREATE TABLE survivors AS SELECT 1 AS n")
    await graph_values(running.endpoints, "MERGE (s:Survivor {n: 1}) RETURN s.n")
    for store in ("postgres", "redis", "graph"):
        await kill(running, store)
    assert find(running.home) is None
    assert await running.stores.start() == running.endpoints
    assert await rows(running.endpoints, "SELECT n FROM survivors") == [1]
    assert await graph_values(running.endpoints, "MATCH (s:Survivor) RETURN s.n") == [1]


async def test_a_store_that_died_alone_does_not_disturb_the_others(running: Running) -> None:
    pids = {store: await running.pid(store) for store in ("postgres", "graph")}
    await kill(running, "redis")
    assert find(running.home) == running.endpoints
    await running.stores.start()
    assert {store: await running.pid(store) for store in pids} == pids


@pytest.mark.slow
async def test_starts_of_one_store_share_it_and_need_not_wait_for_another(running: Running) -> None:
    """The graph database takes seconds to come up; Redis does not wait for that."""
    await kill(running, "graph")
    await kill(running, "redis")
    slow = asyncio.create_task(running.stores.start(only=["graph"]))
    await asyncio.sleep(0)
    await asyncio.gather(*(running.stores.start(only=["redis"]) for _ in range(3)))
    assert not slow.done()
    await slow
    assert all(health.up for health in (await running.stores.health()).values())


async def test_only_a_store_whose_process_is_gone_has_ended(running: Running) -> None:
    assert running.stores.ended() == []
    pid = await running.pid("redis")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert running.stores.ended() == []
    finally:
        os.kill(pid, signal.SIGCONT)
    await kill(running, "redis")
    assert running.stores.ended() == ["redis"]
    await running.stores.start(only=["redis"])
    assert running.stores.ended() == []


@pytest.mark.parametrize(
    "damage",
    [
        "missing",
        pytest.param("not json", marks=pytest.mark.slow),
        pytest.param("of another shape", marks=pytest.mark.slow),
    ],
)
async def test_servers_without_a_record_are_found_again(running: Running, damage: str) -> None:
    stores = ("postgres", "redis", "graph")
    pids = [await running.pid(store) for store in stores]
    state = running.home / "stores.json"
    if damage == "missing":
        state.unlink()
    else:
        state.write_text("{" if damage == "not json" else '{"servers": {"redis": []}}')
    health = await running.stores.health()
    assert {name: one.pid for name, one in health.items()} == dict(zip(stores, pids, strict=True))
    assert all(one.up for one in health.values())
    assert await running.stores.start() == running.endpoints
    assert [await running.pid(store) for store in stores] == pids


@pytest.mark.slow
async def test_a_pid_given_to_another_program_is_not_mistaken_for_postgres(
    tmp_path: Path,
) -> None:
    async with started(tmp_path / ".looma", which=POSTGRES) as running:
        await rows(running.endpoints, "CREATE TABLE kept AS SELECT 1 AS n")
        killed = await kill(running, "postgres")
        ours = str(os.getpid())
        for name in ("data/postmaster.pid", ".s.PGSQL.5432.lock"):
            path = running.home / "postgres" / name
            assert path.read_text().startswith(str(killed))
            path.write_text(path.read_text().replace(str(killed), ours, 1))
        state = running.home / "stores.json"
        state.write_text(state.read_text().replace(str(killed), ours))

        await running.stores.start()
        assert await rows(running.endpoints, "SELECT n FROM kept") == [1]
        assert await running.pid("postgres") != os.getpid()


@pytest.mark.slow
async def test_an_empty_pid_file_does_not_stop_postgres(tmp_path: Path) -> None:
    async with started(tmp_path / ".looma", which=POSTGRES) as running:
        await kill(running, "postgres")
        (running.home / "postgres" / "data" / "postmaster.pid").write_text("")
        assert await running.stores.start() == running.endpoints


async def test_an_interrupted_first_start_is_done_again(tmp_path: Path) -> None:
    """Killed in the middle of creating the data, or before the role was made."""
    half = tmp_path / ".looma" / "postgres" / "data.new-1" / "base"
    half.mkdir(parents=True)
    async with started(tmp_path / ".looma", which=POSTGRES) as running:
        assert not half.exists()
        await running.stores.stop()
        (running.home / "postgres" / "provisioned").unlink()
        await running.stores.start()
        assert await rows(running.endpoints, "SELECT 1") == [1]


@pytest.mark.slow
async def test_lost_secrets_are_replaced_and_the_data_kept(tmp_path: Path) -> None:
    async with started(tmp_path / ".looma") as running:
        await rows(running.endpoints, "CREATE TABLE kept AS SELECT 1 AS n")
        await graph_values(running.endpoints, "MERGE (k:Kept {n: 1}) RETURN k.n")
        await asyncio.to_thread(shutil.rmtree, running.home / "secrets")
        fresh = await running.stores.start()
        assert not set(urls(fresh)) & set(urls(running.endpoints))
        assert await rows(fresh, "SELECT n FROM kept") == [1]
        assert await graph_values(fresh, "MATCH (k:Kept) RETURN k.n") == [1]
        async with cache(fresh) as client:
            assert await client.ping()


@pytest.mark.slow
async def test_taken_ports_are_left_to_their_owner(tmp_path: Path) -> None:
    async with started(tmp_path / ".looma", which=GRAPH) as running:
        await graph_values(running.endpoints, "MERGE (k:Kept {n: 1}) RETURN k.n")
        port = int(running.endpoints.graph_url.rpartition(":")[2].partition("/")[0])
        await running.stores.stop()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()
            moved = await running.stores.start()
            assert f":{port}/" not in moved.graph_url
            assert await graph_values(moved, "MATCH (k:Kept) RETURN k.n") == [1]
            # The stranger was never shown the password: nobody connected to it.
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.accept()


async def test_servers_outlive_a_killed_starter(tmp_path: Path) -> None:
    home = tmp_path / ".looma"
    stores = EmbeddedStores(home, which=REDIS)
    script = START.replace("print(", "import os, signal; os.kill(os.getpid(), signal.SIGKILL); (")
    try:
        starter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script.replace("(sys.argv[1])", "(sys.argv[1]), which={'redis'}"),
            str(home), cwd=REPOSITORY,
        )  # fmt: skip
        assert await starter.wait() == -signal.SIGKILL
        found = find(home)
        assert found is not None
        assert await stores.start() == found
    finally:
        await stores.stop()


@pytest.mark.slow
async def test_a_starter_killed_while_it_creates_the_data_can_be_replaced(tmp_path: Path) -> None:
    home = tmp_path / ".looma"
    stores = EmbeddedStores(home, which=POSTGRES)
    try:
        starter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, str(home), cwd=REPOSITORY,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.to_thread(wait_for, home, "postgres/data.new-*/base")
        starter.kill()
        await starter.wait()
        assert await rows(await stores.start(), "SELECT 1") == [1]
        assert not list(home.glob("postgres/data.new-*"))
    finally:
        await stores.stop()


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.6, 2.0, 2.4])
async def test_a_starter_killed_at_any_moment_can_be_replaced(
    tmp_path: Path, after_s: float
) -> None:
    home = tmp_path / ".looma"
    stores = EmbeddedStores(home)
    try:
        starter = await asyncio.create_subprocess_exec(
            sys.executable, "-c", START, str(home), cwd=REPOSITORY,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.sleep(after_s)
        if starter.returncode is None:
            starter.kill()
        await starter.wait()
        endpoints = await stores.start()
        assert await rows(endpoints, "SELECT 1") == [1]
        assert await graph_values(endpoints, "RETURN 1") == [1]
        assert all(health.up for health in (await stores.health()).values())
    finally:
        await stores.stop()


@pytest.mark.slow
async def test_a_frozen_server_is_replaced(tmp_path: Path) -> None:
    async with started(tmp_path / ".looma", which=REDIS) as running:
        frozen = await running.pid("redis")
        os.kill(frozen, signal.SIGSTOP)
        assert not (await running.stores.health())["redis"].up
        await running.stores.start()
        assert await running.pid("redis") != frozen
        assert (await running.stores.health())["redis"].up


async def test_two_processes_that_start_at_once_share_one_set(tmp_path: Path) -> None:
    home = tmp_path / ".looma"
    stores = EmbeddedStores(home)
    try:
        first, second = await asyncio.gather(
            in_another_process(START, home), in_another_process(START, home)
        )
        assert first == second == urls(await stores.start())
    finally:
        await stores.stop()


@pytest.mark.slow
async def test_two_homes_run_side_by_side(tmp_path: Path) -> None:
    async with (
        started(tmp_path / "one", which=POSTGRES | REDIS) as one,
        started(tmp_path / "two", which=POSTGRES | REDIS) as two,
    ):
        await rows(one.endpoints, "CREATE TABLE only_here AS SELECT 1 AS n")
        with pytest.raises(asyncpg.UndefinedTableError):
            await rows(two.endpoints, "SELECT n FROM only_here")
        await one.stores.stop()
        assert await rows(two.endpoints, "SELECT 1") == [1]
