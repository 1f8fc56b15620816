"""PostgreSQL as a source, by asyncpg: read only, a connection for each reader."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from ai_services.enrichment.sources.databases.database import Table
from ai_services.enrichment.sources.databases.dialect_connection import DialectConnection
from ai_services.enrichment.sources.databases.statement import (
    PostgresDialect,
    Statement,
)
from shared.errors import UpstreamError, UpstreamUnavailable

_CONNECT_S: Final = 10
# Under its own name where the search path finds it, and with its schema before it.
_TABLES: Final = """SELECT name FROM information_schema.tables,
        LATERAL (VALUES (CASE WHEN table_schema = ANY (current_schemas(false))
                              THEN table_name::text END),
                        (table_schema || '.' || table_name)) AS spelling (name)
    WHERE name IS NOT NULL AND table_schema NOT IN ('pg_catalog', 'information_schema')"""
_COLUMNS: Final = """SELECT a.attname::text, t.typname::text
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
      AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
    ORDER BY a.attnum"""
_INDEXES: Final = """SELECT a.attname::text, i.indnkeyatts, i.indisunique AND a.attnotnull
                            AND i.indpred IS NULL AS single
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = to_regclass($1) AND i.indisvalid
    ORDER BY NOT i.indisprimary, a.attnum"""
# What a source refuses until somebody acts.
_REFUSALS: Final = {
    "28P01": "it refuses this user or password: check `url`, and the secret that `password` names",
    "28000": "it refuses this user from here: check `url`, `tls` and the server's pg_hba.conf",
    "3D000": "it has no database of that name: check the end of `url`",
    "42501": "its user may not read this: GRANT SELECT on the table, and USAGE on its schema",
}
# Classes: connections, a standby's conflict or a deadlock, resources, an operator's doing.
_AWAY: Final = ("08", "40", "53", "57")
_LOST: Final = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


@dataclass(frozen=True, slots=True)
class PostgreSql:
    """A Database. `timeout_s` bounds each query; `tls` None: in the clear."""

    name: str
    host: str
    port: int
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_Connection]:
        try:
            driver = await asyncpg.connect(
                host=self.host, port=self.port, user=self.user, password=self.password,
                database=self.database, ssl=self.tls or False, timeout=_CONNECT_S,
                command_timeout=self.timeout_s,
                statement_cache_size=0,  # there may be a pooler in between
                server_settings={"default_transaction_read_only": "on"},
            )  # fmt: skip
        except (asyncpg.PostgresError, *_LOST) as error:
            raise _told(self, error) from None  # the driver's own error shows how it was called
        try:
            yield _Connection(self, driver)
        finally:
            driver.terminate()


class _Connection(DialectConnection):
    def __init__(self, source: PostgreSql, driver: asyncpg.Connection) -> None:
        super().__init__(PostgresDialect())
        self._source = source
        self._driver = driver

    async def tables(self) -> list[str]:
        return [row[0] for row in await self._fetch(Statement(_TABLES))]

    async def table(self, name: str) -> Table | None:
        quoted = self._dialect.name(name)
        columns = await self._fetch(Statement(_COLUMNS, [quoted]))
        if not columns:
            return None
        indexes = await self._fetch(Statement(_INDEXES, [quoted]))
        unique = list(
            dict.fromkeys(column for column, width, single in indexes if single and width == 1)
        )
        indexed = frozenset(column for column, _, _ in indexes)
        return Table(name, dict(columns), unique, indexed)

    async def _fetch(self, statement: Statement) -> list[tuple[Any, ...]]:
        try:
            return [
                tuple(row) for row in await self._driver.fetch(statement.text, *statement.values)
            ]
        except (asyncpg.PostgresError, *_LOST) as error:
            raise _told(self._source, error) from error


def _told(source: PostgreSql, error: Exception) -> UpstreamError:
    where = f"Source {source.name}: PostgreSQL at {source.host}:{source.port}"
    if isinstance(error, TimeoutError):
        return UpstreamUnavailable(f"{where} did not answer in time.")
    if isinstance(error, ssl.SSLError):
        return UpstreamError(
            f"{where}: no TLS with it ({error.reason or error}): check `ca` and `tls`."
        )
    code = getattr(error, "sqlstate", None) or ""
    if code in _REFUSALS:
        return UpstreamError(f"{where}: {_REFUSALS[code]}.")
    words = str(error)[:300]
    if code[:2] in _AWAY or not code:
        return UpstreamUnavailable(f"{where} is away ({words}).")
    return UpstreamError(f"{where} refused ({code}: {words}).")
