"""The graph port over Bolt, for Neo4j 5 and ArcadeDB alike: one driver, one Cypher subset.

A node carries `org_id` and `id` beside its own properties, unique together within its label.
Every pattern names both or the organisation, and edges are only made between nodes of one
organisation, so that no query leaves it.

The URL is `bolt://user:password@host:port[/database]`, or `neo4j://…` for a cluster.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from shared.data_access.bolt_driver import (
    AsyncDriver,
    AsyncGraphDatabase,
    AsyncManagedTransaction,
    AsyncSession,
    NotificationMinimumSeverity,
    exceptions,
)
from shared.data_access.cypher import Scalar, check_properties, cypher, is_name, own_properties
from shared.data_access.errors import Kind, Translator
from shared.data_access.graph_upsert import EdgeBatch, NodeBatch, run
from shared.data_access.ports import Edge, Node
from shared.errors import StoreConflict, StoreError, StoreUnavailable

DRIVER_ERRORS: tuple[type[BaseException], ...] = (exceptions.GqlError,)
_UNAVAILABLE = (
    exceptions.ServiceUnavailable,
    exceptions.SessionExpired,
    exceptions.ConnectionPoolError,
    exceptions.TransientError,  # outlived the driver's own attempts
    exceptions.AuthError,  # our credentials are refused: the operator's to repair
)
_UNAVAILABLE_CODES = frozenset({"Neo.ClientError.Database.DatabaseNotFound"})
_ALREADY_THERE: Final = ("EquivalentSchemaRuleAlreadyExists", "ConstraintAlreadyExists")
_READ_SECONDS = 2.3
_SLOW_READ_SECONDS = 10.0
_WRITE_SECONDS = 30.0
_BATCH = 1000
_DELETE_BATCH = 500
_CONFLICT_TRIES = 6
_MAX_HOPS = 15

_NODE_KEY = (
    "CREATE CONSTRAINT <key> IF NOT EXISTS FOR (n:<name>) REQUIRE (n.org_id, n.id) IS UNIQUE"
)
_EDGE_KEY = (
    "CREATE CONSTRAINT <key> IF NOT EXISTS FOR ()-[r:<name>]-() REQUIRE r.edge_key IS UNIQUE"
)
_DELETE_NODES = "MATCH (n:<label> {org_id: $org}) WHERE n.id IN $ids DETACH DELETE n"
_DELETE_EDGES = (
    "UNWIND $rows AS row MATCH (a:<source> {org_id: $org, id: row.a})-[r:<type>]->"
    "(b:<target> {org_id: $org, id: row.b}) DELETE r"
)
_NODE = "MATCH (n:<label> {org_id: $org, id: $id}) RETURN properties(n) AS properties"
_NEIGHBOURS = (
    "MATCH (n:<label> {org_id: $org, id: $id})-[r]-(m {org_id: $org}) "
    "RETURN type(r) AS type, properties(r) AS edge, startNode(r) = n AS outgoing, "
    "labels(m)[0] AS label, properties(m) AS node ORDER BY type, label, m.id LIMIT $limit"
)
_NEIGHBOURS_BY = _NEIGHBOURS.replace("[r]", "[r:<type>]")
_PATH = (
    "MATCH (a:<source> {org_id: $org, id: $from}), (b:<target> {org_id: $org, id: $to}) "
    "MATCH p = shortestPath((a)-[*..HOPS]-(b)) WHERE all(n IN nodes(p) WHERE n.org_id = $org) "
    "RETURN [n IN nodes(p) | [labels(n)[0], n.id]] AS path"
)
_PATHS = {hops: _PATH.replace("HOPS", str(hops)) for hops in range(1, _MAX_HOPS + 1)}
_LABELS = "CALL db.labels() YIELD label RETURN label"
# `id >= ''` is true of all; with it Neo4j uses the constraint's index, ArcadeDB does anyway.
_OURS = "MATCH (n:<label> {org_id: $org}) WHERE n.id >= '' "
_COUNT_NODES = _OURS + "RETURN count(n) AS count"
_COUNT_EDGES = _OURS + "MATCH (n)-[r]->() RETURN type(r) AS type, count(r) AS count"
_CLEAR = _OURS + "WITH n LIMIT $limit DETACH DELETE n RETURN count(*) AS count"

_End = tuple[str, str]
_Work = Callable[[AsyncManagedTransaction], Awaitable[Any]]


def classify(error: BaseException) -> Kind:
    code = getattr(error, "code", None) or ""
    # Deadlocks and the like are tried again by the driver first.
    if isinstance(error, exceptions.ConstraintError) or code.startswith(
        "Neo.TransientError.Transaction."
    ):
        return StoreConflict
    if isinstance(error, _UNAVAILABLE) or code in _UNAVAILABLE_CODES:
        return StoreUnavailable
    return StoreError


def describe(error: BaseException) -> str:
    """The code of a server's error: its message quotes values."""
    return str(getattr(error, "code", None) or error)


BOLT: Final = Translator("graph", DRIVER_ERRORS, classify, describe=describe)


class BoltGraph:
    """Graph over one driver with a bounded pool; connects at the first call."""

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self._url = url
        self._pool_size = pool_size
        self._database = urlsplit(url).path.strip("/") or None
        self._driver: AsyncDriver | None = None
        self._constrained: set[str] = set()

    async def upsert_nodes(self, org_id: UUID, nodes: Sequence[Node]) -> None:
        groups: defaultdict[str, dict[str, dict[str, Scalar]]] = defaultdict(dict)
        for node in nodes:
            groups[node.label].setdefault(node.id, {}).update(check_properties(node.properties))
        for label, by_id in groups.items():
            await self._constrain(_NODE_KEY, label)
            items = list(by_id.items())
            for start in range(0, len(items), _BATCH):
                await self._write(
                    NodeBatch(org_id, label, dict(items[start : start + _BATCH])).write
                )

    async def upsert_edges(self, org_id: UUID, edges: Sequence[Edge]) -> None:
        ends = {end for edge in edges for end in (edge.source, edge.target)}
        await self.upsert_nodes(org_id, [Node(*end) for end in ends])
        unique: defaultdict[tuple[str, _End, _End], dict[str, Scalar]] = defaultdict(dict)
        for edge in edges:
            key = (edge.type, edge.source, edge.target)
            unique[key].update(check_properties(edge.properties))
        groups: defaultdict[tuple[str, str, str], list[Edge]] = defaultdict(list)
        for (edge_type, source, target), properties in unique.items():
            edge = Edge(edge_type, source, target, properties)
            groups[edge_type, source[0], target[0]].append(edge)
        for kind, group in groups.items():
            await self._constrain(_EDGE_KEY, kind[0])
            for start in range(0, len(group), _BATCH):
                await self._write(EdgeBatch(org_id, kind, group[start : start + _BATCH]).write)

    async def delete_nodes(self, org_id: UUID, label: str, ids: Sequence[str]) -> None:
        query = cypher(_DELETE_NODES, label=label)
        for start in range(0, len(ids), _DELETE_BATCH):
            some = list(ids[start : start + _DELETE_BATCH])
            await self._write_query(query, org=str(org_id), ids=some)

    async def delete_edges(
        self,
        org_id: UUID,
        edge_type: str,
        ends: Sequence[tuple[tuple[str, str], tuple[str, str]]],
    ) -> None:
        groups: defaultdict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        for source, target in ends:
            groups[source[0], target[0]].append({"a": source[1], "b": target[1]})
        for (source_label, target_label), rows in groups.items():
            query = cypher(_DELETE_EDGES, type=edge_type, source=source_label, target=target_label)
            for start in range(0, len(rows), _DELETE_BATCH):
                some = rows[start : start + _DELETE_BATCH]
                await self._write_query(query, org=str(org_id), rows=some)

    async def node(self, org_id: UUID, label: str, node_id: str) -> Node | None:
        rows = await self._read(cypher(_NODE, label=label), org=str(org_id), id=node_id)
        return _node(label, rows[0]["properties"]) if rows else None

    async def neighbours(
        self,
        org_id: UUID,
        label: str,
        node_id: str,
        *,
        edge_type: str | None = None,
        limit: int = 100,
    ) -> list[tuple[Edge, Node]]:
        if edge_type is None:
            query = cypher(_NEIGHBOURS, label=label)
        else:
            query = cypher(_NEIGHBOURS_BY, label=label, type=edge_type)
        rows = await self._read(query, org=str(org_id), id=node_id, limit=limit)
        return [_neighbour((label, node_id), row) for row in rows]

    async def shortest_path(
        self, org_id: UUID, source: tuple[str, str], target: tuple[str, str], *, max_hops: int = 6
    ) -> list[tuple[str, str]] | None:
        if source == target:  # Cypher's shortestPath refuses equal ends
            return [source] if await self.node(org_id, *source) else None
        hops = max(1, min(max_hops, _MAX_HOPS))
        query = cypher(_PATHS[hops], source=source[0], target=target[0])
        ends = {"org": str(org_id), "from": source[1], "to": target[1]}
        rows = await self._read(query, _SLOW_READ_SECONDS, **ends)
        return [(label, node_id) for label, node_id in rows[0]["path"]] if rows else None

    async def counts(self, org_id: UUID) -> tuple[dict[str, int], dict[str, int]]:
        nodes: dict[str, int] = {}
        edges: defaultdict[str, int] = defaultdict(int)
        for label in await self._labels():
            count = cypher(_COUNT_NODES, label=label)
            (row,) = await self._read(count, _SLOW_READ_SECONDS, org=str(org_id))
            if not row["count"]:
                continue
            nodes[label] = row["count"]
            count = cypher(_COUNT_EDGES, label=label)
            for row in await self._read(count, _SLOW_READ_SECONDS, org=str(org_id)):
                edges[row["type"]] += row["count"]
        return nodes, dict(edges)

    async def clear(self, org_id: UUID) -> None:
        for label in await self._labels():
            query = cypher(_CLEAR, label=label)
            count = _DELETE_BATCH
            while count == _DELETE_BATCH:
                rows = await self._write_query(query, org=str(org_id), limit=_DELETE_BATCH)
                count = rows[0]["count"] if rows else 0

    async def ping(self) -> None:
        await self._read("RETURN 1 AS one")

    async def close(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            with suppress(*DRIVER_ERRORS, OSError):
                await driver.close()

    # -- transactions ------------------------------------------------------------------------

    async def _labels(self) -> list[str]:
        return [row["label"] for row in await self._read(_LABELS) if is_name(row["label"])]

    async def _constrain(self, template: str, name: str) -> None:
        """Make a label's or type's uniqueness, and with it its index, once per process."""
        if name in self._constrained:
            return
        kind = "edge" if template is _EDGE_KEY else "node"
        query = cypher(template, name=name, key=f"looma_{kind}_{name}"[:63])
        async with self._session(_WRITE_SECONDS) as session:
            try:
                await (await session.run(query)).consume()
            except exceptions.ClientError as error:
                # IF NOT EXISTS loses the race of two processes that both find nothing.
                if not any(known in (error.code or "") for known in _ALREADY_THERE):
                    raise
        self._constrained.add(name)

    async def _write(self, work: _Work) -> Any:
        """Run in a write transaction, again after a conflict: it then finds what the other made."""
        for attempt in range(1, _CONFLICT_TRIES):
            try:
                async with self._session(_WRITE_SECONDS) as session:
                    return await session.execute_write(work)
            except StoreConflict:
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter
        async with self._session(_WRITE_SECONDS) as session:
            return await session.execute_write(work)

    async def _write_query(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await self._write(lambda tx: run(tx, query, parameters))
        return rows

    async def _read(
        self, query: str, seconds: float = _READ_SECONDS, /, **parameters: Any
    ) -> list[dict[str, Any]]:
        async with self._session(seconds) as session:
            return await session.execute_read(run, query, parameters)

    @asynccontextmanager
    async def _session(self, seconds: float) -> AsyncIterator[AsyncSession]:
        if self._driver is None:
            self._driver = _driver(self._url, self._pool_size)
        with BOLT:
            async with asyncio.timeout(seconds), self._driver.session(database=self._database) as s:
                yield s


def _driver(url: str, pool_size: int) -> AsyncDriver:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    user = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return AsyncGraphDatabase.driver(
        f"{parts.scheme}://{host}:{parts.port or 7687}",
        auth=user,
        max_connection_pool_size=pool_size,
        connection_timeout=2.0,
        connection_acquisition_timeout=2.2,
        # A lost connection or a deadlock is tried again within these; a server that is down isn't
        # waited for.
        max_transaction_retry_time=1.0,
        initial_retry_delay=0.05,
        liveness_check_timeout=5.0,
        # A label that no node has yet is worth a warning to Neo4j, not to us.
        notifications_min_severity=NotificationMinimumSeverity.OFF,
        telemetry_disabled=True,
    )


def _node(label: str, properties: Mapping[str, Any]) -> Node:
    return Node(label, properties["id"], own_properties(properties))


def _neighbour(here: tuple[str, str], row: Mapping[str, Any]) -> tuple[Edge, Node]:
    node = _node(row["label"], row["node"])
    there = (node.label, node.id)
    source, target = (here, there) if row["outgoing"] else (there, here)
    return Edge(row["type"], source, target, own_properties(row["edge"])), node
