"""The graph port over Bolt, for Neo4j 5 and ArcadeDB alike: one Cypher subset.

A node carries `org_id` and `id` beside its own properties, and the pair is unique per label.
Every pattern names both or the organisation, so that no query leaves its tenant. Labels and
edge types can't be parameters in Cypher: they are checked against a pattern before they
become part of a query; everything else is a parameter.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit
from uuid import UUID

import neo4j
from neo4j import AsyncDriver, AsyncGraphDatabase, AsyncManagedTransaction
from neo4j.exceptions import (
    AuthError,
    ClientError,
    ConstraintError,
    DriverError,
    Neo4jError,
    ServiceUnavailable,
    SessionExpired,
    TransientError,
)

from shared.data_access.errors import Kind, Translator
from shared.data_access.ports import Edge, Node
from shared.errors import StoreConflict, StoreError, StoreUnavailable

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
_RESERVED: Final = frozenset({"org_id", "id"})
_BATCH: Final = 1000
_DELETE_BATCH: Final = 500
_CONFLICT_TRIES: Final = 5
_ALREADY_THERE: Final = ("EquivalentSchemaRuleAlreadyExists", "ConstraintAlreadyExists")

DRIVER_ERRORS: tuple[type[BaseException], ...] = (Neo4jError, DriverError)


def classify(error: BaseException) -> Kind:
    if isinstance(error, ConstraintError):
        return StoreConflict
    # Our credentials refused is the operator's to repair; a transient error outlived its retries.
    if isinstance(error, ServiceUnavailable | SessionExpired | AuthError | TransientError):
        return StoreUnavailable
    if isinstance(error, Neo4jError):
        code = error.code or ""
        return StoreUnavailable if "Unavailable" in code or "TransientError" in code else StoreError
    # The driver's own errors are about connections, pools and time, save those about its use.
    return StoreError if "Configuration" in type(error).__name__ else StoreUnavailable


BOLT: Final = Translator("graph", DRIVER_ERRORS, classify)

_CONSTRAINT = """
CREATE CONSTRAINT {label}_identity IF NOT EXISTS
FOR (n:{label}) REQUIRE (n.org_id, n.id) IS UNIQUE
"""
# Writing properties costs ArcadeDB many times the look-up: rows without any skip it.
_MERGE_NODES = "UNWIND $rows AS row MERGE (n:{label} {{org_id: $org, id: row.id}})"
_MERGE_NODES_WITH = _MERGE_NODES + " SET n += row.properties"
_MERGE_EDGES = """
UNWIND $rows AS row
MERGE (a:{source} {{org_id: $org, id: row.source}})
MERGE (b:{target} {{org_id: $org, id: row.target}})
MERGE (a)-[r:{type}]->(b)
"""
_MERGE_EDGES_WITH = _MERGE_EDGES + "SET r += row.properties"
_DELETE_NODES = "MATCH (n:{label} {{org_id: $org}}) WHERE n.id IN $ids DETACH DELETE n"
_DELETE_EDGES = """
UNWIND $rows AS row
MATCH (a:{source} {{org_id: $org, id: row.source}})-[r:{type}]->
      (b:{target} {{org_id: $org, id: row.target}})
DELETE r
"""
_NODE = "MATCH (n:{label} {{org_id: $org, id: $id}}) RETURN properties(n) AS properties"
_NEIGHBOURS = """
MATCH (n:{label} {{org_id: $org, id: $id}})-[r{type}]-(m {{org_id: $org}})
RETURN type(r) AS type, properties(r) AS facts, labels(m)[0] AS label, m.id AS other,
       properties(m) AS properties, startNode(r).id AS first, labels(startNode(r))[0] AS first_label
ORDER BY type, other LIMIT $limit
"""
_SHORTEST_PATH = """
MATCH (a:{source} {{org_id: $org, id: $source}}), (b:{target} {{org_id: $org, id: $target}})
MATCH p = shortestPath((a)-[*..{hops}]-(b))
WHERE all(n IN nodes(p) WHERE n.org_id = $org)
RETURN [n IN nodes(p) | [labels(n)[0], n.id]] AS path
"""
_COUNT_NODES = "MATCH (n {org_id: $org}) RETURN labels(n)[0] AS name, count(*) AS number"
_COUNT_EDGES = "MATCH (n {org_id: $org})-[r]->() RETURN type(r) AS name, count(*) AS number"
_CLEAR = "MATCH (n {org_id: $org}) WITH n LIMIT $limit DETACH DELETE n RETURN count(*) AS number"


class BoltGraph:
    """Graph over one driver with a bounded pool; opens no connection before the first call.

    The URL carries user, password and, as its path, the database:
    `bolt://user:password@host:port/database`. An unreachable server is noticed within about
    `timeout` seconds.
    """

    def __init__(self, url: str, *, pool_size: int = 20, timeout: float = 2.0) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        auth = (unquote(parts.username or "neo4j"), unquote(parts.password or ""))
        self._database = parts.path.strip("/") or None
        self._driver: AsyncDriver = AsyncGraphDatabase.driver(
            urlunsplit((parts.scheme, host, "", "", "")),
            auth=auth if parts.username else None,
            max_connection_pool_size=pool_size,
            connection_timeout=timeout,
            connection_acquisition_timeout=timeout,
            max_transaction_retry_time=timeout,
            initial_retry_delay=0.1,
            liveness_check_timeout=30,
            # A label that no node has yet is worth a warning to Neo4j, not to us.
            notifications_min_severity=neo4j.NotificationMinimumSeverity.OFF,
            telemetry_disabled=True,
        )
        self._constrained: set[str] = set()

    async def upsert_nodes(self, org_id: UUID, nodes: Sequence[Node]) -> None:
        groups: defaultdict[tuple[str, bool], dict[str, Mapping[str, Any]]] = defaultdict(dict)
        for node in nodes:
            _check_properties(node.properties)
            groups[_name(node.label), bool(node.properties)][node.id] = node.properties
        for (label, has_properties), by_id in groups.items():
            await self._constrain(label)
            query = (_MERGE_NODES_WITH if has_properties else _MERGE_NODES).format(label=label)
            rows = [{"id": key, "properties": dict(facts)} for key, facts in by_id.items()]
            await self._write_rows(query, org_id, rows)

    async def upsert_edges(self, org_id: UUID, edges: Sequence[Edge]) -> None:
        groups: defaultdict[tuple[str, str, str, bool], list[dict[str, Any]]] = defaultdict(list)
        for edge in edges:
            _check_properties(edge.properties)
            key = (
                _name(edge.source[0]),
                _name(edge.type),
                _name(edge.target[0]),
                bool(edge.properties),
            )
            groups[key].append(
                _ends(edge.source, edge.target) | {"properties": dict(edge.properties)}
            )
        for (source, edge_type, target, has_properties), rows in groups.items():
            await self._constrain(source)
            await self._constrain(target)
            template = _MERGE_EDGES_WITH if has_properties else _MERGE_EDGES
            query = template.format(source=source, type=edge_type, target=target)
            await self._write_rows(query, org_id, rows)

    async def delete_nodes(self, org_id: UUID, label: str, ids: Sequence[str]) -> None:
        query = _DELETE_NODES.format(label=_name(label))
        for start in range(0, len(ids), _DELETE_BATCH):
            await self._write(query, org=str(org_id), ids=list(ids[start : start + _DELETE_BATCH]))

    async def delete_edges(
        self,
        org_id: UUID,
        edge_type: str,
        ends: Sequence[tuple[tuple[str, str], tuple[str, str]]],
    ) -> None:
        groups: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for source, target in ends:
            groups[_name(source[0]), _name(target[0])].append(_ends(source, target))
        for (source_label, target_label), rows in groups.items():
            query = _DELETE_EDGES.format(
                source=source_label, type=_name(edge_type), target=target_label
            )
            await self._write_rows(query, org_id, rows)

    async def node(self, org_id: UUID, label: str, node_id: str) -> Node | None:
        rows = await self._read(_NODE.format(label=_name(label)), org=str(org_id), id=node_id)
        return Node(label, node_id, _own(rows[0]["properties"])) if rows else None

    async def neighbours(
        self,
        org_id: UUID,
        label: str,
        node_id: str,
        *,
        edge_type: str | None = None,
        limit: int = 100,
    ) -> list[tuple[Edge, Node]]:
        kind = f":{_name(edge_type)}" if edge_type is not None else ""
        query = _NEIGHBOURS.format(label=_name(label), type=kind)
        rows = await self._read(query, org=str(org_id), id=node_id, limit=limit)
        return [_neighbour((label, node_id), row) for row in rows]

    async def shortest_path(
        self, org_id: UUID, source: tuple[str, str], target: tuple[str, str], *, max_hops: int = 6
    ) -> list[tuple[str, str]] | None:
        if source == target:  # Cypher's shortestPath refuses equal ends
            return [source] if await self.node(org_id, *source) is not None else None
        query = _SHORTEST_PATH.format(
            source=_name(source[0]), target=_name(target[0]), hops=int(max_hops)
        )
        rows = await self._read(query, org=str(org_id), source=source[1], target=target[1])
        return [(step[0], step[1]) for step in rows[0]["path"]] if rows else None

    async def counts(self, org_id: UUID) -> tuple[dict[str, int], dict[str, int]]:
        nodes = await self._read(_COUNT_NODES, org=str(org_id))
        edges = await self._read(_COUNT_EDGES, org=str(org_id))
        return (
            {row["name"]: row["number"] for row in nodes},
            {row["name"]: row["number"] for row in edges},
        )

    async def clear(self, org_id: UUID) -> None:
        while True:
            rows = await self._write(_CLEAR, org=str(org_id), limit=_DELETE_BATCH)
            if not rows or not rows[0]["number"]:
                return

    async def ping(self) -> None:
        await self._read("RETURN 1 AS one")

    async def close(self) -> None:
        await self._driver.close()

    # -- queries -----------------------------------------------------------------------------

    async def _constrain(self, label: str) -> None:
        """Make (org_id, id) unique, and with it found by index, once per label and process."""
        if label in self._constrained:
            return
        with BOLT:
            async with self._driver.session(database=self._database) as session:
                try:
                    await (await session.run(_CONSTRAINT.format(label=label))).consume()
                except ClientError as error:
                    # IF NOT EXISTS still loses the race of two processes that both find nothing.
                    if not any(known in (error.code or "") for known in _ALREADY_THERE):
                        raise
        self._constrained.add(label)

    async def _write_rows(self, query: str, org_id: UUID, rows: Sequence[dict[str, Any]]) -> None:
        for start in range(0, len(rows), _BATCH):
            await self._write(query, org=str(org_id), rows=list(rows[start : start + _BATCH]))

    async def _write(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run in a write transaction; two MERGEs of one new node at once are tried again.

        ArcadeDB checks uniqueness at the commit and fails the second; Neo4j lets it wait.
        """
        for attempt in range(1, _CONFLICT_TRIES + 1):
            try:
                with BOLT:
                    async with self._driver.session(database=self._database) as session:
                        return await session.execute_write(_run, query, parameters)
            except StoreConflict:
                if attempt == _CONFLICT_TRIES:
                    raise
                await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    async def _read(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with BOLT:
            async with self._driver.session(database=self._database) as session:
                return await session.execute_read(_run, query, parameters)


async def _run(
    tx: AsyncManagedTransaction, query: str, parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    result = await tx.run(query, parameters)
    return [record.data() async for record in result]


def _name(name: str) -> str:
    """A label or edge type that is safe in a query; ValueError otherwise."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name[:80]!r} is no label or edge type: letters, digits and _ only")
    return name


def _check_properties(properties: Mapping[str, Any]) -> None:
    taken = _RESERVED & properties.keys()
    if taken:
        raise ValueError(f"properties {sorted(taken)} are the node's identity; name them otherwise")


def _ends(source: tuple[str, str], target: tuple[str, str]) -> dict[str, Any]:
    return {"source": source[1], "target": target[1]}


def _own(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if name not in _RESERVED}


def _neighbour(node: tuple[str, str], row: Mapping[str, Any]) -> tuple[Edge, Node]:
    other = (row["label"], row["other"])
    outgoing = (row["first_label"], row["first"]) == node
    source, target = (node, other) if outgoing else (other, node)
    return Edge(row["type"], source, target, row["facts"]), Node(*other, _own(row["properties"]))
