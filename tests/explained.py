"""The plans of statements, as a test lets them run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from shared.data_access.ports import Row, Transaction


class Explained:
    """A transaction that keeps the plan of each statement before it runs it."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self.nodes: list[dict[str, Any]] = []

    async def fetch(self, query: str, *args: Any) -> list[Row]:
        await self._explain(query, args)
        return await self._tx.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> Row | None:
        await self._explain(query, args)
        return await self._tx.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        await self._explain(query, args)
        return await self._tx.fetchval(query, *args)

    async def execute(self, query: str, *args: Any) -> Any:
        return await self._tx.execute(query, *args)

    async def executemany(self, query: str, args: Sequence[Sequence[Any]]) -> None:
        await self._explain(query, args[0])
        await self._tx.executemany(query, args)

    async def _explain(self, query: str, args: Sequence[Any]) -> None:
        (plan,) = await self._tx.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *args)
        self.nodes += _nodes(plan["Plan"])

    def scans(self) -> list[dict[str, Any]]:
        """Every scan of a table."""
        return [
            node for node in self.nodes if "Scan" in node["Node Type"] and "Relation Name" in node
        ]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
