"""The relay: at least once, in order per key, patient with stores, short with poison."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from shared.data_access.outbox.relay import ATTEMPTS, OutboxEvent, OutboxRelay
from shared.data_access.outbox.topics import TOPICS
from shared.data_access.relational.postgres import Postgres
from shared.errors import NotFound, StoreUnavailable

TOLD = {**TOPICS, "portraits": ("vectors",)}  # one listener, whoever else there is by now


class Ledger:
    """A projection that keeps what was applied, and can be told to fail."""

    def __init__(self, name: str = "vectors") -> None:
        self.name = name
        self.applied: list[OutboxEvent] = []
        self.batches: list[int] = []
        self.down = False
        self.poison: Callable[[OutboxEvent], bool] = lambda _event: False
        self.delay = 0.0
        self.busy: set[tuple[UUID, str]] = set()
        self.refused = 0
        self.gate = asyncio.Event()
        self.rebuilt: list[UUID] = []

    async def apply(self, org_id: UUID, events: Sequence[OutboxEvent]) -> None:
        keys = {(org_id, event.key) for event in events}
        assert not keys & self.busy, "two relays at the same key"
        self.busy |= keys
        try:
            await asyncio.sleep(self.delay)
            if self.down:
                raise StoreUnavailable("down")
            for event in events:
                if self.poison(event):
                    self.refused += 1
                    raise ValueError("poison")
            self.applied += events
            self.batches.append(len(events))
        finally:
            self.busy -= keys

    async def rebuild(self, org_id: UUID, progress: Callable[[int, int], None]) -> int:
        await self.gate.wait()
        self.rebuilt.append(org_id)
        progress(1, 1)
        return 1

    def of(self, key: str) -> list[int]:
        return [event.payload["n"] for event in self.applied if event.key == key]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Postgres]:
    postgres = Postgres(database_url, pool_size=8, topics=TOLD)
    yield postgres
    await postgres.close()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def relay_of(db: Postgres, *projections: Ledger, **options) -> OutboxRelay:
    return OutboxRelay(db, projections, poll=0.01, pause=0.01, **options)


async def emit(db: Postgres, org_id: UUID, *events: tuple[str, int]) -> None:
    async with db.tenant(org_id) as tx:
        await tx.emit_many(org_id, "portraits", [(key, {"n": n}) for key, n in events])


async def waiting(db: Postgres) -> int:
    async with db.system() as tx:
        return await tx.fetchval("SELECT count(*) FROM outbox")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(*relays: OutboxRelay) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(relay.run()) for relay in relays]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_events_reach_their_projection_and_leave_the_outbox(db, ledger):
    org = uuid4()
    await emit(db, org, ("a", 1), ("b", 2), ("a", 3))
    relay = relay_of(db, ledger)
    assert await relay.drain("vectors") == 3
    assert [(e.org_id, e.topic, e.key, e.payload) for e in ledger.applied] == [
        (org, "portraits", "a", {"n": 1}),
        (org, "portraits", "b", {"n": 2}),
        (org, "portraits", "a", {"n": 3}),
    ]
    assert await waiting(db) == 0
    assert await relay.drain("vectors") == 0


async def test_a_rolled_back_fact_is_never_announced(db, ledger):
    org = uuid4()

    async def fail_midway() -> None:
        async with db.tenant(org) as tx:
            await tx.emit(org, "portraits", "a", {"n": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_midway()
    assert await relay_of(db, ledger).drain("vectors") == 0


async def test_projections_of_one_topic_are_fed_apart(db):
    org = uuid4()
    search, graph = Ledger("search"), Ledger("graph")
    async with db.tenant(org) as tx:
        await tx.emit(org, "calls", "a", {"n": 1})
    graph.down = True
    relay = relay_of(db, search, graph)
    async with running(relay):
        await until(lambda: search.of("a") == [1])
        assert graph.applied == []
        graph.down = False
        await until(lambda: graph.of("a") == [1])


async def test_batches_are_of_one_organisation(db, ledger):
    orgs = [uuid4() for _ in range(3)]
    for org in orgs:
        await emit(db, org, ("a", 1), ("b", 2))
    assert await relay_of(db, ledger).drain("vectors") == 6
    assert ledger.batches == [2, 2, 2]


async def test_a_store_that_is_down_is_waited_for_without_counting(db, ledger):
    await emit(db, uuid4(), ("a", 1))
    ledger.down = True
    relay = relay_of(db, ledger)
    async with running(relay):
        await asyncio.sleep(0.5)  # far more attempts than poison gets
        ledger.down = False
        await until(lambda: ledger.of("a") == [1])
    assert ledger.applied[0].attempts == 0
    assert (await relay.depth())["vectors"].dead == 0


async def test_poison_dies_and_the_later_events_of_its_key_go_on(db, ledger):
    org = uuid4()
    await emit(db, org, ("a", 1), ("a", 2), ("b", 3), ("a", 4))
    ledger.poison = lambda event: event.payload["n"] == 2
    relay = relay_of(db, ledger)
    async with running(relay):
        await until(lambda: ledger.of("a") == [1, 4])
    assert ledger.of("b") == [3]
    (letter,) = await relay.dead_letters()
    assert (letter.org_id, letter.key, letter.payload) == (org, "a", {"n": 2})
    assert letter.attempts == ATTEMPTS
    assert letter.error == "ValueError: poison"
    depth = (await relay.depth())["vectors"]
    assert (depth.waiting, depth.dead) == (0, 1)


async def test_neighbours_of_poison_do_not_wait_for_its_end(db, ledger):
    org = uuid4()
    await emit(db, org, *[(f"k{n}", n) for n in range(50)])
    ledger.poison = lambda event: event.payload["n"] == 25
    relay = relay_of(db, ledger)
    await relay.drain("vectors")
    assert sorted(e.payload["n"] for e in ledger.applied) == [n for n in range(50) if n != 25]
    assert await waiting(db) == 1


async def test_a_dead_letter_can_be_replayed(db, ledger):
    org = uuid4()
    await emit(db, org, ("a", 1))
    ledger.poison = lambda _event: True
    relay = relay_of(db, ledger)
    async with running(relay):
        await until(lambda: ledger.refused == ATTEMPTS)
        while not (letters := await relay.dead_letters(org_id=org)):
            pass  # the last refusal is being written down
        ledger.poison = lambda _event: False
        assert await relay.replay([letters[0].id], org_id=uuid4()) == 0
        assert await relay.replay([letters[0].id, 10**9]) == 1
        await until(lambda: ledger.of("a") == [1])
    assert ledger.applied[0].attempts == 0
    assert await relay.dead_letters() == []


async def test_dead_letters_are_paged_and_filtered(db, ledger):
    mine, other = uuid4(), uuid4()
    async with db.system() as tx:
        await tx.executemany(
            "INSERT INTO outbox_dead_letter (id, org_id, projection, topic, key, payload, attempts, error, created_at) "
            "VALUES ($1, $2, $3, 't', 'k', '{}', 5, 'e', now())",
            [(n, mine if n % 2 else other, "search" if n < 5 else "graph") for n in range(10)],
        )
    relay = relay_of(db, ledger)
    assert [letter.id for letter in await relay.dead_letters(limit=3)] == [1, 2, 3]
    assert [letter.id for letter in await relay.dead_letters(after=3, limit=3)] == [4, 5, 6]
    assert [letter.id for letter in await relay.dead_letters(org_id=mine)] == [1, 3, 5, 7, 9]
    assert [letter.id for letter in await relay.dead_letters(projection="graph")] == [5, 6, 7, 8, 9]


async def test_several_relays_share_the_work_in_order(db, ledger):
    orgs = [uuid4() for _ in range(3)]
    expected: dict[tuple[UUID, str], list[int]] = defaultdict(list)
    ledger.delay = 0.001
    relays = [relay_of(db, ledger, batch=7) for _ in range(3)]
    async with running(*relays):
        for n in range(60):
            for org in orgs:
                await emit(db, org, (f"k{n % 5}", n), (f"k{n % 7}", 1000 + n))
                expected[org, f"k{n % 5}"].append(n)
                expected[org, f"k{n % 7}"].append(1000 + n)
        await until(lambda: len(ledger.applied) == 360)
    got: dict[tuple[UUID, str], list[int]] = defaultdict(list)
    for event in ledger.applied:
        got[event.org_id, event.key].append(event.payload["n"])
    assert got == expected


async def test_what_a_cancelled_relay_had_claimed_is_applied_by_the_next(db, ledger):
    await emit(db, uuid4(), ("a", 1), ("b", 2))
    ledger.delay = 30
    async with running(relay_of(db, ledger)):
        await until(lambda: bool(ledger.busy))
    ledger.delay = 0
    assert await relay_of(db, ledger).drain("vectors") == 2


async def test_a_database_that_goes_away_is_waited_for(database_url, ledger):
    from tests.contract.proxy import proxied

    org = uuid4()
    async with proxied(database_url) as (through, proxy):
        db, direct = Postgres(through, topics=TOLD), Postgres(database_url, topics=TOLD)
        try:
            async with running(relay_of(db, ledger, measure_every=0.01)):
                await emit(direct, org, ("a", 1))
                # Committed, not only applied: what a cut leaves uncommitted comes again.
                while await waiting(direct):  # noqa: ASYNC110 - what is waited for tells nobody
                    await asyncio.sleep(0.01)
                await proxy.cut()
                await emit(direct, org, ("a", 2))
                await asyncio.sleep(0.2)
                await proxy.start()
                await until(lambda: ledger.of("a") == [1, 2])
        finally:
            await db.close()
            await direct.close()


async def test_a_rebuild_keeps_relays_off_its_organisation(db, ledger):
    org, other = uuid4(), uuid4()
    await emit(db, org, ("a", 1))
    await emit(db, other, ("a", 2))
    relay = relay_of(db, ledger)
    task = asyncio.create_task(relay.rebuild("vectors", org, lambda _done, _total: None))
    await asyncio.sleep(0.1)
    assert await relay.drain("vectors") == 1
    assert [event.org_id for event in ledger.applied] == [other]
    ledger.gate.set()
    assert await task == 1
    assert await relay.drain("vectors") == 1


async def test_a_projection_that_is_not_here_is_named(db, ledger):
    with pytest.raises(NotFound, match=r"'graph'.*vectors"):
        await relay_of(db, ledger).drain("graph")


async def test_metrics_show_depth_lag_and_dead_letters(db, ledger):
    registry = CollectorRegistry()
    await emit(db, uuid4(), ("a", 1), ("b", 2))
    ledger.down = True
    relay = relay_of(db, ledger, registry=registry, measure_every=0.01)

    def value(name: str, projection: str) -> float | None:
        return registry.get_sample_value(name, {"projection": projection})

    async with running(relay):
        await until(lambda: value("outbox_depth", "vectors") == 2)
        assert value("outbox_dead_letters", "vectors") == 0
        await until(lambda: (value("outbox_lag_seconds", "vectors") or 0) > 0)
        assert value("outbox_depth", "search") == 0
        ledger.down = False
        await until(lambda: value("outbox_depth", "vectors") == 0)
    assert value("outbox_lag_seconds", "vectors") == 0


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    events=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 99)), max_size=40),
    poison=st.sets(st.integers(0, 99), max_size=20),
    batch=st.integers(1, 10),
)
async def test_law_every_event_is_applied_in_order_or_dead(db, events, poison, batch):
    org, ledger = uuid4(), Ledger()
    ledger.poison = lambda event: event.payload["n"] in poison
    await emit(db, org, *events)
    relay = OutboxRelay(db, [ledger], batch=batch, pause=0)
    while await relay.drain("vectors"):
        pass
    dead = await relay.dead_letters(org_id=org, limit=1000)
    assert [(letter.key, letter.payload["n"]) for letter in dead] == [
        event for event in events if event[1] in poison
    ]
    for key in "abcd":
        assert ledger.of(key) == [n for k, n in events if k == key and n not in poison]
