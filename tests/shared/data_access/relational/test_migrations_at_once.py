"""Ten replicas that start at once: each migration runs once, all come up, and one may be killed."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from shared.data_access.relational.migrate import Owner, migrate, owners, read_migrations
from tests.sources import ROOT

pytestmark = pytest.mark.slow
REPLICAS = 10
PARTS = ("search",)
# What a replica does before it serves: alone in its process, with the migrations of a folder or,
# without one, all that there are. It begins at the word, so that all begin together.
REPLICA = """
import asyncio, sys
from pathlib import Path
import asyncpg
from shared.data_access.relational.migrate import Owner, migrate

async def main(url, folder=""):
    connection = await asyncpg.connect(url)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    of = [Owner("first", Path(folder))] if folder else None
    ran = await migrate(connection, ["search"], of)
    assert await migrate(connection, ["search"], of) == []
    print("ran", *(f"{owner}:{number}" for owner, number in ran), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def replica(url: str, folder: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REPLICA, url, folder, cwd=ROOT, env=os.environ,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def begin(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    await process.stdin.drain()


async def ended(process: asyncio.subprocess.Process) -> list[str]:
    """The migrations that it ran; it must come up."""
    assert process.stdout is not None
    said = (await process.stdout.read()).decode().splitlines()  # its log as well
    assert await process.wait() == 0
    (ran,) = [line for line in said if line.split()[:1] == ["ran"]]
    return ran.split()[1:]


async def all_at_once(url: str, folder: str = "") -> list[str]:
    async with AsyncExitStack() as stack:
        replicas = [await stack.enter_async_context(replica(url, folder)) for _ in range(REPLICAS)]
        for one in replicas:
            await begin(one)
        return [key for one in replicas for key in await ended(one)]


def before_the_last(folder: Path) -> tuple[list[Owner], list[str]]:
    """The owners of a release in which each lacked its newest migration, and which these are."""
    older, missing = [], []
    for owner in owners():
        files = sorted(read_migrations([owner]), key=lambda one: one.number)
        (folder / owner.name).mkdir()
        for one in files[:-1]:
            (folder / owner.name / f"{one.number:04}_{one.name}.sql").write_text(one.sql)
        older.append(Owner(owner.name, folder / owner.name, owner.part))
        # One whose only migration is missing isn't a version behind: others build on it.
        if len(files) > 1:
            missing.append(f"{owner.name}:{files[-1].number}")
        elif files:
            (folder / owner.name / f"{files[0].number:04}_{files[0].name}.sql").write_text(
                files[0].sql
            )
    return older, missing


async def test_an_empty_database_is_made_once(empty_database_url: str) -> None:
    ran = await all_at_once(empty_database_url)
    wanted = [
        f"{one.owner}:{one.number}" for one in read_migrations() if one.part in ("core", *PARTS)
    ]
    assert sorted(ran) == sorted(wanted)


async def test_a_database_that_is_a_version_behind_is_brought_up_once(
    empty_database_url: str, tmp_path: Path
) -> None:
    older, missing = before_the_last(tmp_path)
    connection = await asyncpg.connect(empty_database_url)
    await migrate(connection, PARTS, older)
    await connection.close()
    assert sorted(await all_at_once(empty_database_url)) == sorted(missing)


async def test_one_that_is_killed_in_the_middle_leaves_nothing_half_done(
    empty_database_url: str, tmp_path: Path
) -> None:
    """Nor does it hold the others up for as long as its statement would have taken."""
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (a int)")
    slow = "CREATE TABLE half (a int); INSERT INTO half VALUES (1); SELECT pg_sleep(60);"
    quick = "CREATE TABLE half (a int); INSERT INTO half VALUES (2);"
    (tmp_path / "0002_two.sql").write_text(slow)
    admin = await asyncpg.connect(empty_database_url)
    async with AsyncExitStack() as stack:
        victim = await stack.enter_async_context(replica(empty_database_url, str(tmp_path)))
        await begin(victim)
        await sleeping(admin)
        # The others, of the same release but for the wait, find the lock taken.
        (tmp_path / "0002_two.sql").write_text(quick)
        others = [
            await stack.enter_async_context(replica(empty_database_url, str(tmp_path)))
            for _ in range(REPLICAS - 1)
        ]
        for one in others:
            await begin(one)
        await waiting(admin, REPLICAS - 1)
        assert await admin.fetchval("SELECT to_regclass('half')") is None
        killed_at = time.monotonic()
        victim.kill()
        ran = [key for one in others for key in await ended(one)]
    assert ran == ["first:2"]
    assert time.monotonic() - killed_at < 30
    assert await admin.fetchval("SELECT array_agg(a) FROM half") == [2]
    await admin.close()


async def sleeping(admin: asyncpg.Connection) -> None:
    await counted(admin, "wait_event = 'PgSleep'", 1)


async def waiting(admin: asyncpg.Connection, replicas: int) -> None:
    await counted(admin, "query LIKE 'SELECT pg_try_advisory_lock%'", replicas)


async def counted(admin: asyncpg.Connection, which: str, wanted: int) -> None:
    async with asyncio.timeout(60):
        while wanted != await admin.fetchval(  # noqa: ASYNC110 - other processes' state
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {which}"
        ):
            await asyncio.sleep(0.05)
