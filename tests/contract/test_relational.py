"""What every relational adapter promises, on PostgreSQL 18 (embedded) and 15."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest
import uvloop

from shared.data_access.relational.postgres import Postgres
from shared.errors import StoreConflict, StoreError, StoreUnavailable
from tests.contract.proxy import Proxy, proxied
from tests.contract.texts import NASTY


@pytest.fixture(params=["embedded", "local"])
def url(request: pytest.FixtureRequest) -> str:
    name = {"embedded": "database_url", "local": "local_postgres_url"}[request.param]
    return request.getfixturevalue(name)


@pytest.fixture
async def db(url: str) -> AsyncIterator[Postgres]:
    told = {"calls": ("search", "graph"), "portraits": ("vectors",)}
    postgres = Postgres(url, pool_size=4, topics=told)
    yield postgres
    await postgres.close()


@pytest.fixture
async def orgs(db: Postgres) -> tuple[UUID, UUID]:
    ours, theirs = uuid4(), uuid4()
    async with db.system() as tx:
        await tx.executemany(
            "INSERT INTO organisation (org_id, slug, name) VALUES ($1, $2, $2)",
            [(ours, "ours"), (theirs, "theirs")],
        )
    return ours, theirs


INSERT_IMPORT = "INSERT INTO import_run (org_id, source, preset) VALUES ($1, 's', 'p')"


async def add_import(db: Postgres, org_id: UUID, source: str = "file") -> UUID:
    async with db.tenant(org_id) as tx:
        return await tx.fetchval(
            "INSERT INTO import_run (org_id, source, preset) VALUES ($1, $2, 'p') RETURNING import_id",
            org_id,
            source,
        )


async def sources(db: Postgres, org_id: UUID) -> list[str]:
    async with db.tenant(org_id, readonly=True) as tx:
        return [row["source"] for row in await tx.fetch("SELECT source FROM import_run ORDER BY 1")]


async def test_values_come_back_as_they_went_in(db, orgs):
    document = {"text": list(NASTY), "deep": {"n": [1, 2.5, None, True, 2**53]}}
    async with db.tenant(orgs[0]) as tx:
        row = await tx.fetchrow(
            "SELECT $1::text[] AS texts, $2::jsonb AS doc, $3::json AS plain, $4::uuid AS id, "
            "$5::uuid[] AS ids, $6::jsonb[] AS docs, $7::bytea AS raw",
            list(NASTY),
            document,
            document,
            orgs[0],
            list(orgs),
            [document, {}],
            bytes(range(256)),
        )
    assert dict(row) == {
        "texts": list(NASTY),
        "doc": document,
        "plain": document,
        "id": orgs[0],
        "ids": list(orgs),
        "docs": [document, {}],
        "raw": bytes(range(256)),
    }
    assert type(row["id"]) is UUID


async def test_execute_counts_rows(db, orgs):
    for _ in range(3):
        await add_import(db, orgs[0])
    async with db.tenant(orgs[0]) as tx:
        assert await tx.execute("UPDATE import_run SET preset = 'q'") == 3
        assert await tx.execute("DELETE FROM import_run WHERE preset = $1", "nothing") == 0
        assert await tx.execute("CREATE TEMPORARY TABLE t (a int) ON COMMIT DROP") == 0


async def test_a_block_that_fails_keeps_nothing(db, orgs):
    async def fail_midway() -> None:
        async with db.tenant(orgs[0]) as tx:
            await tx.execute(INSERT_IMPORT, orgs[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_midway()
    assert await sources(db, orgs[0]) == []


async def test_a_swallowed_failure_cannot_look_like_success(db, orgs):
    async def swallow() -> None:
        async with db.tenant(orgs[0]) as tx:
            await tx.execute(INSERT_IMPORT, orgs[0])
            with pytest.raises(StoreError):
                await tx.execute("SELECT 1/0")

    with pytest.raises(StoreError, match="rolled back"):
        await swallow()
    assert await sources(db, orgs[0]) == []


async def test_another_organisation_sees_and_changes_nothing(db, orgs):
    ours, theirs = orgs
    await add_import(db, ours, "secret")
    assert await sources(db, theirs) == []
    async with db.tenant(theirs) as tx:
        # Raw SQL that asks for everything, and names the other organisation.
        assert await tx.fetch("SELECT * FROM import_run WHERE org_id = $1", ours) == []
        assert await tx.fetchval("SELECT count(*) FROM organisation") == 1
        assert await tx.execute("UPDATE import_run SET source = 'stolen'") == 0
        assert await tx.execute("DELETE FROM import_run") == 0
    assert await sources(db, ours) == ["secret"]


@pytest.mark.parametrize(
    "attempt",
    [
        "INSERT INTO import_run (org_id, source, preset) SELECT org_id, 'x', 'x' FROM (SELECT $1::uuid AS org_id) o",
        "UPDATE import_run SET org_id = $1",
        "WITH x AS (SELECT $1::uuid) SELECT * FROM signing_key",
        "WITH x AS (SELECT $1::uuid) SELECT * FROM login_throttle",
        "WITH x AS (SELECT $1::uuid) SELECT * FROM applied_migration",
    ],
)
async def test_a_tenant_cannot_write_or_read_beyond_its_rows(db, orgs, attempt):
    ours, theirs = orgs
    await add_import(db, theirs)
    with pytest.raises(StoreError):
        async with db.tenant(theirs) as tx:
            await tx.execute(attempt, ours)


@pytest.mark.parametrize("ddl", ["DROP TABLE import_run", "ALTER TABLE import_run DISABLE ROW LEVEL SECURITY", "CREATE ROLE evil", "SET LOCAL ROLE looma_nobody"])  # fmt: skip
async def test_neither_role_owns_anything(db, orgs, ddl):
    for scope in (db.tenant(orgs[0]), db.system()):
        with pytest.raises(StoreError):
            async with scope as tx:
                await tx.execute(ddl)


async def test_every_table_with_an_organisation_has_forced_row_security(db, orgs):
    async with db.system() as tx:
        unprotected = await tx.fetch(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relkind IN ('r', 'p') AND a.attname = 'org_id' AND NOT a.attisdropped "
            "AND c.relnamespace = 'public'::regnamespace "
            "AND NOT (c.relrowsecurity AND c.relforcerowsecurity)"
        )
    assert unprotected == []


@pytest.mark.parametrize(
    "change",
    ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"],
)
async def test_the_audit_log_is_append_only(db, orgs, change):
    for scope in (db.tenant(orgs[0]), db.system()):
        with pytest.raises(StoreError):
            async with scope as tx:
                await tx.execute(change)


async def test_the_organisation_does_not_outlive_its_transaction(url):
    db = Postgres(url, pool_size=1)  # the very same connection
    try:
        org = uuid4()
        async with db.tenant(org) as tx:
            assert await tx.fetchval("SELECT current_org()") == org
        async with db.system() as tx:
            assert await tx.fetchval("SELECT current_org()") is None
            assert await tx.fetchval("SELECT current_user") == "looma_system"
    finally:
        await db.close()


@pytest.fixture
async def functions(url: str, db: Postgres) -> None:
    """Functions that take no care whose rows they read, or add one."""
    await db.ping()
    owner = await asyncpg.connect(url)
    await owner.execute(
        """
        CREATE FUNCTION imports_there(organisation uuid, suffix text)
            RETURNS TABLE (source text, who text) LANGUAGE plpgsql AS $$
            BEGIN RETURN QUERY SELECT i.source || suffix, current_user::text FROM import_run i; END $$;
        CREATE FUNCTION import_added(organisation uuid, source text, divisor integer)
            RETURNS TABLE (quotient integer) LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO import_run (org_id, source, preset) VALUES (organisation, source, 'p');
                RETURN QUERY SELECT 10 / divisor;
            END $$;
        """
    )
    await owner.close()


@pytest.mark.usefixtures("functions")
async def test_a_function_is_called_as_the_organisation(db, orgs):
    ours, theirs = orgs
    await add_import(db, ours, "mine")
    await add_import(db, theirs, "not mine")
    async with db.calling(ours) as call:
        rows = await call("imports_there", "!")
    assert [dict(row) for row in rows] == [{"source": "mine!", "who": "looma_app"}]
    async with db.system() as tx:  # the rights end with the call
        assert await tx.fetchval("SELECT count(*) FROM import_run") == 2
        assert not await tx.fetchval("SELECT current_setting('app.org_id', true)")


@pytest.mark.usefixtures("functions")
async def test_a_function_that_returns_has_kept_its_work_and_one_that_fails_nothing(db, orgs):
    async with db.calling(orgs[0]) as call:
        assert [row["quotient"] for row in await call("import_added", "kept", 2)] == [5]
    with pytest.raises(StoreError):
        async with db.calling(orgs[0]) as call:
            await call("import_added", "not kept", 0)
    assert await sources(db, orgs[0]) == ["kept"]
    assert await sources(db, orgs[1]) == []


@pytest.mark.usefixtures("functions")
async def test_a_call_that_waits_too_long_for_a_lock_costs_no_connection(url, orgs):
    db = Postgres(url, pool_size=2, lock_timeout=0.1)
    try:
        before = await backends(db)
        async with db.system() as tx:
            await tx.execute("LOCK TABLE import_run")
            with pytest.raises(StoreUnavailable):
                await added(db, orgs[0])
        assert await backends(db) == before
    finally:
        await db.close()


async def backends(db: Postgres) -> set[int]:
    """The processes that serve the two connections of a pool."""
    async with db.system() as one, db.system() as other:
        return {await tx.fetchval("SELECT pg_backend_pid()") for tx in (one, other)}


async def test_what_is_no_name_of_a_function_is_not_called(db, orgs):
    async with db.calling(orgs[0]) as call:
        with pytest.raises(ValueError, match="no name"):
            await call("version(); SELECT now", 1)


@pytest.mark.usefixtures("functions")
async def test_a_call_finds_a_server_that_went_away_unavailable_and_one_that_is_back(url, orgs):
    async with proxied(url) as (through, proxy):
        db = Postgres(through, pool_size=3)
        try:
            await asyncio.gather(*(added(db, orgs[0]) for _ in range(3)))  # pooled connections
            await proxy.cut()
            with pytest.raises(StoreUnavailable):
                await added(db, orgs[0])
            await proxy.start()
            await db.ping()
            await asyncio.gather(*(added(db, orgs[0]) for _ in range(3)))
        finally:
            await db.close()


async def added(db: Postgres, org_id: UUID) -> None:
    async with db.calling(org_id) as call:
        await call("import_added", "more", 1)


async def test_a_readonly_transaction_writes_nothing(db, orgs):
    with pytest.raises(StoreError):
        async with db.tenant(orgs[0], readonly=True) as tx:
            await tx.execute("DELETE FROM import_run")


async def test_a_duplicate_is_a_conflict(db, orgs):
    with pytest.raises(StoreConflict) as caught:
        async with db.tenant(orgs[0]) as tx:
            await tx.execute(
                "INSERT INTO organisation (org_id, slug, name) VALUES ($1, 'ours', 'x')", orgs[0]
            )
    assert "organisation" not in caught.value.message


async def test_a_deadlock_is_a_conflict(db, orgs):
    first, second = [await add_import(db, orgs[0]) for _ in range(2)]
    lock = "SELECT 1 FROM import_run WHERE import_id = $1 FOR UPDATE"

    async def take(order: tuple[UUID, UUID], barrier: asyncio.Barrier) -> str:
        try:
            async with db.tenant(orgs[0]) as tx:
                await tx.execute(lock, order[0])
                await barrier.wait()
                await tx.execute(lock, order[1])
        except StoreConflict:
            return "conflict"
        return "done"

    barrier = asyncio.Barrier(2)
    results = await asyncio.gather(take((first, second), barrier), take((second, first), barrier))
    assert sorted(results) == ["conflict", "done"]


@pytest.mark.parametrize(
    "query", ["SELEC 1", "SELECT * FROM nothing", "SELECT 1/0", "SELECT $1::int"]
)
async def test_what_is_wrong_with_a_query_stays_in_the_log(db, orgs, query):
    args = ["not a number"] if "$1" in query else []
    with pytest.raises(StoreError) as caught:
        async with db.tenant(orgs[0]) as tx:
            await tx.fetch(query, *args)
    assert type(caught.value) is StoreError
    assert caught.value.message == "The database refused the request. The log has the details."
    assert caught.value.__cause__ is not None


async def test_copy_csv_tells_null_from_empty(db, orgs):
    async with db.tenant(orgs[0]) as tx:
        await tx.execute("CREATE TEMPORARY TABLE incoming (n int, t text) ON COMMIT DROP")
        data = '1,"王, ""小"" 明"\n2,\n3,""\n'.encode()
        assert await tx.copy_csv("incoming", ["n", "t"], data) == 3
        assert await tx.copy_csv("incoming", ["n", "t"], b"") == 0
        rows = await tx.fetch("SELECT t FROM incoming ORDER BY n")
    assert [row["t"] for row in rows] == ['王, "小" 明', None, ""]


async def test_the_same_temporary_table_works_in_every_transaction(db, orgs):
    for _ in range(3):
        async with db.tenant(orgs[0]) as tx:
            await tx.execute("CREATE TEMPORARY TABLE incoming (n int) ON COMMIT DROP")
            await tx.copy_csv("incoming", ["n"], b"1\n2\n")
            assert await tx.fetchval("SELECT sum(n) FROM incoming WHERE n > $1", 0) == 3


@pytest.mark.parametrize(("rows", "sizes"), [(0, []), (10, [10]), (25, [10, 10, 5])])
async def test_a_stream_comes_in_batches(db, orgs, rows, sizes):
    async with db.tenant(orgs[0]) as tx:
        query = "SELECT n FROM generate_series(1, $1) n"
        batches = [batch async for batch in tx.stream(query, rows, batch=10)]
    assert [len(batch) for batch in batches] == sizes
    assert [row["n"] for batch in batches for row in batch] == list(range(1, rows + 1))


async def test_emit_writes_one_row_per_projection(db, orgs):
    async with db.tenant(orgs[0]) as tx:
        await tx.emit(orgs[0], "calls", "k", {"text": NASTY[1]})
        await tx.emit_many(orgs[0], "portraits", [("a", {}), ("b", {"n": 1})])
        await tx.emit_many(orgs[0], "portraits", [])
        rows = await tx.fetch("SELECT projection, topic, key, payload FROM outbox ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("search", "calls", "k", {"text": NASTY[1]}),
        ("graph", "calls", "k", {"text": NASTY[1]}),
        ("vectors", "portraits", "a", {}),
        ("vectors", "portraits", "b", {"n": 1}),
    ]


async def test_emit_for_another_organisation_is_refused(db, orgs):
    with pytest.raises(StoreError):
        async with db.tenant(orgs[0]) as tx:
            await tx.emit(orgs[1], "calls", "k", {})


async def test_a_big_batch_goes_through(db, orgs):
    async with db.tenant(orgs[0]) as tx:
        await tx.emit_many(orgs[0], "portraits", [(str(n), {"n": n}) for n in range(20_000)])
        assert await tx.fetchval("SELECT count(*) FROM outbox") == 20_000


async def test_two_processes_migrate_one_database_at_once(url):
    adapters = [Postgres(url) for _ in range(4)]
    try:
        await asyncio.gather(*(adapter.ping() for adapter in adapters))
        async with adapters[0].system() as tx:
            assert await tx.fetchval("SELECT count(*) FROM organisation") == 0
    finally:
        await asyncio.gather(*(adapter.close() for adapter in adapters))


async def test_cancellation_gives_the_connection_back(url):
    db = Postgres(url, pool_size=1)
    try:
        await db.ping()
        for pause in (0, 0.001, 0.05):

            async def work() -> None:
                async with db.tenant(uuid4()) as tx:
                    await tx.fetchval("SELECT pg_sleep(30)")

            task = asyncio.create_task(work())
            await asyncio.sleep(pause)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(2):
                await db.ping()
    finally:
        await db.close()


async def test_an_exhausted_pool_is_unavailable_not_a_queue_without_end(url):
    db = Postgres(url, pool_size=1, acquire_timeout=1)
    try:
        async with db.system():
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await db.ping()
            assert time.monotonic() - started < 10
        await db.ping()
    finally:
        await db.close()


async def test_a_statement_that_takes_too_long_is_ended(url):
    db = Postgres(url, statement_timeout=0.2)
    try:
        with pytest.raises(StoreUnavailable):
            async with db.system() as tx:
                await tx.fetchval("SELECT pg_sleep(10)")
        await db.ping()
    finally:
        await db.close()


async def test_a_store_that_is_down_at_the_start_is_used_when_it_comes(url):
    async with proxied(url) as (through, proxy):
        await proxy.cut()
        db = Postgres(through)
        try:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await db.ping()
            assert time.monotonic() - started < 1
            await proxy.start()
            await db.ping()
        finally:
            await db.close()


async def test_a_restart_is_not_noticed_between_transactions(url):
    async with proxied(url) as (through, proxy):
        db = Postgres(through, pool_size=3)
        try:
            await asyncio.gather(*(db.ping() for _ in range(3)))  # three pooled connections
            await proxy.cut()
            with pytest.raises(StoreUnavailable):
                await db.ping()
            await proxy.start()
            await asyncio.gather(*(db.ping() for _ in range(3)))
        finally:
            await db.close()


async def lose(db: Postgres, proxy: Proxy, query: str | None) -> None:
    async with db.system() as tx:
        await proxy.cut()
        if query is not None:
            await tx.fetchval(query)


async def test_a_connection_lost_in_a_transaction_is_unavailable(url):
    async with proxied(url) as (through, proxy):
        db = Postgres(through, pool_size=1)
        try:
            with pytest.raises(StoreUnavailable):
                await lose(db, proxy, "SELECT 1")
            await proxy.start()
            await db.ping()
            with pytest.raises(StoreUnavailable):
                await lose(db, proxy, None)  # found out by COMMIT
            await proxy.start()
            await db.ping()
        finally:
            await db.close()


def test_a_connection_lost_while_rows_are_copied_is_unavailable(url):
    """On uvloop, as services run: its transports refuse to be written to once they are closed."""

    async def copy(db: Postgres) -> None:
        async with db.system() as tx:
            await tx.execute("CREATE TEMPORARY TABLE copied (text text)")
            backend = await tx.fetchval("SELECT pg_backend_pid()")
            ending = asyncio.create_task(end_when_copying(url, backend))
            try:
                await tx.copy_csv("copied", ["text"], b"some text\n" * 4_000_000)
            finally:
                await ending

    async def lose_while_copying() -> None:
        db = Postgres(url)
        with pytest.raises(StoreUnavailable):
            await copy(db)
        await db.ping()
        await db.close()

    uvloop.run(lose_while_copying())


async def end_when_copying(url: str, backend: int) -> None:
    other = await asyncpg.connect(url)
    copies = "SELECT query LIKE 'COPY%' FROM pg_stat_activity WHERE pid = $1 AND state = 'active'"
    while True:
        if await other.fetchval(copies, backend):
            break
    await other.execute("SELECT pg_terminate_backend($1)", backend)
    await other.close()


async def test_a_server_that_kills_our_connections_is_survived(db):
    await db.ping()
    async with db.system():
        pass
    other = Postgres(db._url)
    try:
        async with other._transaction("BEGIN") as tx:  # as the owner, who may end its own
            await tx.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await db.ping()
    finally:
        await other.close()


async def test_a_server_that_hangs_is_unavailable_soon(url):
    async with proxied(url) as (through, proxy):
        db = Postgres(through, acquire_timeout=1.0)
        try:
            await db.ping()
            proxy.freeze()
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await db.ping()
            assert time.monotonic() - started < 3
            proxy.thaw()
            await db.ping()
        finally:
            await db.close()


async def test_after_close_everything_is_unavailable(db):
    await db.ping()
    await db.close()
    with pytest.raises(StoreUnavailable):
        await db.ping()
    await db.close()
