"""PostgreSQL that stands still, goes away, or comes back as somebody else, under many requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import asyncpg
import pytest

from shared.data_access.relational.postgres import Postgres
from shared.errors import StoreUnavailable
from tests.contract.proxy import Proxy, proxied

LONGEST_S = 8.0  # 2 s and a probe's 2 s, on a machine that has other work


@dataclass
class Seen:
    """How long requests took that were answered, and that were refused, and what those were told."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    retry_after: set[str] = field(default_factory=set)


@asynccontextmanager
async def requests(db: Postgres, workers: int = 12) -> AsyncIterator[Seen]:
    """Keep asking within the block, more at once than there are connections."""
    seen = Seen()

    async def ask() -> None:
        while True:
            began = time.monotonic()
            try:
                async with db.system() as tx:
                    await tx.fetchval("SELECT 1")
            except StoreUnavailable as error:
                seen.retry_after.add(error.headers()["Retry-After"])
                seen.refused.append(time.monotonic() - began)
            else:
                seen.answered.append(time.monotonic() - began)
            await asyncio.sleep(0.02)

    tasks = [asyncio.create_task(ask()) for _ in range(workers)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


async def until_answered(seen: Seen) -> float:
    """Seconds until requests are answered again."""
    began, answered = time.monotonic(), len(seen.answered)
    async with asyncio.timeout(30):
        while len(seen.answered) < answered + 12:  # noqa: ASYNC110 - counted, not waited for
            await asyncio.sleep(0.01)
    return time.monotonic() - began


async def freeze(proxy: Proxy) -> None:
    proxy.freeze()


async def thaw(proxy: Proxy) -> None:
    proxy.thaw()


@pytest.mark.parametrize(
    ("away", "back"),
    [(freeze, thaw), (Proxy.cut, Proxy.start)],
    ids=["stands still", "is gone"],
)
async def test_an_outage_is_bounded_for_each_request_and_ends_soon(
    local_postgres_url: str,
    away: Callable[[Proxy], Awaitable[None]],
    back: Callable[[Proxy], Awaitable[None]],
):
    async with proxied(local_postgres_url) as (through, proxy):
        db = Postgres(through, pool_size=5)
        try:
            await db.ping()
            async with requests(db) as seen:
                await until_answered(seen)
                await away(proxy)
                async with asyncio.timeout(30):
                    while db.guard.up:  # noqa: ASYNC110 - it has no event
                        await asyncio.sleep(0.05)
                guarded = db.guard.refused
                await asyncio.sleep(0.5)
                assert db.guard.refused > guarded  # without asking the server
                await back(proxy)
                recovery = await until_answered(seen)
            assert max(seen.refused) < LONGEST_S
            assert seen.retry_after <= {"1", "2"}
            assert recovery < LONGEST_S
        finally:
            await db.close()


async def test_a_pool_of_dead_connections_is_no_outage(local_postgres_url: str):
    async with proxied(local_postgres_url) as (through, proxy):
        db = Postgres(through, pool_size=5)
        try:
            await asyncio.gather(*(db.ping() for _ in range(5)))
            await proxy.cut()
            await proxy.start()  # nobody asked in between
            await asyncio.gather(*(db.ping() for _ in range(20)))
        finally:
            await db.close()


async def test_a_statement_under_way_ends_with_the_server(local_postgres_url: str):
    async with proxied(local_postgres_url) as (through, proxy):
        db = Postgres(through)
        try:
            await db.ping()
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):  # noqa: PT012 - the block is what ends
                async with db.system() as tx:
                    proxy.freeze()
                    await tx.fetchval("SELECT 1")
            assert time.monotonic() - began < LONGEST_S + 2
        finally:
            proxy.thaw()
            await db.close()


async def add_organisation(db: Postgres) -> None:
    async with db.system() as tx:
        await tx.execute(
            "INSERT INTO organisation (org_id, slug, name) VALUES ($1, 's', 's')", uuid4()
        )


async def test_a_standby_is_unavailable_for_writing(local_postgres_url: str):
    """As after a failover that our connections didn't follow: reads go on, writes have to wait."""
    db = Postgres(local_postgres_url)
    try:
        await db.ping()
        name = local_postgres_url.rpartition("/")[2]
        owner = await asyncpg.connect(local_postgres_url)
        try:
            # Not recovery, but the same SQLSTATE: what is left of it without a second server.
            await owner.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            await db._open_pool().expire_connections()
            with pytest.raises(StoreUnavailable):
                await add_organisation(db)
            async with db.system() as tx:
                assert await tx.fetchval("SELECT count(*) FROM organisation") == 0
            await owner.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')
        finally:
            await owner.close()
        await db._open_pool().expire_connections()
        await add_organisation(db)
    finally:
        await db.close()


async def until_running(url: str, statement: str, times: int) -> None:
    """Wait until that many connections to this database carry out a statement like this."""
    watcher = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(30):
            while times != await watcher.fetchval(  # noqa: ASYNC110 - nothing tells of it
                """SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND state = 'active' AND query LIKE $1
                     AND pid <> pg_backend_pid()""",
                statement,
            ):
                await asyncio.sleep(0.01)
    finally:
        await watcher.close()


async def test_queries_of_one_caller_that_hold_every_connection_shut_nobody_out(
    local_postgres_url: str,
):
    db = Postgres(local_postgres_url, pool_size=2, acquire_timeout=0.3)
    try:
        await db.ping()

        async def expensive() -> None:
            async with db.system() as tx:
                await tx.fetchval("SELECT pg_sleep(3)")

        hostile = [asyncio.create_task(expensive()) for _ in range(2)]
        await until_running(local_postgres_url, "SELECT pg_sleep(%", len(hostile))
        with pytest.raises(StoreUnavailable):  # there is no connection left
            await db.ping()
        await asyncio.gather(*hostile)  # a second is a reason to look, not to end them
        await db.ping()
        assert db.guard.up
        assert db.guard.refused == 0
    finally:
        await db.close()
