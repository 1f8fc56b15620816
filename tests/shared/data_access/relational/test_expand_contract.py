"""The law of migrations: while replicas are upgraded one by one, the release before goes on working.

Two proofs of it. A linter of PostgreSQL's own grammar (squawk) reads every migration and refuses what
takes something away that the release before may read or write: columns, tables, their names and
types, columns that a row must have. And every statement of the last release (released.sql, made
by released.py when one is made) is prepared on tables that all migrations have made: PostgreSQL
itself looks up each table, column, function and type in it. That is a statement's whole agreement
with the tables, short of running it, for all of them and in a second; what it can't see is a changed
meaning of the same column.

Taking away is the second step, of a later release. The statement says so, and why it may:

    -- contract: nobody has read it since 0.3
    -- squawk-ignore ban-drop-column
    ALTER TABLE call_record_enriched DROP COLUMN moved_from;
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from shared.data_access.relational.migrate import Migration, migrate, read_migrations
from tests.shared.data_access.relational.released import RELEASED, statements

SQUAWK = Path(sys.executable).with_name("squawk")
# By squawk's names: what breaks the code of the release before.
BREAKING = frozenset(
    {
        "adding-not-nullable-field",
        "adding-required-field",
        "ban-drop-column",
        "ban-drop-table",
        "ban-truncate-cascade",
        "changing-column-type",
        "renaming-column",
        "renaming-object",
        "renaming-table",
        # Ours run in a transaction each; one that ends it leaves half of itself behind.
        "ban-uncommitted-transaction",
        "transaction-nesting",
        # What can't be read can't be judged.
        "syntax-error",
    }
)
# Older than this law, and never edited: what was renamed was written anew under its old name.
BEFORE = frozenset({("data_access.search", 2)})
MIGRATIONS = [one for one in read_migrations() if one.key not in BEFORE]


def broken(sql: str) -> set[str]:
    """Which rules the text breaks and doesn't say so."""
    done = subprocess.run(
        [SQUAWK, "--assume-in-transaction", "--pg-version=15", "--reporter=json"],
        input=sql, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    return {found["rule_name"] for found in json.loads(done.stdout)} & BREAKING


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda one: f"{one.owner}-{one.number}")
def test_a_migration_takes_nothing_away_from_the_release_before(migration: Migration) -> None:
    assert broken(migration.sql) == set(), (
        "Do it in two releases: this one adds and writes both, a later one takes away. "
        "Where the old release can't mind, mark the statement: see the head of this file."
    )
    unexplained = re.findall(
        r"^(?!-- contract: \S).*\n-- squawk-ignore.*$|\A-- squawk-ignore.*$|squawk-ignore-file",
        migration.sql,
        re.MULTILINE,
    )
    assert unexplained == [], "A line `-- contract: why` stands above each squawk-ignore"


# Released before this law.
INDEXED_BEFORE = frozenset({("auth", 2)})


ALONE = """DROP INDEX CONCURRENTLY IF EXISTS a_b;
CREATE INDEX CONCURRENTLY a_b ON a (b);"""


def locked_by_indexes(sql: str) -> set[str]:
    """The tables that are older than this text, and that nobody can write while it indexes them."""
    plain = re.sub(r"--.*", "", sql)
    made = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", plain))
    indexed = re.findall(r"CREATE (?:UNIQUE )?INDEX\s+(?:CONCURRENTLY\s+)?\w+\s+ON\s+(\w+)", plain)
    return set() if is_built_alone(plain) else set(indexed) - made


def is_built_alone(sql: str) -> bool:
    """Whether it does nothing but to drop one index and build it anew, while others write."""
    return bool(
        re.fullmatch(
            r"\s*DROP INDEX CONCURRENTLY IF EXISTS (\w+);\s*CREATE (UNIQUE )?INDEX CONCURRENTLY \1\s[^;]*;\s*",
            sql,
        )
    )


@pytest.mark.parametrize(
    "migration",
    [one for one in MIGRATIONS if one.key not in INDEXED_BEFORE],
    ids=lambda one: f"{one.owner}-{one.number}",
)
def test_a_table_with_rows_is_indexed_while_others_write(migration: Migration) -> None:
    """Building an index takes minutes where there are millions of rows: it is done CONCURRENTLY, in a
    migration of its own, which first drops what a killed process may have left of it.
    """
    assert locked_by_indexes(migration.sql) == set()


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("ALTER TABLE a ADD b int; CREATE INDEX a_b ON a (b);", {"a"}),
        ("CREATE INDEX a_b ON a (b);", {"a"}),
        ("CREATE INDEX CONCURRENTLY a_b ON a (b);", {"a"}),
        (f"{ALONE} CREATE UNIQUE INDEX CONCURRENTLY a_c\n ON a (c);", {"a"}),
        (f"-- b; c\n{ALONE}", set()),
        ("CREATE TABLE a (b int); CREATE INDEX a_b ON a (b);", set()),
    ],
)
def test_the_law_sees_who_is_locked_out_by_an_index(sql: str, found: set[str]) -> None:
    assert locked_by_indexes(sql) == found


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE app_user DROP COLUMN name;",
        "DROP TABLE app_user;",
        "ALTER TABLE app_user RENAME COLUMN name TO full_name;",
        "ALTER TABLE app_user RENAME TO person;",
        "ALTER TABLE app_user ADD COLUMN phone text NOT NULL;",
        "ALTER TABLE app_user ALTER COLUMN name SET NOT NULL;",
        "ALTER TABLE app_user ALTER COLUMN name TYPE bytea USING name::bytea;",
        "BEGIN; CREATE TABLE a (b int);",
        "CREATE TABLE a (b int); COMMIT;",
        "ALTER TABEL app_user ADD COLUMN phone text;",
    ],
)
def test_the_law_sees_what_breaks(sql: str) -> None:
    assert broken(sql) != set()


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE app_user ADD COLUMN phone text;",
        "ALTER TABLE app_user ADD COLUMN phone text NOT NULL DEFAULT '';",
        "CREATE TABLE a (b int NOT NULL); CREATE INDEX a_b ON a (b);",
        """-- contract: nobody has read it since 0.3
-- squawk-ignore ban-drop-column
ALTER TABLE app_user DROP COLUMN name;""",
    ],
)
def test_the_law_lets_through_what_only_adds_or_says_what_it_takes(sql: str) -> None:
    assert broken(sql) == set()


async def test_statements_of_the_last_release_are_good_on_the_newest_tables(
    empty_database_url: str,
) -> None:
    released = RELEASED.read_text("utf-8").split("\n;\n")[:-1]
    refused = []
    connection = await asyncpg.connect(empty_database_url)
    try:
        await migrate(connection, ("search", "vectors"))
        async with connection.transaction():
            for text in released:  # sorted: temporary tables come first
                try:
                    async with connection.transaction():
                        if text.startswith("CREATE TEMPORARY"):
                            await connection.execute(text)
                        else:
                            await connection.prepare(text)
                except asyncpg.PostgresError as error:
                    refused.append((text, str(error)))
    finally:
        await connection.close()
    assert refused == []
    assert len(released) > 100


def test_statements_are_found_of_every_owner() -> None:
    """So that the next release's file holds what it should."""
    found = " ".join(statements())
    for table in ("app_user", "call_record_enriched", "user_portrait_snapshot", "outbox",
                  "search_document", "vector_item"):  # fmt: skip
        assert table in found
