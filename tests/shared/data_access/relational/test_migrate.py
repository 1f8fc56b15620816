"""Migrations: once, in order, under a lock, never edited, never from the future."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from shared.data_access.relational.migrate import Key, Owner, migrate, owners, read_migrations
from shared.data_access.search.query import microseconds
from shared.data_access.search.terms import terms
from shared.data_access.search.vector import Place
from shared.errors import ConfigError


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (a int)")
    (tmp_path / "0003_three.sql").write_text("CREATE TABLE three (a int)")
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "0001_two.sql").write_text("CREATE TABLE two (a int)")
    (tmp_path / "notes.txt").write_text("not a migration")
    return tmp_path


def of(folder: Path) -> list[Owner]:
    """Three owners, the second for who uses the part `extra`, the third without migrations."""
    return [
        Owner("first", folder),
        Owner("second", folder / "extra", "extra"),
        Owner("third", folder / "none"),
    ]


def test_each_owner_numbers_its_migrations_without_gap():
    numbers: dict[str, list[int]] = {}
    for migration in read_migrations():
        numbers.setdefault(migration.owner, []).append(migration.number)
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    assert set(numbers) <= {owner.name for owner in owners()}


async def test_each_file_runs_once(connection, folder):
    assert await migrate(connection, of=of(folder)) == [("first", 1), ("first", 3)]
    assert await migrate(connection, of=of(folder)) == []
    assert await migrate(connection, ["extra"], of=of(folder)) == [("second", 1)]
    (folder / "0004_four.sql").write_text("CREATE TABLE four (a int)")
    (folder / "none").mkdir()
    (folder / "none" / "0001_one.sql").write_text("ALTER TABLE four ADD b int")
    assert await migrate(connection, of=of(folder)) == [("first", 4), ("third", 1)]
    rows = await connection.fetch(
        "SELECT owner, number, name FROM applied_migration ORDER BY owner, number"
    )
    assert [tuple(row) for row in rows] == [
        ("first", 1, "one"), ("first", 3, "three"), ("first", 4, "four"), ("second", 1, "two"),
        ("third", 1, "one"),
    ]  # fmt: skip


async def test_processes_that_start_together_run_each_file_once(empty_database_url, folder):
    several = [await asyncpg.connect(empty_database_url) for _ in range(4)]
    try:
        ran = await asyncio.gather(*(migrate(one, ["extra"], of=of(folder)) for one in several))
    finally:
        for one in several:
            await one.close()
    assert sorted(key for keys in ran for key in keys) == [
        ("first", 1), ("first", 3), ("second", 1),
    ]  # fmt: skip


async def test_a_file_that_fails_leaves_nothing_and_those_before_stay(connection, folder):
    (folder / "0003_three.sql").write_text("CREATE TABLE three (a int); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, of=of(folder))
    assert await connection.fetchval("SELECT to_regclass('one')") == "one"
    assert await connection.fetchval("SELECT to_regclass('three')") is None
    (folder / "0003_three.sql").write_text("CREATE TABLE three (a int)")
    assert await migrate(connection, of=of(folder)) == [("first", 3)]


INDEX = """-- What it is for.
DROP INDEX CONCURRENTLY IF EXISTS one_a;
CREATE INDEX CONCURRENTLY one_a ON one (a);
"""


async def test_an_index_is_built_while_others_write_and_wait(
    empty_database_url, connection, folder
):
    """Replicas that wait for their turn would be waited for by the index, and so for ever."""
    await migrate(connection, of=of(folder))
    (folder / "0004_four.sql").write_text(INDEX)
    others = [await asyncpg.connect(empty_database_url) for _ in range(4)]
    writing = others.pop()
    try:
        open_one = writing.transaction()
        await open_one.start()
        await writing.execute("INSERT INTO one VALUES (1)")
        several = [asyncio.create_task(migrate(one, of=of(folder))) for one in others]
        async with asyncio.timeout(30):
            while not await connection.fetchval(  # noqa: ASYNC110 - the server's state
                "SELECT to_regclass('one_a') IS NOT NULL"
            ):
                await asyncio.sleep(0.01)
            await connection.execute("INSERT INTO one VALUES (2)")
            await open_one.commit()
            ran = [key for one in several for key in await one]
    finally:
        for one in (writing, *others):
            await one.close()
    assert ran == [("first", 4)]
    assert await connection.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'one_a'::regclass"
    )


async def test_what_a_killed_process_left_of_an_index_is_built_anew(connection, folder):
    await migrate(connection, of=of(folder))
    await connection.execute("INSERT INTO one VALUES (1), (1)")
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute("CREATE UNIQUE INDEX CONCURRENTLY one_a ON one (a)")
    (folder / "0004_four.sql").write_text(INDEX)
    assert await migrate(connection, of=of(folder)) == [("first", 4)]
    assert await connection.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'one_a'::regclass"
    )


async def test_a_file_changed_after_it_ran_is_refused(connection, folder):
    await migrate(connection, of=of(folder))
    (folder / "0001_one.sql").write_text("CREATE TABLE one (b int)")
    with pytest.raises(ConfigError, match=r"0001_one\.sql of first was changed"):
        await migrate(connection, of=of(folder))


async def test_a_database_from_the_future_is_refused(connection, folder):
    await migrate(connection, of=of(folder))
    (folder / "0003_three.sql").unlink()
    with pytest.raises(
        ConfigError, match=r"migration 3 of first.*newest is 1.*Upgrade the program"
    ):
        await migrate(connection, of=of(folder))
    with pytest.raises(ConfigError, match=r"migration 3 of first.*newest is 0"):
        await migrate(connection, of=of(folder)[1:])


def test_a_number_used_twice_is_refused(folder):
    (folder / "0003_other.sql").write_text("")
    with pytest.raises(ConfigError, match=r"of first have the number 3: .*other"):
        read_migrations(of(folder))


# What the ledger held when migrations were numbered over all owners, and whose each is.
BEFORE = (
    (1, "foundation", "79a50aa9d7c9660e18b383f33fabc406097cd05b3964821ec4f892fb4309bad2",
     "data_access.relational", 1),
    (2, "identity", "c839051c662d07f5e6d15c8465322fcf968900861c3a39912eacad3133c7c5f9", "auth", 1),
    (3, "calls", "3c35ecfdc03a8a6071a93e178494cea61fbb62e314e38b8cf62dd684b7ee1150",
     "enrichment", 1),
    (4, "portrait", "5d9edad431fd46699a18ddcf5801ec83bf135f76e75f928a00529af6a0fa7255",
     "portrait", 1),
    (5, "outbox", "83e1c0546f7fd9b872ae495c7a00359d5eb9b201233c1656b0ec71e5e27ef800",
     "data_access.outbox", 1),
    (6, "search", "a91bd9541ca8f7b94b7fa54e5088c1f7537624c4518d3875ee61920390275ae2",
     "data_access.search", 1),
    (7, "vectors", "31b350bf6ecbdf0d8e95ce63e3d4fabd508929b3e84d68dcedb7b9be8b0f0db0",
     "data_access.vectors", 1),
    (8, "key_owners", "bdad87fbef124f5eff42e334df0d27c9a23cbccd00cb2d135da36f66f9a24f51",
     "auth", 2),
    (9, "search_newest_first", "60f08fc51c1551679807c85be1c83bf5e80ea0e5ac763a8efaecc8ff23b1b27a",
     "data_access.search", 2),
)  # fmt: skip
OF_ALL = {row for row in BEFORE if row[0] not in (6, 7, 9)}
WITH_SEARCH = {row for row in BEFORE if row[0] != 7}


def keys(rows) -> set[Key]:
    return {(owner, number) for *_, owner, number in rows}


async def migrated_before(connection, rows) -> None:
    """A database as the release before left it: tables, and a ledger by version."""
    texts = {migration.key: migration.sql for migration in read_migrations()}
    await connection.execute(
        """CREATE TABLE schema_migration (
               version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
               applied_at timestamptz NOT NULL DEFAULT now())"""
    )
    for version, name, checksum, owner, number in sorted(rows):
        await connection.execute(texts[owner, number])
        await connection.execute(
            "INSERT INTO schema_migration VALUES ($1, $2, $3, timestamptz '2026-01-01' + $4)",
            version, name, checksum, timedelta(hours=version),
        )  # fmt: skip


async def ledger(connection):
    rows = await connection.fetch("SELECT * FROM applied_migration")
    return {(row["owner"], row["number"]): row for row in rows}


@pytest.mark.parametrize("rows", [OF_ALL, WITH_SEARCH, set(BEFORE)], ids=["core", "search", "all"])
async def test_a_database_of_before_goes_on_where_it_was(connection, rows):
    await migrated_before(connection, rows)
    ran = await migrate(connection, ["search"])
    assert not keys(rows) & set(ran)
    assert keys(WITH_SEARCH - rows) <= set(ran)
    found = await ledger(connection)
    assert set(found) == keys(rows) | set(ran)
    for version, name, checksum, owner, number in rows:
        row = found[owner, number]
        assert (row["name"], row["checksum"]) == (name, checksum)
        assert row["applied_at"] == datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=version)
    assert await migrate(connection, ["search"]) == []


async def test_what_the_release_before_does_meanwhile_is_seen(connection):
    """In a rolling upgrade a process of before may be the first that uses a part."""
    await migrated_before(connection, OF_ALL)
    await migrate(connection)
    texts = {migration.key: migration.sql for migration in read_migrations()}
    for version, name, checksum, owner, number in sorted(WITH_SEARCH - OF_ALL):
        await connection.execute(texts[owner, number])
        await connection.execute(
            "INSERT INTO schema_migration VALUES ($1, $2, $3)", version, name, checksum
        )
    assert await migrate(connection, ["search"]) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((4, "portrait", "0" * 64), r"0001_portrait\.sql of portrait was changed after it ran"),
        (
            (10, "jobs", "0" * 64),
            r"migration 10 \(jobs\), which this program doesn't know.*Upgrade",
        ),
    ],
)
async def test_a_database_of_before_that_does_not_fit_is_refused_as_it_was(connection, row, said):
    await migrated_before(connection, OF_ALL)
    await connection.execute("DELETE FROM schema_migration WHERE version = $1", row[0])
    await connection.execute("INSERT INTO schema_migration VALUES ($1, $2, $3)", *row)
    for _ in range(2):
        with pytest.raises(ConfigError, match=said):
            await migrate(connection)
    assert await connection.fetchval("SELECT to_regclass('applied_migration')") is None


async def test_what_was_indexed_before_time_marks_equals_what_is_indexed_now(connection):
    """Rows written before that migration, brought up to date, are those of `looma rebuild search`."""
    texts = {
        "c1": "我要投诉你们。WiFi密码 4S店 café ☎ 13800138000",
        "c2": "please refund\tme: it's \\ broken",
        "c3": "",
        "c4": "ガラケー サービス 한국어 ภาษาไทย \U00020000\U00020001",
    }
    times = {"c1": "2024-12-04T09:00:00+08:00", "c2": None, "c3": "1969-07-20T00:00:00Z"}
    org = uuid4()
    fields = {"user_id": "u'1"}
    known = read_migrations()
    (script,) = [one for one in known if one.key == ("data_access.search", 2)]
    for migration in known:
        if migration is not script and migration.part in {"core", "search"}:
            for statement in migration.alone or [migration.sql]:
                await connection.execute(statement)
    await connection.execute("SET ROLE looma_system")
    for item, text in texts.items():
        marks = Place(org, "calls").vector("", fields, 0).split()
        before = [mark for mark in marks if len(mark) == len(marks[0])]  # no times
        places = [f"'{_doubled(term)}':{n}" for n, term in enumerate(terms(text), 1)]
        await connection.execute(
            "INSERT INTO search_document (org_id, collection, id, text, fields, at, terms) "
            "VALUES ($1, 'calls', $2, $3, '{}', $4, $5::text::tsvector)",
            org, item, text, microseconds(times.get(item)), " ".join([*before, *places]),
        )  # fmt: skip
    await connection.execute("RESET ROLE")
    await connection.execute(script.sql)
    await connection.execute("SET ROLE looma_system")
    for item, text in texts.items():
        now = Place(org, "calls").vector(text, fields, microseconds(times.get(item)))
        same = await connection.fetchval(
            "SELECT terms = $2::text::tsvector FROM search_document WHERE id = $1", item, now
        )
        assert same, item


def _doubled(term: str) -> str:
    return term.replace("\\", "\\\\").replace("'", "''")
