"""Computations: which periods, their status, what is announced, who may run beside whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from ai_services.portrait.computing.computation import Computed, compute
from ai_services.portrait.metrics import METRICS
from ai_services.portrait.period import PERIOD_TYPES
from shared.data_access.relational.postgres import Postgres
from shared.errors import InvalidInput, NotFound, StoreUnavailable
from tests.ai_services.portrait.calls import (
    Call,
    Organisation,
    assert_law,
    at,
    new_organisation,
    opened,
)

FIRST = Call("c1", "u1", at("2024-12-04 09:30"), duration_ms=1500, rounds=3, level_name="A")
SECOND = Call("c2", "u2", at("2024-12-12 10:00"), "busy")
LATER = datetime(2025, 6, 1, tzinfo=UTC)


async def test_a_call_that_is_corrected_late_moves_both_weeks(unlogged: Organisation) -> None:
    await unlogged.write(FIRST, SECOND)
    await compute(unlogged.db, unlogged.org_id)
    moved = replace(FIRST, started_at=at("2024-12-12 09:30"))
    await unlogged.write(moved)
    await compute(unlogged.db, unlogged.org_id)
    await assert_law(unlogged, [moved, SECOND])
    stored = await unlogged.stored()
    assert ("week", "2024-W49", "u1") not in stored
    assert stored["week", "2024-W50", "u1"]["total_duration"] * 1000 == 1500


async def test_calls_of_another_organisation_never_count(unlogged: Organisation) -> None:
    other = await new_organisation(unlogged.db, logged=False)
    await unlogged.write(FIRST)
    await other.write(replace(FIRST, callid="theirs"), SECOND)
    await compute(unlogged.db, unlogged.org_id)
    await assert_law(unlogged, [FIRST])
    assert await other.stored() == {}


async def test_the_same_moment_counts_where_the_organisation_is(db: Postgres) -> None:
    new_year_in_shanghai = at("2025-01-01 00:30")
    for timezone, month in (("Asia/Shanghai", "2025-01"), ("America/New_York", "2024-12")):
        unlogged = await new_organisation(db, timezone, logged=False)
        await unlogged.write(Call("c1", "u1", new_year_in_shanghai))
        await compute(db, unlogged.org_id, ["month"])
        assert [key for _, key, _ in await unlogged.stored()] == [month]


async def test_only_what_was_asked_for_is_computed(unlogged: Organisation) -> None:
    await unlogged.write(FIRST, SECOND)
    (done,) = await compute(
        unlogged.db, unlogged.org_id, ["week"], date(2024, 12, 9), date(2024, 12, 9)
    )
    assert (done.periods, done.first, done.last) == (1, "2024-W50", "2024-W50")
    assert (done.snapshots, done.changed, done.removed) == (1, 1, 0)
    assert [*await unlogged.stored()] == [("week", "2024-W50", "u2")]


async def test_snapshots_outlive_a_computation_of_other_periods(unlogged: Organisation) -> None:
    await unlogged.write(FIRST, SECOND)
    await compute(unlogged.db, unlogged.org_id)
    await unlogged.delete("c1", "c2")
    await compute(unlogged.db, unlogged.org_id, ["week"], date(2024, 12, 9))
    keys = {(kind, key) for kind, key, _ in await unlogged.stored()}
    assert keys == {("week", "2024-W49"), ("month", "2024-12"), ("quarter", "2024-Q4")}
    await compute(unlogged.db, unlogged.org_id)
    assert await unlogged.stored() == {}
    assert await unlogged.sums() == {}


async def test_a_period_is_completed_when_it_was_computed_after_its_end(
    unlogged: Organisation,
) -> None:
    await unlogged.write(FIRST, SECOND)
    last_minute = datetime(2024, 12, 15, 15, 59, tzinfo=UTC)  # Sunday 23:59 in Shanghai
    await compute(unlogged.db, unlogged.org_id, ["week"], now=last_minute)
    assert await unlogged.statuses("week") == {"2024-W49": "completed", "2024-W50": "pending"}
    assert ("week", "2024-W50", "u2") in await unlogged.stored()
    monday = datetime(2024, 12, 15, 16, 0, tzinfo=UTC)
    await compute(unlogged.db, unlogged.org_id, ["week"], now=monday)
    assert await unlogged.statuses("week") == {
        "2024-W49": "completed",
        "2024-W50": "completed",
    }


async def test_periods_between_calls_are_registered_too(unlogged: Organisation) -> None:
    await unlogged.write(FIRST, replace(SECOND, started_at=at("2025-01-20 08:00")))
    await compute(unlogged.db, unlogged.org_id, now=LATER)
    assert await unlogged.statuses("week") == dict.fromkeys(
        ["2024-W49", "2024-W50", "2024-W51", "2024-W52", "2025-W01", "2025-W02", "2025-W03",
         "2025-W04"], "completed",
    )  # fmt: skip


async def test_each_period_that_changed_is_announced_once(unlogged: Organisation) -> None:
    await unlogged.write(FIRST, SECOND)
    await compute(unlogged.db, unlogged.org_id, ["week"])
    first = await unlogged.events()
    assert [key for key, _ in first] == ["2024-W49", "2024-W50"]
    await unlogged.delete("c1")
    await unlogged.write(replace(SECOND, call_status="failed"))
    await compute(unlogged.db, unlogged.org_id, ["week"])
    week, none = {"period_type": "week", "changed": None}, {"metrics": {}, "removed": ["u1"]}
    (_, over), (_, failed) = (await unlogged.events())[2:]
    assert over == week | none | {"period_key": "2024-W49", "period_end": "2024-12-08"}
    metrics = failed.pop("metrics")
    assert failed == week | {
        "period_key": "2024-W50", "period_end": "2024-12-15", "removed": [],
    }  # fmt: skip
    assert metrics.keys() == METRICS.keys()
    assert (metrics["total_calls"], metrics["connect_rate"]) == (1, 0.0)
    assert metrics["avg_duration"] is None
    await compute(unlogged.db, unlogged.org_id, ["week"])
    assert len(await unlogged.events()) == 4


async def test_what_did_not_change_keeps_its_time(unlogged: Organisation) -> None:
    await unlogged.write(FIRST, SECOND)
    noon, one = datetime(2025, 1, 1, 12, tzinfo=UTC), datetime(2025, 1, 1, 13, tzinfo=UTC)
    await compute(unlogged.db, unlogged.org_id, ["week"], now=noon)
    await unlogged.write(replace(SECOND, call_status="failed"))
    await compute(unlogged.db, unlogged.org_id, ["week"], now=one)
    stored = await unlogged.stored()
    assert stored["week", "2024-W49", "u1"]["computed_at"] == noon
    assert stored["week", "2024-W50", "u2"]["computed_at"] == one


async def test_progress_counts_periods(unlogged: Organisation) -> None:
    await unlogged.write(FIRST, replace(SECOND, started_at=at("2025-02-20 08:00")))
    seen: list[tuple[str, int, int]] = []
    await compute(unlogged.db, unlogged.org_id, progress=lambda *step: seen.append(step))
    assert seen == [
        ("week", 0, 12),
        ("week", 5, 12),
        ("week", 12, 12),
        ("month", 0, 3),
        ("month", 1, 3),
        ("month", 3, 3),
        ("quarter", 0, 2),
        ("quarter", 1, 2),
        ("quarter", 2, 2),
    ]


async def test_an_organisation_without_calls_has_nothing_to_compute(
    unlogged: Organisation,
) -> None:
    done = await compute(unlogged.db, unlogged.org_id)
    assert done == [Computed(period_type) for period_type in PERIOD_TYPES]


async def test_an_unknown_organisation_is_not_found(db: Postgres) -> None:
    with pytest.raises(NotFound):
        await compute(db, uuid4())


async def test_too_many_periods_at_once_are_refused(unlogged: Organisation) -> None:
    with pytest.raises(InvalidInput) as caught:
        await compute(unlogged.db, unlogged.org_id, ["week"], date(1800, 1, 1), date(2024, 1, 1))
    assert caught.value.details[0].field == "from"
    assert await unlogged.statuses("week") == {}


# Beside others, and when killed.


@asynccontextmanager
async def writes_held(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Whoever writes a snapshot inside the block waits for its end."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE user_portrait_snapshot IN EXCLUSIVE MODE")
            yield connection
    finally:
        await connection.close()


async def waiting_writer(connection: asyncpg.Connection) -> int:
    """The process of the computation that waits, once there is one."""
    return (await waiting_for(connection, "relation"))[0]


async def waiting_for(connection: asyncpg.Connection, lock: str, processes: int = 1) -> list[int]:
    """The processes that wait for a lock of this type, once there are so many."""
    async with asyncio.timeout(30):
        while True:
            rows = await connection.fetch(
                "SELECT pid FROM pg_locks WHERE NOT granted AND locktype = $1 AND (database IS NULL "
                "OR database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
                lock,
            )
            if len(rows) >= processes:
                return [row["pid"] for row in rows]
            await asyncio.sleep(0.02)


async def test_a_killed_computation_is_taken_over_by_the_next(
    unlogged: Organisation, portrait_database_url: str
) -> None:
    await unlogged.write(FIRST, SECOND)
    async with writes_held(portrait_database_url) as admin:
        task = asyncio.create_task(compute(unlogged.db, unlogged.org_id, ["week"]))
        await admin.execute("SELECT pg_terminate_backend($1)", await waiting_writer(admin))
        with pytest.raises(StoreUnavailable):
            await task
    assert await unlogged.statuses("week") == {
        "2024-W49": "computing",
        "2024-W50": "computing",
    }
    assert await unlogged.stored() == {}
    assert await unlogged.events() == []
    # The next one asks for a single week and does what was left behind as well.
    (done,) = await compute(
        unlogged.db, unlogged.org_id, ["week"], date(2024, 12, 12), date(2024, 12, 12),
        now=LATER,
    )  # fmt: skip
    assert (done.periods, done.first, done.last) == (2, "2024-W49", "2024-W50")
    assert set((await unlogged.statuses("week")).values()) == {"completed"}
    await compute(unlogged.db, unlogged.org_id)
    await assert_law(unlogged, [FIRST, SECOND])


async def test_a_cancelled_computation_leaves_no_lock(
    unlogged: Organisation, portrait_database_url: str
) -> None:
    await unlogged.write(FIRST, SECOND)
    async with writes_held(portrait_database_url) as admin:
        task = asyncio.create_task(compute(unlogged.db, unlogged.org_id))
        await waiting_writer(admin)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await compute(unlogged.db, unlogged.org_id)
    await assert_law(unlogged, [FIRST, SECOND])


async def test_the_periods_of_an_organisation_are_computed_by_turns(
    unlogged: Organisation, portrait_database_url: str
) -> None:
    other = await new_organisation(unlogged.db, logged=False)
    await unlogged.write(FIRST, SECOND)
    await other.write(FIRST)
    async with writes_held(portrait_database_url) as admin:
        task = asyncio.create_task(compute(unlogged.db, unlogged.org_id, ["week"]))
        await waiting_writer(admin)
        second = asyncio.create_task(compute(unlogged.db, unlogged.org_id, ["month"]))
        await waiting_for(admin, "advisory")
        # Other organisations need not wait for their turn.
        others = [asyncio.create_task(compute(other.db, other.org_id))]
        await waiting_for(admin, "relation", processes=2)
    await asyncio.gather(task, second, *others)
    await compute(unlogged.db, unlogged.org_id, ["quarter"])
    await assert_law(unlogged, [FIRST, SECOND])
    await assert_law(other, [FIRST])


async def test_many_computations_at_once_end_in_the_same_portraits(
    unlogged: Organisation,
) -> None:
    calls = [
        replace(
            FIRST,
            callid=f"c{n}",
            user_id=f"u{n % 7}",
            started_at=FIRST.started_at + timedelta(days=7 * n),
        )
        for n in range(20)
    ]
    await unlogged.write(*calls)
    await asyncio.gather(*(compute(unlogged.db, unlogged.org_id, now=LATER) for _ in range(6)))
    await assert_law(unlogged, calls)
    assert set((await unlogged.statuses("week")).values()) == {"completed"}


async def test_a_database_that_is_down_says_so() -> None:
    async with opened("postgresql://nobody@127.0.0.1:9/nothing") as db:
        with pytest.raises(StoreUnavailable):
            await compute(db, uuid4())
