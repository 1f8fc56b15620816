"""Migrations: once, in order, under a lock, never edited, never from the future."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from shared.data_access.relational.migrate import migrate, read_migrations
from shared.data_access.search.query import microseconds
from shared.data_access.search.terms import terms
from shared.data_access.search.vector import Place
from shared.errors import ConfigError


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_one.sql").write_text("CREATE TABLE one (a int)")
    (tmp_path / "0003_three.sql").write_text("CREATE TABLE three (a int)")
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "0002_two.sql").write_text("CREATE TABLE two (a int)")
    (tmp_path / "notes.txt").write_text("not a migration")
    return tmp_path


def test_the_package_s_migrations_are_numbered_without_gap():
    versions = [migration.version for migration in read_migrations()]
    assert versions == list(range(1, len(versions) + 1))


async def test_each_file_runs_once(connection, folder):
    assert await migrate(connection, folder=folder) == [1, 3]
    assert await migrate(connection, folder=folder) == []
    assert await migrate(connection, ["extra"], folder=folder) == [2]
    (folder / "0004_four.sql").write_text("CREATE TABLE four (a int)")
    assert await migrate(connection, folder=folder) == [4]
    rows = await connection.fetch("SELECT version, name FROM schema_migration ORDER BY version")
    assert [tuple(row) for row in rows] == [(1, "one"), (2, "two"), (3, "three"), (4, "four")]


async def test_a_file_that_fails_leaves_nothing_and_those_before_stay(connection, folder):
    (folder / "0003_three.sql").write_text("CREATE TABLE three (a int); SELECT 1/0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(connection, folder=folder)
    assert await connection.fetchval("SELECT to_regclass('one')") == "one"
    assert await connection.fetchval("SELECT to_regclass('three')") is None
    (folder / "0003_three.sql").write_text("CREATE TABLE three (a int)")
    assert await migrate(connection, folder=folder) == [3]


async def test_a_file_changed_after_it_ran_is_refused(connection, folder):
    await migrate(connection, folder=folder)
    (folder / "0001_one.sql").write_text("CREATE TABLE one (b int)")
    with pytest.raises(ConfigError, match=r"0001_one\.sql was changed"):
        await migrate(connection, folder=folder)


async def test_a_database_from_the_future_is_refused(connection, folder):
    await migrate(connection, folder=folder)
    (folder / "0003_three.sql").unlink()
    with pytest.raises(ConfigError, match=r"migration 3.*Upgrade the program"):
        await migrate(connection, folder=folder)


def test_a_number_used_twice_is_refused(folder):
    (folder / "0002_other.sql").write_text("")
    with pytest.raises(ConfigError, match="number 2"):
        read_migrations(folder)


async def test_what_was_indexed_before_time_marks_equals_what_is_indexed_now(connection):
    """Rows written by the release before 0009, migrated, are those of `looma rebuild search`."""
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
    for migration in known:
        if migration.version < 9 and migration.part in {"core", "search"}:
            await connection.execute(migration.sql)
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
    (script,) = [migration.sql for migration in known if migration.version == 9]
    await connection.execute(script)
    await connection.execute("SET ROLE looma_system")
    for item, text in texts.items():
        now = Place(org, "calls").vector(text, fields, microseconds(times.get(item)))
        same = await connection.fetchval(
            "SELECT terms = $2::text::tsvector FROM search_document WHERE id = $1", item, now
        )
        assert same, item


def _doubled(term: str) -> str:
    return term.replace("\\", "\\\\").replace("'", "''")
