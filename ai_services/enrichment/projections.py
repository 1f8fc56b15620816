"""What the search index and the graph hold of calls, refilled from Postgres at any time.

Events carry call ids only; what is written is what Postgres says now. So an event applied
twice, or late, does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment import store
from shared.data_access.access import UnifiedDataAccess
from shared.data_access.outbox.relay import OutboxEvent, Projection
from shared.data_access.ports import Document, Edge, Graph, Node, Relational, Row, Search

COLLECTION: Final = "calls"
_PAGE: Final = 1000

Progress = Callable[[int, int], None]


def transcript_text(turns: Sequence[dict[str, Any]]) -> str:
    """What is searched: the words of both sides, one turn a line."""
    return "\n".join(turn["text"] for turn in turns)


class CallSearch:
    """Transcripts in the search index, one document per call."""

    name = "search"

    def __init__(self, relational: Relational, search: Search) -> None:
        self._relational = relational
        self._search = search

    async def apply(self, org_id: UUID, events: Sequence[OutboxEvent]) -> None:
        ids = _callids(events)
        for start in range(0, len(ids), _PAGE):
            await self._index(org_id, ids[start : start + _PAGE])

    async def rebuild(self, org_id: UUID, progress: Progress) -> int:
        await self._search.clear(org_id, COLLECTION)
        async with self._relational.tenant(org_id, readonly=True) as tx:
            total = await store.count_calls(tx, org_id)
        done, after, indexed = 0, "", 0
        while True:
            async with self._relational.tenant(org_id, readonly=True) as tx:
                ids = await store.callids_after(tx, org_id, after, _PAGE)
            if not ids:
                break
            indexed += await self._index(org_id, ids)
            done, after = done + len(ids), ids[-1]
            progress(done, total)
        await self._search.refresh()
        return indexed

    async def _index(self, org_id: UUID, callids: Sequence[str]) -> int:
        async with self._relational.tenant(org_id, readonly=True) as tx:
            rows = await store.documents(tx, org_id, callids)
        found = {row["callid"] for row in rows}
        gone = [callid for callid in callids if callid not in found]
        if gone:
            await self._search.delete(org_id, COLLECTION, gone)
        if rows:
            await self._search.index(org_id, COLLECTION, [_document(row) for row in rows])
        return len(rows)


def _document(row: Row) -> Document:
    fields = {"user_id": row["user_id"]}
    if row["customer_id"] is not None:
        fields["customer_id"] = row["customer_id"]
    at = row["started_at"].isoformat()
    return Document(row["callid"], transcript_text(row["turns"]), fields, at)


class CallGraph:
    """(Account)-[CALLED {calls, connected, last_at}]->(Customer), one edge per pair."""

    name = "graph"

    def __init__(self, relational: Relational, graph: Graph) -> None:
        self._relational = relational
        self._graph = graph

    async def apply(self, org_id: UUID, events: Sequence[OutboxEvent]) -> None:
        left = {
            (user, customer) for event in events for user, customer in event.payload.get("left", ())
        }
        async with self._relational.tenant(org_id, readonly=True) as tx:
            rows = await store.contacts(tx, org_id, _callids(events), list(left))
            gone = [row for row in rows if row["calls"] == 0]
            users, customers = (
                {row["user_id"] for row in gone},
                {row["customer_id"] for row in gone},
            )
            lonely = await store.without_contacts(tx, org_id, list(users), list(customers))
        rows = [row for row in rows if row["calls"]]
        for start in range(0, len(rows), _PAGE):
            await self._write(org_id, rows[start : start + _PAGE])
        if gone:
            ends = [(("Account", row["user_id"]), ("Customer", row["customer_id"])) for row in gone]
            await self._graph.delete_edges(org_id, "CALLED", ends)
            await self._graph.delete_nodes(org_id, "Account", lonely[0])
            await self._graph.delete_nodes(org_id, "Customer", lonely[1])

    async def rebuild(self, org_id: UUID, progress: Progress) -> int:
        await self._graph.clear(org_id)
        written, after = 0, ("", "")
        while True:
            async with self._relational.tenant(org_id, readonly=True) as tx:
                rows = await store.contact_page(tx, org_id, after, _PAGE)
            if not rows:
                return written
            await self._write(org_id, rows)
            written += len(rows)
            after = (rows[-1]["user_id"], rows[-1]["customer_id"])
            progress(written, written)

    async def _write(self, org_id: UUID, rows: Sequence[Row]) -> None:
        accounts = {row["user_id"] for row in rows}
        customers = {row["customer_id"] for row in rows}
        nodes = [Node("Account", name) for name in accounts] + [
            Node("Customer", name) for name in customers
        ]
        await self._graph.upsert_nodes(org_id, nodes)
        await self._graph.upsert_edges(org_id, [_edge(row) for row in rows])


def _edge(row: Row) -> Edge:
    facts = {
        "calls": row["calls"],
        "connected": row["connected"],
        "last_at": row["last_at"].isoformat(),
    }
    return Edge("CALLED", ("Account", row["user_id"]), ("Customer", row["customer_id"]), facts)


PROJECTIONS: Final[Mapping[str, Callable[[UnifiedDataAccess], Projection]]] = {
    CallSearch.name: lambda data: CallSearch(data.relational, data.search),
    CallGraph.name: lambda data: CallGraph(data.relational, data.graph),
}


def _callids(events: Sequence[OutboxEvent]) -> list[str]:
    """Each call once, in order: many events of a burst speak of the same."""
    return list(dict.fromkeys(callid for event in events for callid in event.payload["callids"]))
