"""One open PostgreSQL transaction: queries in, rows out, errors translated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from io import BytesIO
from typing import Any, cast
from uuid import UUID

import asyncpg

from shared.data_access.guard import Guard
from shared.data_access.outbox.topics import listening_to
from shared.data_access.ports import Row
from shared.data_access.relational.driver_calls import driver_call, while_connected
from shared.errors import StoreError

_EMIT = """
INSERT INTO outbox (org_id, projection, topic, key, payload)
SELECT $1, projection, $2, event.key, event.payload
FROM unnest($3::text[], $4::jsonb[]) WITH ORDINALITY AS event(key, payload, position),
     unnest($5::text[]) AS projection
ORDER BY position
"""


class PostgresTransaction:
    """`seconds` is the longest that one statement may take, `readonly` what it was begun as.

    `topics` says which projections get what is emitted.
    """

    def __init__(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        guard: Guard,
        *,
        seconds: float,
        readonly: bool,
        topics: Mapping[str, Sequence[str]],
    ) -> None:
        self._connection = connection
        self._guard = guard
        self._seconds = seconds
        self._readonly = readonly
        self._topics = topics

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        async with self._call(query):
            return cast("list[Row]", await self._connection.fetch(query, *args))

    async def fetchrow(self, query: str, *args: Any) -> Row | None:
        async with self._call(query):
            return cast("Row | None", await self._connection.fetchrow(query, *args))

    async def fetchval(self, query: str, *args: Any) -> Any:
        async with self._call(query):
            return await self._connection.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> int:
        async with self._call(query):
            return _rows_touched(await self._connection.execute(query, *args))

    async def executemany(self, query: str, args: Sequence[Sequence[Any]]) -> None:
        async with self._call(query):
            await self._connection.executemany(query, args)

    async def copy_csv(self, table: str, columns: Sequence[str], data: bytes) -> int:
        async with self._call("COPY", table):
            copying = self._connection.copy_to_table(
                table, source=BytesIO(data), columns=columns, format="csv"
            )
            status = await while_connected(self._connection, copying)
        return _rows_touched(status)

    async def stream(self, query: str, *args: Any, batch: int = 1000) -> AsyncIterator[list[Row]]:
        async with self._call(query):
            cursor = await self._connection.cursor(query, *args)
        while True:
            async with self._call(query):
                rows = await cursor.fetch(batch)
            if rows:
                yield cast("list[Row]", rows)
            if len(rows) < batch:
                return

    async def emit(self, org_id: UUID, topic: str, key: str, payload: Mapping[str, Any]) -> None:
        await self.emit_many(org_id, topic, [(key, payload)])

    async def emit_many(
        self, org_id: UUID, topic: str, events: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> None:
        projections = listening_to(self._topics, topic)
        if not events or not projections:
            return
        keys = [key for key, _ in events]
        payloads = [payload for _, payload in events]
        async with self._call(_EMIT):
            await self._connection.execute(_EMIT, org_id, topic, keys, payloads, projections)

    async def commit(self) -> None:
        """End the transaction; for the adapter, not for its users."""
        async with self._call("COMMIT"):
            status = await self._connection.execute("COMMIT")
        if status == "ROLLBACK":
            # A statement failed, its error was caught and the block went on: nothing was kept.
            raise StoreError("The transaction was rolled back because a statement in it failed.")

    def _call(self, what: str, table: str = "") -> AbstractAsyncContextManager[None]:
        return driver_call(
            self._connection, self._guard, self._seconds, what, table, readonly=self._readonly
        )


def _rows_touched(status: str) -> int:
    """'INSERT 0 5' → 5; commands without a count → 0."""
    count = status.rpartition(" ")[2]
    return int(count) if count.isdigit() else 0
