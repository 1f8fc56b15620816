"""The graph port over Bolt, for Neo4j 5 and ArcadeDB alike: one driver, one Cypher subset.

A node carries `org_id` and `id` beside its own properties, unique together within its label.
Every pattern names both or the organisation, and edges are only made between nodes of one
organisation, so that no query leaves it.

The URL is `bolt://user:password@host:port[/database]`, or `neo4j://…` for a cluster.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from shared.data_access.graph.bolt_sessions import BoltSessions
from shared.data_access.graph.cypher import (
    Scalar,
    check_properties,
    cypher,
    is_name,
    own_properties,
)
from shared.data_access.graph.upsert import EdgeBatch, NodeBatch
from shared.data_access.ports import Edge, Node

_SLOW_READ_SECONDS = 10.0
_BATCH = 1000
_DELETE_BATCH = 500
_MAX_HOPS = 15
_KEY_LENGTH: Final = 63

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


class BoltGraph:
    """Graph over one driver with a bounded pool; connects at the first call."""

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self._sessions = BoltSessions(url, pool_size)
        self.guard = self._sessions.guard
        self._constrained: set[str] = set()

    async def upsert_nodes(self, org_id: UUID, nodes: Sequence[Node]) -> None:
        groups: defaultdict[str, dict[str, dict[str, Scalar]]] = defaultdict(dict)
        for node in nodes:
            groups[node.label].setdefault(node.id, {}).update(check_properties(node.properties))
        for label, by_id in groups.items():
            await self._constrain(_NODE_KEY, label)
            items = list(by_id.items())
            for start in range(0, len(items), _BATCH):
                await self._sessions.write(
                    NodeBatch(org_id, label, dict(items[start : start + _BATCH])).write,
                    "upsert_nodes",
                    label,
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
                await self._sessions.write(
                    EdgeBatch(org_id, kind, group[start : start + _BATCH]).write,
                    "upsert_edges",
                    kind[0],
                )

    async def delete_nodes(self, org_id: UUID, label: str, ids: Sequence[str]) -> None:
        query = cypher(_DELETE_NODES, label=label)
        for start in range(0, len(ids), _DELETE_BATCH):
            some = list(ids[start : start + _DELETE_BATCH])
            await self._sessions.write_query(query, org=str(org_id), ids=some)

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
                await self._sessions.write_query(query, org=str(org_id), rows=some)

    async def node(self, org_id: UUID, label: str, node_id: str) -> Node | None:
        rows = await self._sessions.read(cypher(_NODE, label=label), org=str(org_id), id=node_id)
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
        rows = await self._sessions.read(query, org=str(org_id), id=node_id, limit=limit)
        return [_neighbour((label, node_id), row) for row in rows]

    async def shortest_path(
        self, org_id: UUID, source: tuple[str, str], target: tuple[str, str], *, max_hops: int = 6
    ) -> list[tuple[str, str]] | None:
        if source == target:  # Cypher's shortestPath refuses equal ends
            return [source] if await self.node(org_id, *source) else None
        hops = max(1, min(max_hops, _MAX_HOPS))
        query = cypher(_PATHS[hops], source=source[0], target=target[0])
        ends = {"org": str(org_id), "from": source[1], "to": target[1]}
        rows = await self._sessions.read(query, _SLOW_READ_SECONDS, **ends)
        return [(label, node_id) for label, node_id in rows[0]["path"]] if rows else None

    async def counts(self, org_id: UUID) -> tuple[dict[str, int], dict[str, int]]:
        nodes: dict[str, int] = {}
        edges: defaultdict[str, int] = defaultdict(int)
        for label in await self._labels():
            count = cypher(_COUNT_NODES, label=label)
            (row,) = await self._sessions.read(count, _SLOW_READ_SECONDS, org=str(org_id))
            if not row["count"]:
                continue
            nodes[label] = row["count"]
            count = cypher(_COUNT_EDGES, label=label)
            for row in await self._sessions.read(count, _SLOW_READ_SECONDS, org=str(org_id)):
                edges[row["type"]] += row["count"]
        return nodes, dict(edges)

    async def clear(self, org_id: UUID) -> None:
        for label in await self._labels():
            query = cypher(_CLEAR, label=label)
            count = _DELETE_BATCH
            while count == _DELETE_BATCH:
                rows = await self._sessions.write_query(query, org=str(org_id), limit=_DELETE_BATCH)
                count = rows[0]["count"] if rows else 0

    async def ping(self) -> None:
        await self._sessions.ping()

    async def close(self) -> None:
        await self._sessions.close()

    async def _labels(self) -> list[str]:
        return [row["label"] for row in await self._sessions.read(_LABELS) if is_name(row["label"])]

    async def _constrain(self, template: str, name: str) -> None:
        """Make a label's or type's uniqueness, and with it its index, once per process."""
        if name in self._constrained:
            return
        kind = "edge" if template is _EDGE_KEY else "node"
        query = cypher(template, name=name, key=_key(f"looma_{kind}_{name}"))
        await self._sessions.run_alone(query)
        self._constrained.add(name)


def _key(text: str) -> str:
    """A constraint's name: IF NOT EXISTS makes none where another has it, so no two are alike."""
    if len(text) <= _KEY_LENGTH:
        return text
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return f"{text[: _KEY_LENGTH - len(digest)]}{digest}"


def _node(label: str, properties: Mapping[str, Any]) -> Node:
    return Node(label, properties["id"], own_properties(properties))


def _neighbour(here: tuple[str, str], row: Mapping[str, Any]) -> tuple[Edge, Node]:
    node = _node(row["label"], row["node"])
    there = (node.label, node.id)
    source, target = (here, there) if row["outgoing"] else (there, here)
    return Edge(row["type"], source, target, own_properties(row["edge"])), node
