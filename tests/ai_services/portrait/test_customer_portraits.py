"""Portraits of customers: the figures of users by another key, kept by the same statement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from ai_services.portrait import service
from ai_services.portrait.computing.computation import compute
from ai_services.portrait.computing.overdue import overdue
from ai_services.portrait.computing.snapshot_store import recompute
from ai_services.portrait.dimension import CUSTOMER, Subject
from ai_services.portrait.period import PERIOD_TYPES, between
from ai_services.portrait.periods import period_store
from shared.errors import NotFound
from tests.ai_services.portrait.calls import Call, Organisation, assert_law, at, new_organisation

HERS = Subject(CUSTOMER, "k1")
CALLS = (
    Call("c1", "u1", at("2024-12-04 09:30"), duration_ms=1500, rounds=3, level_name="A",
         sentiment="negative", sentiment_score=0.25, complaint_risk="high", customer_id="k1"),
    Call("c2", "u2", at("2024-12-05 10:00"), "busy", customer_id="k1"),
    Call("c3", "u2", at("2024-12-12 10:00"), "power_off", customer_id="k2"),
    Call("c4", "u1", at("2024-12-12 11:00"), duration_ms=2500),
)  # fmt: skip


async def portrait(organisation: Organisation, subject: Subject = HERS) -> dict[str, Any]:
    found = await service.portrait(organisation.db, organisation.org_id, subject, "month")
    f = found.figures
    return {"calls": f.total_calls, "connected": f.connected_calls, "high": f.high_complaint_risk}


async def test_a_customer_has_the_figures_of_their_calls_whoever_made_them(
    organisation: Organisation,
) -> None:
    await organisation.write(*CALLS)
    await compute(organisation.db, organisation.org_id)
    await assert_law(organisation, CALLS)
    assert await portrait(organisation) == {"calls": 2, "connected": 1, "high": 1}
    points = await service.trend(
        organisation.db, organisation.org_id, "week", "total_calls", 12, HERS
    )
    assert [(point.period.key, point.value) for point in points] == [
        ("2024-W49", 2),
        ("2024-W50", None),
    ]


async def test_a_second_computation_writes_nothing(unlogged: Organisation) -> None:
    organisation = unlogged
    await organisation.write(*CALLS)
    noon = datetime(2025, 1, 1, 12, tzinfo=UTC)
    await compute(organisation.db, organisation.org_id, now=noon)
    await compute(organisation.db, organisation.org_id, now=noon.replace(hour=13))
    stored = await organisation.stored_of_customers()
    assert {row["computed_at"] for row in stored.values()} == {noon}


async def test_many_customers_are_computed_in_shares(unlogged: Organisation) -> None:
    organisation = unlogged
    many = [
        replace(CALLS[n % 4], callid=f"c{n}", customer_id=f"k{n % 7}", started_at=at(f"2024-12-{n % 20 + 1:02} 09:30"))
        for n in range(40)
    ]  # fmt: skip
    await organisation.write(*CALLS)
    await compute(organisation.db, organisation.org_id)
    await organisation.delete(*[call.callid for call in CALLS])
    await organisation.write(*many)
    first, last = date(2024, 11, 25), date(2024, 12, 29)
    for period_type in PERIOD_TYPES:
        async with organisation.db.tenant(organisation.org_id) as tx:
            await recompute(
                tx, organisation.org_id, period_type, list(between(period_type, first, last)),
                datetime(2025, 1, 1, tzinfo=UTC), at_once=3,
            )  # fmt: skip
    await assert_law(organisation, many)


async def test_a_call_that_changes_hands_leaves_nothing_behind(organisation: Organisation) -> None:
    await organisation.write(*CALLS)
    await compute(organisation.db, organisation.org_id)
    moved = [replace(call, customer_id="k2") for call in CALLS[:3]]
    await organisation.write(*moved)
    await compute(organisation.db, organisation.org_id)
    await assert_law(organisation, [*moved, CALLS[3]])
    assert await portrait(organisation, Subject(CUSTOMER, "k2")) == {
        "calls": 3, "connected": 1, "high": 1,
    }  # fmt: skip


async def test_who_is_erased_is_gone_before_portraits_are_computed_again(
    organisation: Organisation,
) -> None:
    await organisation.write(*CALLS)
    await compute(organisation.db, organisation.org_id)
    await organisation.delete("c1", "c2")
    with pytest.raises(NotFound):
        await portrait(organisation)
    with pytest.raises(NotFound):
        await service.trend(organisation.db, organisation.org_id, "week", "total_calls", 12, HERS)


async def test_who_was_merged_is_shown_as_the_other(organisation: Organisation) -> None:
    await organisation.write(*[replace(call, customer_id="k2") for call in CALLS])
    await compute(organisation.db, organisation.org_id)
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute(
            "INSERT INTO customer_alias (org_id, customer_id, survivor) VALUES ($1, 'k1', 'k2')",
            organisation.org_id,
        )
    found = await service.portrait(organisation.db, organisation.org_id, HERS, "month")
    assert (found.subject.id, found.figures.total_calls) == ("k2", 4)


async def test_customers_of_another_organisation_are_nobody(organisation: Organisation) -> None:
    other = await new_organisation(organisation.db)
    await other.write(*CALLS)
    await compute(other.db, other.org_id)
    await organisation.write(CALLS[3])
    await compute(organisation.db, organisation.org_id)
    for subject in (HERS, Subject(CUSTOMER, "nobody"), Subject(CUSTOMER, "")):
        with pytest.raises(NotFound):
            await portrait(organisation, subject)
    assert await organisation.stored_of_customers() == {}


async def test_periods_from_before_customers_had_portraits_are_computed_again(
    organisation: Organisation,
) -> None:
    await organisation.write(*CALLS)
    await compute(organisation.db, organisation.org_id)
    today = date(2025, 6, 1)

    async def late() -> list[str]:
        async with organisation.db.tenant(organisation.org_id) as tx:
            days = await period_store.days(tx, organisation.org_id, today)
            known = await period_store.registered(tx, organisation.org_id, "week")
        first = date(2024, 12, 4)
        late = overdue("week", days, known, first, today)
        return [period.key for period in late if period.key in known]

    assert await late() == []
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute("UPDATE period_summary SET customers = NULL WHERE period_key = '2024-W50'")
    assert await late() == ["2024-W50"]
