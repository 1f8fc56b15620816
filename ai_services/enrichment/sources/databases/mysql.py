"""MySQL and MariaDB as a source, by asyncmy: read only, a connection for each reader.

There is no pool: a connection whose query was cancelled or timed out has the rest of an answer in it,
and is closed rather than handed to somebody else (asyncmy's issue 103 was that).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import asyncmy
from asyncmy.errors import MySQLError

from ai_services.enrichment.sources.databases.database import Table
from ai_services.enrichment.sources.databases.dialect_connection import DialectConnection
from ai_services.enrichment.sources.databases.statement import (
    Dialect,
    Statement,
)
from shared.errors import UpstreamError, UpstreamUnavailable

_CONNECT_S: Final = 10
_TABLES: Final = "SELECT table_name FROM information_schema.tables WHERE table_schema = database()"
_COLUMNS: Final = """SELECT column_name, data_type FROM information_schema.columns
    WHERE table_schema = database() AND table_name = %s ORDER BY ordinal_position"""
_INDEXES: Final = """SELECT s.index_name, s.column_name, s.non_unique, s.seq_in_index,
        count(*) OVER (PARTITION BY s.index_name) AS width, s.nullable
    FROM information_schema.statistics s
    WHERE s.table_schema = database() AND s.table_name = %s
    ORDER BY s.index_name <> 'PRIMARY', s.index_name, s.seq_in_index"""
# What a session is: everything it reads is UTF-8, and it can change nothing whatever its user may.
_READ_ONLY: Final = "SET SESSION TRANSACTION READ ONLY"
# A source that will not be had until somebody acts, and what is to be done; other refusals show the
# server's words.
_REFUSALS: Final = {
    1044: "its user may not read this database: GRANT SELECT on it",
    1045: "it refuses this user or password: check `url`, and the secret that `password` names",
    1049: "it has no database of that name: check the end of `url`",
    1142: "its user may not read this table: GRANT SELECT on it",
    1143: "its user may not read a column: GRANT SELECT on the whole table",
    1698: "it refuses this user or password: it may be one that is let in by a socket only",
}
_AWAY: Final = frozenset({1040, 1053, 1077, 1129, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213,
                          1226, 1317, 1927, 1969, 2002, 2003, 2005, 2006, 2013, 2014, 2055, 3024})  # fmt: skip


@dataclass(frozen=True, slots=True)
class MySql:
    """A Database. `timeout_s` bounds each query; `tls` None: in the clear."""

    name: str
    host: str
    port: int
    user: str
    database: str
    password: str = field(repr=False)
    timeout_s: float = 60.0
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_Connection]:
        with_tls = {} if self.tls is None else {"ssl": self.tls}
        try:
            async with asyncio.timeout(_CONNECT_S):
                driver = await asyncmy.connect(
                    host=self.host, port=self.port, user=self.user, password=self.password,
                    database=self.database, charset="utf8mb4", autocommit=True,
                    connect_timeout=_CONNECT_S, init_command=_READ_ONLY, **with_tls,
                )  # fmt: skip
        except (MySQLError, OSError, TimeoutError, ssl.SSLError) as error:
            raise _told(self, error) from None  # the driver's own error shows how it was called
        try:
            yield _Connection(self, driver)
        finally:
            # Goodbyes wait for whatever is still being sent; nothing is lost without them.
            with suppress(MySQLError, OSError):
                driver.close()


class _Connection(DialectConnection):
    def __init__(self, source: MySql, driver: Any) -> None:
        super().__init__(Dialect())
        self._source = source
        self._driver = driver

    async def tables(self) -> list[str]:
        return [row[0] for row in await self._fetch(Statement(_TABLES))]

    async def table(self, name: str) -> Table | None:
        columns = await self._fetch(Statement(_COLUMNS, [name]))
        if not columns:
            return None
        indexes = await self._fetch(Statement(_INDEXES, [name]))
        unique = [
            column
            for _, column, non_unique, _, width, nullable in indexes
            if not non_unique and width == 1 and nullable != "YES"
        ]
        indexed = frozenset(column for _, column, _, place, _, _ in indexes if place == 1)
        return Table(name, dict(columns), unique, indexed)

    async def _fetch(self, statement: Statement) -> list[tuple[Any, ...]]:
        try:
            async with asyncio.timeout(self._source.timeout_s), self._driver.cursor() as cursor:
                await cursor.execute(statement.text, tuple(statement.values))
                return list(await cursor.fetchall())
        except (MySQLError, OSError, TimeoutError) as error:
            self._driver.close()
            raise _told(self._source, error) from error


def _told(source: MySql, error: Exception) -> UpstreamError:
    where = f"Source {source.name}: MySQL at {source.host}:{source.port}"
    if isinstance(error, TimeoutError):
        return UpstreamUnavailable(f"{where} did not answer in time.")
    if broken := _tls_failure(error):
        return UpstreamError(
            f"{where}: no TLS with it ({broken}): check that it speaks TLS, and `ca` and `tls`."
        )
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if code in _REFUSALS:
        return UpstreamError(f"{where}: {_REFUSALS[code]}.")
    words = str(error.args[-1] if error.args else error)[:300]
    if code in _AWAY or isinstance(error, OSError):
        return UpstreamUnavailable(f"{where} is away ({words}).")
    return UpstreamError(f"{where} refused ({code}: {words}).")


def _tls_failure(error: BaseException | None) -> str | None:
    """What TLS failed of, if it did; the driver's own error has that behind it."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return None if error is None else str(error.reason or error)
