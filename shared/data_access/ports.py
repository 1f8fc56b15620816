"""The five ports of UnifiedDataAccess: what every adapter promises.

Both adapters of a port pass the same contract suite (tests/contract/). Common rules:

* an unreachable store raises `StoreUnavailable`, a unique or serialisation conflict
  `StoreConflict`, anything else that the store refuses `StoreError`; driver exceptions
  never leave this package;
* `org_id` is a required argument wherever data is touched, and the adapter, not the
  caller, turns it into a filter;
* opening an adapter does not need the store to be up: the first call finds out, and a
  store that comes back is used again without a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

Row = Mapping[str, Any]


class Transaction(Protocol):
    """One PostgreSQL transaction. Queries use `$1` parameters, never formatted input."""

    async def fetch(self, query: str, *args: Any) -> list[Row]: ...
    async def fetchrow(self, query: str, *args: Any) -> Row | None: ...
    async def fetchval(self, query: str, *args: Any) -> Any: ...
    async def execute(self, query: str, *args: Any) -> int:
        """Run and return the number of rows touched."""
        ...

    async def executemany(self, query: str, args: Sequence[Sequence[Any]]) -> None: ...
    async def copy_csv(self, table: str, columns: Sequence[str], data: bytes) -> int:
        """COPY CSV bytes (no header, empty unquoted = NULL) into a table without row policies."""
        ...

    def stream(self, query: str, *args: Any, batch: int = 1000) -> AsyncIterator[list[Row]]:
        """Server-side cursor: lists of at most `batch` rows."""
        ...

    async def emit(self, org_id: UUID, topic: str, key: str, payload: Mapping[str, Any]) -> None:
        """Write an outbox event in this transaction, one row per projection that listens.

        Write the fact first: its row lock then keeps the events of one key in order.
        """
        ...

    async def emit_many(
        self, org_id: UUID, topic: str, events: Sequence[tuple[str, Mapping[str, Any]]]
    ) -> None:
        """`emit` for many (key, payload) at once, in one statement."""
        ...


class Call(Protocol):
    async def __call__(self, function: str, *args: Any) -> list[Row]:
        """The rows of a function of the database: its arguments are the organisation and `args`."""
        ...

    def listeners(self, topic: str) -> list[str]:
        """The projections that get what is emitted of `topic`, for a function that emits."""
        ...


class Relational(Protocol):
    def tenant(
        self, org_id: UUID, *, readonly: bool = False
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that sees and writes this organisation's rows only."""
        ...

    def calling(self, org_id: UUID) -> AbstractAsyncContextManager[Call]:
        """One function of the database, called with the rights and the rows of `tenant`.

        It is a transaction of its own, in a single round trip: committed when its rows are there.
        A call that fails with StoreUnavailable may have been kept; what fails before the block
        has not begun.
        """
        ...

    def system(self, *, who: Hashable | None = None) -> AbstractAsyncContextManager[Transaction]:
        """A transaction across organisations: sign-in look-ups, workers, audits.

        `who` is whose turns it takes: the organisation that it is for, or the name of a class of
        requests that anybody may send, which then leave turns to all others. None is the
        platform's own work, which has no share: nothing that a request brings about.
        """
        ...

    async def ping(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Node:
    label: str
    id: str
    properties: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edge:
    type: str
    source: tuple[str, str]  # (label, id)
    target: tuple[str, str]
    properties: Mapping[str, str | int | float | bool] = field(default_factory=dict)


class Graph(Protocol):
    """A property graph; nodes are identified by (organisation, label, id), edges by their ends and type."""

    async def upsert_nodes(self, org_id: UUID, nodes: Sequence[Node]) -> None: ...
    async def upsert_edges(self, org_id: UUID, edges: Sequence[Edge]) -> None:
        """Edges whose ends don't exist create them without properties."""
        ...

    async def delete_nodes(self, org_id: UUID, label: str, ids: Sequence[str]) -> None:
        """Delete nodes and their edges; unknown ids are ignored."""
        ...

    async def delete_edges(
        self,
        org_id: UUID,
        edge_type: str,
        ends: Sequence[tuple[tuple[str, str], tuple[str, str]]],
    ) -> None:
        """Delete the edges of this type between these (source, target); unknown ones are ignored."""
        ...

    async def node(self, org_id: UUID, label: str, node_id: str) -> Node | None: ...
    async def neighbours(
        self,
        org_id: UUID,
        label: str,
        node_id: str,
        *,
        edge_type: str | None = None,
        limit: int = 100,
    ) -> list[tuple[Edge, Node]]: ...
    async def shortest_path(
        self, org_id: UUID, source: tuple[str, str], target: tuple[str, str], *, max_hops: int = 6
    ) -> list[tuple[str, str]] | None: ...
    async def counts(self, org_id: UUID) -> tuple[dict[str, int], dict[str, int]]:
        """(nodes per label, edges per type)."""
        ...

    async def clear(self, org_id: UUID) -> None: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class VectorItem:
    id: str
    vector: Sequence[float]
    properties: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VectorHit:
    id: str
    similarity: float  # cosine, −1…1
    properties: Mapping[str, str | int | float | bool]


class Vectors(Protocol):
    """Cosine similarity within (organisation, collection, model version)."""

    async def upsert(
        self, org_id: UUID, collection: str, model_version: str, items: Sequence[VectorItem]
    ) -> None: ...
    async def search(
        self,
        org_id: UUID,
        collection: str,
        model_version: str,
        vector: Sequence[float],
        *,
        limit: int = 10,
        where: Mapping[str, str | int | float | bool] | None = None,
    ) -> list[VectorHit]: ...
    async def get(
        self, org_id: UUID, collection: str, model_version: str, ids: Sequence[str]
    ) -> dict[str, VectorItem]: ...
    async def delete(self, org_id: UUID, collection: str, ids: Sequence[str]) -> None: ...
    async def count(self, org_id: UUID, collection: str, model_version: str) -> int: ...
    async def clear(self, org_id: UUID, collection: str) -> None: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Document:
    id: str
    text: str
    fields: Mapping[str, str] = field(default_factory=dict)  # exact-match filters, e.g. user_id
    at: str | None = None  # RFC 3339; the newest are found first, those without a time last


@dataclass(frozen=True, slots=True)
class SearchHit:
    id: str
    highlights: Sequence[str]  # fragments, HTML-escaped, matches in <em>…</em>
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SearchPage:
    hits: Sequence[SearchHit]
    next_cursor: str | None


class Search(Protocol):
    """Full-text search in Chinese and English; all words of a query must occur.

    Hits come newest first, by id where the time is the same. A cursor holds that place, so
    whatever is written between two pages, a document that keeps its time is seen once. A page may
    hold fewer hits than `limit`, none even, where finding more would take too long: the last one
    is that without `next_cursor`.
    """

    async def index(self, org_id: UUID, collection: str, documents: Sequence[Document]) -> None: ...
    async def search(
        self,
        org_id: UUID,
        collection: str,
        query: str,
        *,
        filters: Mapping[str, str] | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> SearchPage: ...
    async def delete(self, org_id: UUID, collection: str, ids: Sequence[str]) -> None: ...
    async def count(self, org_id: UUID, collection: str) -> int: ...
    async def refresh(self) -> None:
        """Make what was indexed visible to search now (for rebuilds and tests)."""
        ...

    async def clear(self, org_id: UUID, collection: str) -> None: ...
    async def ping(self) -> None: ...
    async def close(self) -> None: ...


class Cache(Protocol):
    """Short-lived keys; never the only copy of anything."""

    async def get(self, key: str) -> bytes | None: ...
    async def set(self, key: str, value: bytes, *, ttl: float) -> None: ...
    async def delete(self, *keys: str) -> int: ...
    async def scan(self, prefix: str) -> dict[str, bytes]:
        """All live keys under `prefix` with their values."""
        ...

    async def increment(self, key: str, *, ttl: float) -> int:
        """Add one; a new key lives for `ttl` seconds."""
        ...

    async def publish(self, channel: str, message: bytes) -> int:
        """How many subscribers it went to."""
        ...

    def subscribe(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...
    async def eval(
        self, script: str, keys: Sequence[str], args: Sequence[str | bytes | int | float]
    ) -> Any:
        """Run a Lua script atomically (cached by its hash)."""
        ...

    async def ping(self) -> None: ...
    async def close(self) -> None: ...
