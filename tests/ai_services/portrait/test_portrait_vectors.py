"""Quarter snapshots in the vector store: kept up to date by events, and rebuilt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ai_services.portrait.computing.computation import compute
from ai_services.portrait.figures import Figures
from ai_services.portrait.projections import COLLECTION, PortraitVectors, vector_id
from ai_services.portrait.vector import MODEL_VERSION, vector
from shared.data_access.outbox.relay import OutboxRelay
from shared.data_access.ports import VectorItem, Vectors
from shared.data_access.relational.postgres import Postgres
from shared.data_access.vectors.pgvector import PgVectors
from tests.ai_services.portrait.calls import Call, Organisation, at

SPRING = at("2024-05-06 10:00")
SUMMER = at("2024-08-06 10:00")
CALLS = (
    Call("c1", "u1", SPRING, duration_ms=60_000, rounds=4, level_name="A"),
    Call("c2", "u2", SPRING, "busy"),
    Call("c3", "u1", SUMMER, duration_ms=30_000, rounds=2, level_name="F", hangup_by=2),
)
IDS = [vector_id(key, user) for key in ("2024-Q2", "2024-Q3") for user in ("u1", "u2")]


@pytest.fixture(scope="session")
async def vectors(db: Postgres) -> AsyncIterator[Vectors]:
    adapter = PgVectors(db)
    yield adapter
    await adapter.close()


@pytest.fixture
def relay(db: Postgres, vectors: Vectors) -> OutboxRelay:
    return OutboxRelay(db, [PortraitVectors(db, vectors)])


@pytest.fixture
async def computed(organisation: Organisation) -> Organisation:
    await organisation.write(*CALLS)
    await compute(organisation.db, organisation.org_id)
    return organisation


async def held(vectors: Vectors, organisation: Organisation) -> dict[str, VectorItem]:
    return await vectors.get(organisation.org_id, COLLECTION, MODEL_VERSION, IDS)


def same(one: dict[str, VectorItem], other: dict[str, VectorItem]) -> bool:
    return one.keys() == other.keys() and all(
        item.properties == other[key].properties
        and list(item.vector) == pytest.approx(list(other[key].vector), abs=1e-6)
        for key, item in one.items()
    )


async def drained(relay: OutboxRelay) -> None:
    while await relay.drain("vectors"):
        pass


async def test_every_quarter_snapshot_becomes_its_vector(
    computed: Organisation, vectors: Vectors, relay: OutboxRelay
) -> None:
    await drained(relay)
    found = await held(vectors, computed)
    assert sorted(found) == ["quarter:2024-Q2:u1", "quarter:2024-Q2:u2", "quarter:2024-Q3:u1"]
    busy = Figures(total_calls=1, fail_reason_dist={"busy": 1})
    item = found["quarter:2024-Q2:u2"]
    # The store may keep single precision.
    assert list(item.vector) == pytest.approx(vector(busy), abs=1e-6)
    assert item.properties == {"user_id": "u2", "period_type": "quarter", "period_key": "2024-Q2"}
    assert await vectors.count(computed.org_id, COLLECTION, MODEL_VERSION) == 3


async def test_vectors_follow_corrections_and_deletions(
    computed: Organisation, vectors: Vectors, relay: OutboxRelay
) -> None:
    await drained(relay)
    await computed.write(replace(CALLS[1], call_status="rejected"))
    await computed.delete("c1")
    await compute(computed.db, computed.org_id)
    await drained(relay)
    found = await held(vectors, computed)
    assert sorted(found) == ["quarter:2024-Q2:u2", "quarter:2024-Q3:u1"]
    rejected = Figures(total_calls=1, fail_reason_dist={"rejected": 1})
    assert list(found["quarter:2024-Q2:u2"].vector) == pytest.approx(vector(rejected), abs=1e-6)


async def test_an_event_that_comes_late_writes_what_is_true_now(
    computed: Organisation, vectors: Vectors, relay: OutboxRelay
) -> None:
    await computed.delete("c2")
    await compute(computed.db, computed.org_id)
    await computed.write(CALLS[1])
    await compute(computed.db, computed.org_id)
    await drained(relay)  # among others the event that u2 went away
    assert "quarter:2024-Q2:u2" in await held(vectors, computed)


async def test_a_rebuild_equals_what_the_events_made(
    computed: Organisation, vectors: Vectors, relay: OutboxRelay
) -> None:
    await drained(relay)
    before = await held(vectors, computed)
    stray = VectorItem("quarter:2024-Q2:stray", vector(Figures(total_calls=1)), {})
    await vectors.upsert(computed.org_id, COLLECTION, MODEL_VERSION, [stray])
    steps: list[tuple[int, int]] = []
    written = await relay.rebuild(
        "vectors", computed.org_id, lambda done, total: steps.append((done, total))
    )
    assert (written, steps[-1]) == (3, (3, 3))
    assert same(await held(vectors, computed), before)
    assert await vectors.count(computed.org_id, COLLECTION, MODEL_VERSION) == 3


async def test_accounts_that_behave_alike_are_near(
    organisation: Organisation, vectors: Vectors, relay: OutboxRelay
) -> None:
    def conduct(user: str, count: int, call: Call) -> list[Call]:
        return [replace(call, callid=f"{user}-{n}", user_id=user) for n in range(count)]

    eager = replace(CALLS[0], sentiment="positive", sentiment_score=0.9)
    await organisation.write(
        *conduct("eager", 3, eager),
        *conduct("busy-eager", 30, eager),
        *conduct("mute", 3, CALLS[1]),
    )
    await compute(organisation.db, organisation.org_id)
    await drained(relay)
    eager_id = vector_id("2024-Q2", "eager")
    known = await vectors.get(organisation.org_id, COLLECTION, MODEL_VERSION, [eager_id])
    hits = await vectors.search(
        organisation.org_id,
        COLLECTION,
        MODEL_VERSION,
        known[eager_id].vector,
        where={"period_key": "2024-Q2"},
    )
    assert [hit.properties["user_id"] for hit in hits] == ["eager", "busy-eager", "mute"]
    assert hits[1].similarity > 0.95 > 0.5 > hits[2].similarity
