"""Brings a database's tables up to what this program knows.

Migrations are numbered SQL files. Those in `migrations/` belong to everyone; those in
`migrations/<part>/` only to who uses that part (the embedded search and vector adapters keep
their tables in PostgreSQL, and a production PostgreSQL without pgvector must not be asked for
it). Numbers are unique over all parts. Each file runs once, in its own transaction, under a lock
that serialises all processes; its checksum is kept, so that a file that was edited after it ran
is noticed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import pairwise

import asyncpg
import structlog

from shared.errors import ConfigError

CORE = "core"
_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK = 0x4C6F6F6D61  # "Looma": one advisory lock per database
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
)
"""

_log = structlog.get_logger("looma.store")


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    part: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Traversable | None = None) -> list[Migration]:
    """Every migration in the package (or in `folder`), by version; ConfigError for a number twice."""
    folder = folder or files("shared.data_access") / "migrations"
    found: list[Migration] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += [_read(file, entry.name) for file in entry.iterdir() if _is_sql(file)]
        elif _is_sql(entry):
            found.append(_read(entry, CORE))
    found.sort(key=lambda migration: migration.version)
    for first, second in pairwise(found):
        if first.version == second.version:
            raise ConfigError(
                f"Two migrations have the number {first.version}: {first.name} and {second.name}. "
                "Renumber the newer one."
            )
    return found


def pending(
    known: Iterable[Migration], applied: Mapping[int, str], parts: Iterable[str]
) -> list[Migration]:
    """What is still to run for `parts`, given version → checksum of what ran.

    Raises ConfigError for a database that is newer than this program and for a file that changed
    after it ran.
    """
    known = list(known)
    wanted = {CORE, *parts}
    by_version = {migration.version: migration for migration in known}
    unknown = sorted(applied.keys() - by_version.keys())
    if unknown:
        raise ConfigError(
            f"DATABASE_URL: this database has migration {unknown[-1]}, which this program doesn't "
            f"know (its newest is {max(by_version, default=0)}). Upgrade the program."
        )
    for version, checksum in applied.items():
        if by_version[version].checksum != checksum:
            raise ConfigError(
                f"Migration {version:04}_{by_version[version].name}.sql was changed after it ran on "
                "this database. Restore the file and put the change into a new migration."
            )
    return [m for m in known if m.part in wanted and m.version not in applied]


async def migrate(
    connection: asyncpg.Connection, parts: Iterable[str] = (), folder: Traversable | None = None
) -> list[int]:
    """Run what is pending and return its versions. Driver errors pass through untranslated."""
    known = read_migrations(folder)
    if not pending(known, await _applied(connection), parts):
        return []  # the common case needs no lock
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    try:
        await connection.execute(_TABLE)
        ran = pending(known, await _applied(connection), parts)
        for migration in ran:
            await _run(connection, migration)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return [migration.version for migration in ran]


async def _applied(connection: asyncpg.Connection) -> dict[int, str]:
    if not await connection.fetchval("SELECT to_regclass('schema_migration') IS NOT NULL"):
        return {}
    rows = await connection.fetch("SELECT version, checksum FROM schema_migration")
    return {row["version"]: row["checksum"] for row in rows}


async def _run(connection: asyncpg.Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migration (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )
    _log.info("migrated", version=migration.version, name=migration.name)


def _is_sql(file: Traversable) -> bool:
    return _NAME.fullmatch(file.name) is not None


def _read(file: Traversable, part: str) -> Migration:
    match = _NAME.fullmatch(file.name)
    assert match is not None  # the caller asked _is_sql
    return Migration(int(match[1]), match[2], part, file.read_text(encoding="utf-8"))
