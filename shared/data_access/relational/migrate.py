"""Brings a database's tables up to what this program knows.

Migrations are numbered SQL files, `migrations/0001_what_it_does.sql`, that lie beside the code whose
tables they make: those of a service in its folder, the data layer's own in the room of their
adapter, those of the jobs in theirs. Each owner counts its own. The data layer comes first, then the
jobs, then the services in the order of shared/services.py, so that a migration may build on those of
the owners before its own. Those of a `part` run only where it is used: the embedded search and
vector adapters keep their tables in PostgreSQL, and a production PostgreSQL without pgvector must
not be asked for it.

Each file runs once, in its own transaction, under a lock that serialises all processes; its checksum
is kept, so that a file that was edited after it ran is noticed. One that builds an index CONCURRENTLY,
while others write, runs in none, statement by statement: first it drops what a killed process may have left
of the index. While replicas are upgraded one by
one, those of the release before work on the new tables: a file only adds what they need not know
(expand), and takes away what no release in use reads any more (contract). A statement that takes
away says so: tests/shared/data_access/relational/test_expand_contract.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import pairwise
from typing import Final

import asyncpg
import structlog

from shared.errors import ConfigError
from shared.service_files import service_files
from shared.services import SERVICES, service_named

CORE: Final = "core"
Key = tuple[str, int]  # whose it is, and which of theirs

_FOLDER: Final = "migrations"
_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LOCK: Final = 0x4C6F6F6D61  # "Looma": one advisory lock per database
_LOOK_S: Final = 0.2  # whether the lock is free
_CONCURRENT: Final = re.compile(r"^(?:CREATE|DROP) .*\bCONCURRENTLY\b", re.MULTILINE)
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS applied_migration (
    owner       text NOT NULL,
    number      integer NOT NULL,
    name        text NOT NULL,
    checksum    text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner, number)
)
"""
_RAN: Final = """
INSERT INTO applied_migration (owner, number, name, checksum, applied_at)
VALUES ($1, $2, $3, $4, coalesce($5, now())) ON CONFLICT DO NOTHING
"""

_log = structlog.get_logger("looma.store")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose migrations lie in `folder`, which need not exist; they run where `part` is used."""

    name: str
    folder: Traversable
    part: str = CORE


@dataclass(frozen=True, slots=True)
class Migration:
    owner: str
    number: int
    name: str
    part: str
    sql: str

    @property
    def key(self) -> Key:
        return self.owner, self.number

    @property
    def alone(self) -> list[str]:
        """Its statements, where they can't run in a transaction, nor several at once."""
        if not _CONCURRENT.search(self.sql):
            return []
        return [one for one in self.sql.split(";\n") if one.strip()]

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def owners() -> list[Owner]:
    """Everyone who has migrations, those that others build on first."""
    layer = files("shared.data_access")

    def room(name: str, part: str = CORE) -> Owner:
        # No service can have a name with a dot in it.
        return Owner(f"data_access.{name}", layer / name / _FOLDER, part)

    own = [room("relational"), room("outbox"), room("search", "search"), room("vectors", "vectors")]
    own.append(Owner("shared.jobs", files("shared.jobs") / _FOLDER))
    own += [Owner(service.name, service_files(service) / _FOLDER) for service in SERVICES]
    webhooks = service_files(service_named("monitor")) / "webhooks"
    return [*own, Owner("monitor.webhooks", webhooks / _FOLDER)]


def read_migrations(of: Sequence[Owner] | None = None) -> list[Migration]:
    """Every migration of these owners (None: of all there are), in the order in which they run.

    ConfigError for a number that an owner has given twice.
    """
    return [one for owner in (owners() if of is None else of) for one in _read(owner)]


def pending(
    known: Iterable[Migration], applied: Mapping[Key, str], parts: Iterable[str]
) -> list[Migration]:
    """What is still to run for `parts`, given the checksum of what ran.

    Raises ConfigError for a database that is newer than this program and for a file that changed
    after it ran.
    """
    known = list(known)
    wanted = {CORE, *parts}
    by_key = {migration.key: migration for migration in known}
    if unknown := applied.keys() - by_key.keys():
        owner, number = max(unknown)
        newest = max((one.number for one in known if one.owner == owner), default=0)
        raise _from_the_future(f"{number} of {owner}", newest)
    for key, checksum in applied.items():
        if by_key[key].checksum != checksum:
            raise _edited(by_key[key])
    return [m for m in known if m.part in wanted and m.key not in applied]


async def migrate(
    connection: asyncpg.Connection, parts: Iterable[str] = (), of: Sequence[Owner] | None = None
) -> list[Key]:
    """Run what is pending and say what that was. Driver errors pass through untranslated."""
    known = read_migrations(of)
    if not pending(known, await _applied(connection), parts):
        return []  # the common case needs no lock
    # A process that is killed lets go of the lock then, not when its statement would have ended.
    await connection.execute("SET client_connection_check_interval = '1s'")
    await _lock(connection)
    try:
        async with connection.transaction():
            await connection.execute(_LEDGER)
            await _take_over(connection, known)
        ran = pending(known, await _applied(connection), parts)
        for migration in ran:
            await _run(connection, migration)
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
            await connection.execute("RESET client_connection_check_interval")
    return [migration.key for migration in ran]


async def _applied(connection: asyncpg.Connection) -> dict[Key, str]:
    if not await connection.fetchval("SELECT to_regclass('applied_migration') IS NOT NULL"):
        return {}
    rows = await connection.fetch("SELECT owner, number, checksum FROM applied_migration")
    return {(row["owner"], row["number"]): row["checksum"] for row in rows}


async def _take_over(connection: asyncpg.Connection, known: Sequence[Migration]) -> None:
    """Note what ran when migrations were numbered over all owners, as `schema_migration` says.

    That table stays: a process of that release may still run beside this one, and looks there.
    """
    if not await connection.fetchval("SELECT to_regclass('schema_migration') IS NOT NULL"):
        return
    same = {(migration.name, migration.checksum): migration for migration in known}
    named = {migration.name: migration for migration in known}
    for row in await connection.fetch(
        "SELECT version, name, checksum, applied_at FROM schema_migration ORDER BY version DESC"
    ):
        migration = same.get((row["name"], row["checksum"]))
        if migration is None:
            if row["name"] in named:
                raise _edited(named[row["name"]])
            raise _from_the_future(f"{row['version']} ({row['name']})")
        await _note(connection, migration, row["applied_at"])


async def _lock(connection: asyncpg.Connection) -> None:
    """Who waits for it in PostgreSQL has a snapshot, for whose end an index waits that is built while
    others write: by whom they wait for.
    """
    while not await connection.fetchval(  # noqa: ASYNC110 - other processes' state
        "SELECT pg_try_advisory_lock($1)", _LOCK
    ):
        await asyncio.sleep(_LOOK_S)


async def _run(connection: asyncpg.Connection, migration: Migration) -> None:
    for statement in migration.alone:
        await connection.execute(statement)
    async with connection.transaction():
        if not migration.alone:
            await connection.execute(migration.sql)
        await _note(connection, migration)
    _log.info("migrated", owner=migration.owner, number=migration.number, migration=migration.name)


async def _note(
    connection: asyncpg.Connection, migration: Migration, at: datetime | None = None
) -> None:
    await connection.execute(_RAN, *migration.key, migration.name, migration.checksum, at)


def _read(owner: Owner) -> list[Migration]:
    if not owner.folder.is_dir():
        return []
    found = [
        Migration(owner.name, int(match[1]), match[2], owner.part, file.read_text(encoding="utf-8"))
        for file in owner.folder.iterdir()
        if (match := _NAME.fullmatch(file.name))
    ]
    found.sort(key=lambda migration: migration.number)
    for first, second in pairwise(found):
        if first.number == second.number:
            raise ConfigError(
                f"Two migrations of {owner.name} have the number {first.number}: {first.name} and "
                f"{second.name}. Renumber the newer one."
            )
    return found


def _from_the_future(which: str, newest: int | None = None) -> ConfigError:
    known = "" if newest is None else f" (its newest is {newest})"
    return ConfigError(
        f"DATABASE_URL: this database has migration {which}, which this program doesn't know{known}. "
        "Upgrade the program."
    )


def _edited(migration: Migration) -> ConfigError:
    return ConfigError(
        f"Migration {migration.number:04}_{migration.name}.sql of {migration.owner} was changed after "
        "it ran on this database. Restore the file and put the change into a new migration."
    )
