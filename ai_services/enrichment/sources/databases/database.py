"""A database that calls are read from, whichever kind it is: a contract, and what there is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ai_services.enrichment.sources.databases.statement import Order, Position, Window

Rows = Sequence[Sequence[str | None]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as its source's catalogue has it.

    `columns`: name → type. `unique` are the columns each of which no two rows share and none lacks,
    the primary key first; `indexed` those that an index begins with.
    """

    name: str
    columns: Mapping[str, str]
    unique: Sequence[str] = ()
    indexed: frozenset[str] = frozenset()


class Connection(Protocol):
    """One connection, for one reader at a time. Values come as text, as the source writes them.

    Raises UpstreamUnavailable where the source is away or too slow, UpstreamError where it refuses;
    after either the connection is of no use. What is told holds no secret.
    """

    async def tables(self) -> list[str]: ...
    async def table(self, name: str) -> Table | None:
        """None: there is none of that name, or it may not be read."""
        ...

    async def page(
        self,
        table: str,
        columns: Sequence[str],
        order: Order,
        window: Window,
        after: Position | None,
        rows: int,
    ) -> Rows: ...
    async def count(self, table: str, window: Window) -> int: ...
    async def matching(
        self, table: str, columns: Sequence[str], key: str, keys: Sequence[str], order: str | None
    ) -> Rows:
        """The rows of these keys, by key, then by `order`."""
        ...


class Database(Protocol):
    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """A connection that can only read."""
        ...
