"""What all connections to databases that speak SQL ask in the same way, each in its dialect."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ai_services.enrichment.sources.databases.database import Rows
from ai_services.enrichment.sources.databases.statement import (
    Dialect,
    Order,
    Position,
    Statement,
    Window,
)


class DialectConnection(ABC):
    """The questions of a Connection that are a statement each; `_fetch` is its driver's."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def page(
        self,
        table: str,
        columns: Sequence[str],
        order: Order,
        window: Window,
        after: Position | None,
        rows: int,
    ) -> Rows:
        return await self._fetch(self._dialect.page(table, columns, order, window, after, rows))

    async def count(self, table: str, window: Window) -> int:
        ((count,),) = await self._fetch(self._dialect.count(table, window))
        return int(count)

    async def matching(
        self, table: str, columns: Sequence[str], key: str, keys: Sequence[str], order: str | None
    ) -> Rows:
        return await self._fetch(self._dialect.matching(table, columns, key, keys, order))

    @abstractmethod
    async def _fetch(self, statement: Statement) -> list[tuple[Any, ...]]:
        """Raises as a Connection does."""
