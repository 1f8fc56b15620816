"""What every graph promises, on the embedded ArcadeDB and on Neo4j if there is one."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from shared.data_access.graph.bolt import BoltGraph
from shared.data_access.graph.bolt_sessions import BoltSessions
from shared.data_access.ports import Edge, Node
from shared.errors import InvalidInput, StoreUnavailable
from tests.contract.graph_writer import LABELS
from tests.contract.proxy import proxied
from tests.contract.texts import NASTY


@pytest.fixture(params=["embedded", "neo4j"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "embedded":
        return request.getfixturevalue("graph_url")
    if "TEST_NEO4J_URL" not in os.environ:
        pytest.skip("TEST_NEO4J_URL is not set: bolt://user:password@host:7687")
    return os.environ["TEST_NEO4J_URL"]


@pytest.fixture
async def graph(url: str) -> AsyncIterator[BoltGraph]:
    graph = BoltGraph(url)
    yield graph
    await graph.close()


@pytest.fixture
async def org(graph: BoltGraph) -> AsyncIterator[UUID]:
    org_id = uuid4()
    yield org_id
    await graph.clear(org_id)


def chain(length: int) -> list[Edge]:
    return [Edge("NEXT", ("Step", f"s{n}"), ("Step", f"s{n + 1}")) for n in range(length)]


async def test_nodes_come_back_as_they_went_in(graph, org):
    properties = {"name": "王小明", "age": 42, "score": 0.25, "active": True, "big": 2**62}
    await graph.upsert_nodes(org, [Node("Person", "p1", properties), Node("Person", "p2")])
    assert await graph.node(org, "Person", "p1") == Node("Person", "p1", properties)
    assert await graph.node(org, "Person", "p2") == Node("Person", "p2")
    found = await graph.node(org, "Person", "p1")
    assert [type(found.properties[name]) for name in properties] == [str, int, float, bool, int]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
async def test_any_text_is_an_id_and_a_value(graph, org, text):
    edge = Edge("KNOWS", ("Person", text), ("Person", "other"), {"why": text})
    await graph.upsert_nodes(org, [Node("Person", text, {"name": text})])
    await graph.upsert_edges(org, [edge])
    assert await graph.node(org, "Person", text) == Node("Person", text, {"name": text})
    assert await graph.neighbours(org, "Person", text) == [(edge, Node("Person", "other"))]
    assert await graph.shortest_path(org, ("Person", "other"), ("Person", text)) == [
        ("Person", "other"),
        ("Person", text),
    ]
    await graph.delete_nodes(org, "Person", [text])
    assert await graph.node(org, "Person", text) is None
    assert await graph.counts(org) == ({"Person": 1}, {})


async def test_unknown_things_are_nothing(graph, org):
    assert await graph.node(org, "Person", "nobody") is None
    assert await graph.node(org, "NeverSeenLabel", "nobody") is None
    assert await graph.neighbours(org, "Person", "nobody") == []
    assert await graph.shortest_path(org, ("Person", "a"), ("Person", "b")) is None
    assert await graph.shortest_path(org, ("Person", "a"), ("Person", "a")) is None
    await graph.delete_nodes(org, "Person", ["nobody"])
    await graph.delete_nodes(org, "Person", [])
    await graph.delete_edges(org, "KNOWS", [(("Person", "a"), ("Person", "b"))])
    await graph.upsert_nodes(org, [])
    await graph.upsert_edges(org, [])
    assert await graph.counts(org) == ({}, {})


async def test_an_upsert_twice_is_an_upsert(graph, org):
    nodes = [Node("Person", "p1", {"n": 1}), Node("Place", "p1", {"n": 2})]
    edges = [Edge("AT", ("Person", "p1"), ("Place", "p1"), {"since": "2024"})]
    for _ in range(2):
        await graph.upsert_nodes(org, nodes)
        await graph.upsert_edges(org, edges)
    assert await graph.counts(org) == ({"Person": 1, "Place": 1}, {"AT": 1})


async def test_an_upsert_changes_and_adds_properties_and_leaves_the_others(graph, org):
    await graph.upsert_nodes(org, [Node("Person", "p1", {"a": 1, "b": 1, "c": True})])
    await graph.upsert_nodes(org, [Node("Person", "p1", {"b": "two", "d": 4, "c": 1})])
    await graph.upsert_nodes(org, [Node("Person", "p1")])
    found = await graph.node(org, "Person", "p1")
    assert found.properties == {"a": 1, "b": "two", "c": 1, "d": 4}
    assert type(found.properties["c"]) is int
    ends = (("Person", "p1"), ("Person", "p2"))
    await graph.upsert_edges(org, [Edge("KNOWS", *ends, {"a": 1})])
    await graph.upsert_edges(org, [Edge("KNOWS", *ends, {"a": 2, "b": 3}), Edge("KNOWS", *ends)])
    ((edge, _),) = await graph.neighbours(org, "Person", "p1")
    assert edge.properties == {"a": 2, "b": 3}


async def test_edges_make_their_ends(graph, org):
    await graph.upsert_edges(org, [Edge("KNOWS", ("Person", "a"), ("Person", "b"))])
    assert await graph.node(org, "Person", "b") == Node("Person", "b")
    await graph.upsert_nodes(org, [Node("Person", "b", {"n": 1})])
    assert await graph.counts(org) == ({"Person": 2}, {"KNOWS": 1})


async def test_edges_have_a_direction_and_may_go_both_ways(graph, org):
    there = Edge("KNOWS", ("Person", "a"), ("Person", "b"), {"n": 1})
    back = Edge("KNOWS", ("Person", "b"), ("Person", "a"), {"n": 2})
    own = Edge("LIKES", ("Person", "a"), ("Person", "a"))
    await graph.upsert_edges(org, [there, back])
    neighbours = await graph.neighbours(org, "Person", "a", edge_type="KNOWS")
    assert sorted((edge.properties["n"], edge in (there, back)) for edge, _ in neighbours) == [
        (1, True),
        (2, True),
    ]
    assert {node.id for _, node in neighbours} == {"b"}
    await graph.upsert_edges(org, [own])
    assert await graph.counts(org) == ({"Person": 2}, {"KNOWS": 2, "LIKES": 1})


async def test_neighbours_are_filtered_ordered_and_limited(graph, org):
    edges = [Edge("KNOWS", ("Person", "hub"), ("Person", f"p{n:02}")) for n in range(20)]
    edges += [Edge("AT", ("Person", "hub"), ("Place", "home"))]
    await graph.upsert_edges(org, edges)
    first = await graph.neighbours(org, "Person", "hub", limit=3)
    assert [(edge.type, node.id) for edge, node in first] == [
        ("AT", "home"),
        ("KNOWS", "p00"),
        ("KNOWS", "p01"),
    ]
    knows = await graph.neighbours(org, "Person", "hub", edge_type="KNOWS")
    assert [node.id for _, node in knows] == [f"p{n:02}" for n in range(20)]
    assert await graph.neighbours(org, "Person", "hub", edge_type="NEVER") == []


async def test_shortest_paths(graph, org):
    shortcut = Edge("JUMP", ("Step", "s6"), ("Step", "s1"))
    await graph.upsert_edges(org, [*chain(8), shortcut])
    path = await graph.shortest_path(org, ("Step", "s0"), ("Step", "s7"))
    assert path == [("Step", "s0"), ("Step", "s1"), ("Step", "s6"), ("Step", "s7")]
    assert await graph.shortest_path(org, ("Step", "s3"), ("Step", "s3")) == [("Step", "s3")]
    long = Edge("NEXT", ("Step", "far"), ("Step", "s8"))
    await graph.upsert_edges(org, [long])
    ends = (("Step", "s0"), ("Step", "far"))
    assert await graph.shortest_path(org, *ends, max_hops=4) is None
    assert len(await graph.shortest_path(org, *ends, max_hops=5)) == 6


async def test_deletion(graph, org):
    await graph.upsert_edges(org, chain(5))
    step = "Step"
    await graph.delete_edges(
        org, "NEXT", [((step, "s0"), (step, "s1")), ((step, "s1"), (step, "s0"))]
    )
    assert await graph.counts(org) == ({"Step": 6}, {"NEXT": 4})
    await graph.delete_nodes(org, "Step", ["s2", "unknown"])
    assert await graph.counts(org) == ({"Step": 5}, {"NEXT": 2})
    await graph.clear(org)
    assert await graph.counts(org) == ({}, {})


async def test_another_organisation_sees_and_changes_nothing(graph, org):
    other = uuid4()
    await graph.upsert_nodes(org, [Node("Person", "p1", {"secret": "x"})])
    await graph.upsert_edges(org, [Edge("KNOWS", ("Person", "p1"), ("Person", "p2"))])
    assert await graph.node(other, "Person", "p1") is None
    assert await graph.neighbours(other, "Person", "p1") == []
    assert await graph.shortest_path(other, ("Person", "p1"), ("Person", "p2")) is None
    assert await graph.counts(other) == ({}, {})
    await graph.delete_nodes(other, "Person", ["p1"])
    await graph.delete_edges(other, "KNOWS", [(("Person", "p1"), ("Person", "p2"))])
    await graph.upsert_nodes(other, [Node("Person", "p1", {"mine": 1})])
    await graph.clear(other)
    assert await graph.node(org, "Person", "p1") == Node("Person", "p1", {"secret": "x"})
    assert await graph.counts(org) == ({"Person": 2}, {"KNOWS": 1})


@pytest.mark.parametrize("name", ["", "1a", "a b", "a`", "a-b", "`) DELETE n //", "人", "a" * 64])
async def test_names_that_are_none_are_refused(graph, org, name):
    for call in (
        graph.upsert_nodes(org, [Node(name, "x")]),
        graph.upsert_nodes(org, [Node("Person", "x", {name: 1})]),
        graph.upsert_edges(org, [Edge(name, ("Person", "a"), ("Person", "b"))]),
        graph.upsert_edges(org, [Edge("KNOWS", ("Person", "a"), (name, "b"))]),
        graph.delete_nodes(org, name, ["x"]),
        graph.delete_edges(org, name, [(("Person", "a"), ("Person", "b"))]),
        graph.node(org, name, "x"),
        graph.neighbours(org, "Person", "x", edge_type=name),
        graph.shortest_path(org, (name, "a"), ("Person", "b")),
    ):
        with pytest.raises(InvalidInput):
            await call


@pytest.mark.parametrize(
    "properties", [{"org_id": "x"}, {"id": "x"}, {"edge_key": 1}, {"n": 2**63}]
)
async def test_properties_that_cannot_be_are_refused(graph, org, properties):
    with pytest.raises(InvalidInput):
        await graph.upsert_nodes(org, [Node("Person", "x", properties)])


async def test_the_longest_names_work(graph, org):
    label, kind = "L" + "a" * 62, "T" + "b" * 62
    await graph.upsert_edges(org, [Edge(kind, (label, "a"), (label, "b"))])
    assert await graph.counts(org) == ({label: 2}, {kind: 1})


async def test_names_that_are_words_of_cypher_work(graph, org):
    await graph.upsert_edges(org, [Edge("DELETE", ("Match", "a"), ("Return", "b"), {"set": 1})])
    ((edge, node),) = await graph.neighbours(org, "Match", "a")
    assert (edge.type, edge.properties, node.label) == ("DELETE", {"set": 1}, "Return")


async def test_big_batches(graph, org):
    nodes = [Node("Person", f"p{n}", {"n": n}) for n in range(2500)]
    edges = [Edge("KNOWS", ("Person", "hub"), ("Person", f"p{n}"), {"n": n}) for n in range(2500)]
    await graph.upsert_nodes(org, nodes)
    await graph.upsert_edges(org, edges)
    assert await graph.counts(org) == ({"Person": 2501}, {"KNOWS": 2500})
    assert (await graph.node(org, "Person", "p2499")).properties == {"n": 2499}
    await graph.delete_nodes(org, "Person", [f"p{n}" for n in range(2499)])
    assert await graph.counts(org) == ({"Person": 2}, {"KNOWS": 1})


async def test_many_writers_of_the_same_things(url, org):
    graphs = [BoltGraph(url) for _ in range(3)]
    label = f"Race{uuid4().hex[:8]}"  # its constraint doesn't exist yet either
    edges = [Edge(f"{label}_E", (label, "hub"), (label, f"n{n % 5}"), {"n": n}) for n in range(10)]
    try:
        await asyncio.gather(*(graphs[n % 3].upsert_edges(org, edges) for n in range(6)))
        assert await graphs[0].counts(org) == ({label: 6}, {f"{label}_E": 5})
    finally:
        await asyncio.gather(*(graph.close() for graph in graphs))


async def test_processes_that_start_at_once_see_no_error(url, org):
    prefix = f"New{uuid4().hex[:8]}"
    command = [sys.executable, "-m", "tests.contract.graph_writer", url, str(org), prefix]
    writers = [
        await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        for _ in range(4)
    ]
    for writer in writers:
        assert await writer.stdout.readline() == b"ready\n", (await writer.communicate())[1]
    ends = await asyncio.gather(*(writer.communicate(b"") for writer in writers))
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0], [e[1][-2000:] for e in ends]
    graph = BoltGraph(url)
    try:
        nodes, edges = await graph.counts(org)
    finally:
        await graph.close()
    # A hub and five others of each label, and five edges of each type, made once.
    assert nodes == {f"{prefix}{n}": 6 for n in range(LABELS)}
    assert edges == {f"{prefix}E{n}": 5 for n in range(LABELS)}


async def test_long_names_that_begin_alike_are_each_unique(graph, url, org):
    labels = [f"L{uuid4().hex}" + "a" * 29 + end for end in "xy"]
    other = BoltGraph(url)
    try:
        await asyncio.gather(
            *(
                one.upsert_nodes(org, [Node(label, "n")])
                for one in (graph, other)
                for label in labels
            )
        )
    finally:
        await other.close()
    assert await graph.counts(org) == (dict.fromkeys(labels, 1), {})


async def test_down_at_the_start_and_back_later(url):
    async with proxied(url) as (through, proxy):
        await proxy.cut()
        graph = BoltGraph(through)
        try:
            for call in (graph.ping(), graph.upsert_nodes(uuid4(), [Node("Person", "x")])):
                started = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await call
                assert time.monotonic() - started < 3
            await proxy.start()
            await graph.ping()
        finally:
            await graph.close()


async def test_a_restart_is_not_noticed_between_calls(url):
    async with proxied(url) as (through, proxy):
        graph = BoltGraph(through)
        try:
            await asyncio.gather(*(graph.ping() for _ in range(5)))
            await proxy.cut()
            with pytest.raises(StoreUnavailable):
                await graph.ping()
            await proxy.start()
            await asyncio.gather(*(graph.ping() for _ in range(5)))
            await proxy.cut()
            await proxy.start()
            await asyncio.gather(*(graph.ping() for _ in range(5)))
        finally:
            await graph.close()


async def test_a_server_that_hangs_is_unavailable_soon(url):
    async with proxied(url) as (through, proxy):
        graph = BoltGraph(through)
        try:
            await graph.ping()
            proxy.freeze()
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await graph.node(uuid4(), "Person", "x")
            assert time.monotonic() - started < 3
            proxy.thaw()
            await graph.ping()
        finally:
            await graph.close()


async def test_cancellation_gives_the_connection_back(url, org):
    graph = BoltGraph(url, pool_size=1)
    try:
        for pause in (0, 0.001, 0.01):
            task = asyncio.create_task(graph.upsert_edges(org, chain(300)))
            await asyncio.sleep(pause)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await graph.ping()
        await graph.upsert_edges(org, chain(300))
        assert await graph.counts(org) == ({"Step": 301}, {"NEXT": 300})
    finally:
        await graph.close()


async def test_what_is_ended_at_any_step_leaves_no_connection(graph_url):
    for steps in range(25):
        sessions = BoltSessions(graph_url, 1)
        sessions.guard.suspect()
        for _ in range(steps):
            await asyncio.sleep(0)
        await sessions.close()
        call = asyncio.create_task(sessions.read("RETURN 1 AS one"))
        for _ in range(steps):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait((call,))
        await sessions.close()
    gc.collect()  # an unclosed socket warns when it is collected, which fails the test
