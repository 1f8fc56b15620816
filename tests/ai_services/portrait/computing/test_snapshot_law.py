"""The snapshot law: whatever happens to calls, the snapshots are those of a full recomputation."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_services.portrait.computing.computation import compute
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.portrait.calls import (
    Call,
    Organisation,
    assert_law,
    new_organisation,
)

ZONES = (
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
    "UTC",
)
# Midnights (UTC) at which weeks, months, quarters, years or clocks change somewhere.
BORDERS = (
    datetime(2020, 12, 31, tzinfo=UTC),
    datetime(2021, 1, 4, tzinfo=UTC),
    datetime(2021, 2, 15, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 3, 10, tzinfo=UTC),
    datetime(2024, 3, 31, tzinfo=UTC),
    datetime(2024, 7, 1, tzinfo=UTC),
    datetime(2024, 10, 27, tzinfo=UTC),
    datetime(2024, 11, 3, tzinfo=UTC),
    datetime(2024, 12, 30, tzinfo=UTC),
    datetime(2025, 1, 1, tzinfo=UTC),
)
CALLIDS = tuple(f"call-{number}" for number in range(12))
USERS = ("u1", "u2", "张三")
FAILED = ("busy", "no_answer", "power_off", "invalid_number", "rejected", "failed")
risks = st.none() | st.sampled_from(("low", "medium", "high"))


@st.composite
def calls(draw: st.DrawFn, border: datetime) -> Call:
    """Any call near `border`; what was not connected may still carry facts, which don't count."""
    near = st.timedeltas(timedelta(hours=-30), timedelta(hours=30))
    far = st.timedeltas(timedelta(days=-45), timedelta(days=45))
    exact = st.sampled_from(
        [timedelta(hours=hours, microseconds=us) for hours in range(-14, 15) for us in (-1, 0)]
    )
    return Call(
        callid=draw(st.sampled_from(CALLIDS)),
        user_id=draw(st.sampled_from(USERS)),
        started_at=border + draw(near | exact | far),
        call_status=draw(st.just("connected") | st.sampled_from(FAILED)),
        duration_ms=draw(st.integers(0, 600_000) | st.just(2**31 - 1)),
        rounds=draw(st.integers(0, 40) | st.just(2**31 - 1)),
        level_name=draw(st.none() | st.sampled_from("ABCDEF")),
        hangup_by=draw(st.sampled_from((None, 1, 2))),
        sentiment=draw(st.none() | st.sampled_from(("positive", "neutral", "negative"))),
        sentiment_score=draw(st.none() | st.floats(0, 1)),
        complaint_risk=draw(risks),
        churn_risk=draw(risks),
        customer_id=draw(st.sampled_from((None, "k1", "k2"))),
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[str, list[list[Call | str]]]:
    """A time zone, and what happens between computations: calls (new, again, corrected), deletions."""
    call = calls(draw(st.sampled_from(BORDERS)))
    rounds = st.lists(
        st.lists(call | call | st.sampled_from(CALLIDS), min_size=1, max_size=16),
        min_size=1,
        max_size=4,
    )
    return draw(st.sampled_from(ZONES)), draw(rounds)


async def happen(
    organisation: Organisation, steps: list[Call | str], left: dict[str, Call]
) -> None:
    """Play some steps and keep `left`, the calls that there are, up to date."""
    for step in steps:
        if isinstance(step, Call):
            left[step.callid] = step
            await organisation.write(step)
        else:
            left.pop(step, None)
            await organisation.delete(step)


ADDED_UP = ("total_calls", "connected_calls", "total_duration", "total_rounds", "scored_calls",
            "level_a_count", "user_hangup_count", "positive_count", "high_churn_risk")  # fmt: skip


def assert_consistent(rows: dict[tuple[str, str, str], dict[str, Any]]) -> None:
    """The laws between the figures of a portrait, and between the portraits of a user."""
    for row in rows.values():
        connected = row["connected_calls"]
        for parts in (
            [f"level_{level}_count" for level in "abcdef"],
            ["robot_hangup_count", "user_hangup_count"],
            ["positive_count", "neutral_count", "negative_count"],
            [f"{level}_complaint_risk" for level in ("high", "medium", "low")],
            [f"{level}_churn_risk" for level in ("high", "medium", "low")],
        ):
            assert sum(row[part] for part in parts) <= connected
        assert sum(row["fail_reason_dist"].values()) == row["total_calls"] - connected
        assert all(count > 0 for count in row["fail_reason_dist"].values())
        assert (row["avg_duration"] is None) == (row["avg_rounds"] is None) == (connected == 0)
    totals: defaultdict[tuple[str, str, str], Any] = defaultdict(int)
    for (period_type, key, user_id), row in rows.items():
        for name in ADDED_UP:
            totals[period_type, user_id, name] += row[name]
            if period_type == "month":
                year, month = key.split("-")
                totals[f"{year}-Q{(int(month) + 2) // 3}", user_id, name] += row[name]
    for (period_type, key, user_id), row in rows.items():
        for name in ADDED_UP:
            assert totals[period_type, user_id, name] == totals["quarter", user_id, name]
            if period_type == "quarter":
                assert totals[key, user_id, name] == row[name]
            if (period_type, key) == ("month", "2021-02"):  # Monday the 1st to Sunday the 28th
                weeks = [rows.get(("week", f"2021-W{n:02}", user_id)) for n in range(5, 9)]
                assert sum(week[name] for week in weeks if week) == row[name]


async def check_histories(db: Postgres, examples: int) -> None:
    bystander = await new_organisation(db)
    others = [Call(callid, "u1", BORDERS[3]) for callid in CALLIDS]
    await bystander.write(*others)
    await compute(db, bystander.org_id)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories())
    async def law(played: tuple[str, list[list[Call | str]]]) -> None:
        timezone, rounds = played
        organisation = await new_organisation(db, timezone)
        left: dict[str, Call] = {}
        for steps in rounds:
            await happen(organisation, steps, left)
            await compute(db, organisation.org_id)
            await assert_law(organisation, left.values())
        before = await organisation.stored()
        assert_consistent(before)
        again = await compute(db, organisation.org_id)
        assert [(item.changed, item.removed) for item in again] == [(0, 0)] * 3
        assert await organisation.stored() == before

    await run(law)
    await assert_law(bystander, others)


async def run(law: Any) -> None:
    """Run an async property on the loop that is running: each example is awaited by a thread."""
    loop = asyncio.get_running_loop()
    inner = law.hypothesis.inner_test

    def blocking(*args: Any, **kwargs: Any) -> None:
        asyncio.run_coroutine_threadsafe(inner(*args, **kwargs), loop).result()

    law.hypothesis.inner_test = blocking
    await asyncio.to_thread(law)


async def test_snapshots_equal_a_full_recomputation(db: Postgres) -> None:
    await check_histories(db, 40)


@pytest.mark.slow
async def test_snapshots_equal_a_full_recomputation_for_very_many_histories(
    db: Postgres,
) -> None:
    await check_histories(db, 1000)
