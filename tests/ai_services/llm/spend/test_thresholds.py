"""Thresholds of a budget: each is told once for a window, in the transaction that crosses it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from ai_services.llm.spend import ledger_store
from ai_services.llm.spend.ledger import Ledger
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.llm.spend.books import Organisation, settlement


async def spend(organisation: Organisation, ledger: Ledger, cost: str) -> None:
    attempt = organisation.attempt(cost)
    await ledger.reserve(attempt)
    await ledger.settle(attempt, settlement(cost))


async def thresholds(organisation: Organisation) -> list[int]:
    return [event["threshold"] for event in await organisation.events()]


async def test_each_is_told_when_it_is_reached(organisation: Organisation, ledger: Ledger) -> None:
    budget = await organisation.set_budget("10", period="month")
    await spend(organisation, ledger, "4.99999999")
    assert await thresholds(organisation) == []
    await spend(organisation, ledger, "0.00000001")
    assert await thresholds(organisation) == [50]
    await spend(organisation, ledger, "2")
    await spend(organisation, ledger, "1")
    assert await thresholds(organisation) == [50, 80]
    await spend(organisation, ledger, "2")
    assert await thresholds(organisation) == [50, 80, 100]
    event = (await organisation.events())[-1]
    first_day = next(iter(await organisation.windows()))[1]
    assert {key: event[key] for key in event if key != "renews_at"} == {
        "budget_id": str(budget),
        "subject_kind": "organisation",
        "subject": "",
        "period": "month",
        "hard": True,
        "threshold": 100,
        "amount": "10.00000000",
        "spent": "10.00000000",
        "first_day": first_day.isoformat(),
    }
    assert event["renews_at"] > first_day.isoformat()


async def test_many_settlements_at_once_cross_each_once(
    organisation: Organisation, ledger: Ledger, db: Postgres
) -> None:
    await organisation.set_budget("10")
    await organisation.set_budget("10", "purpose", "chat", "total", hard=False)
    async with Ledger(db) as other:
        ledgers = (ledger, other)
        await asyncio.gather(*(spend(organisation, ledgers[n % 2], "0.25") for n in range(40)))
    events = [(event["period"], event["threshold"]) for event in await organisation.events()]
    assert sorted(events) == [(p, t) for p in ("day", "total") for t in (50, 80, 100)]


async def test_a_crossing_that_is_rolled_back_is_not_told(
    organisation: Organisation, ledger: Ledger, db: Postgres
) -> None:
    await organisation.set_budget("10")
    attempt = organisation.attempt("10")
    await ledger.reserve(attempt)
    settled = [(attempt.attempt_id, settlement("10"))]

    async def settle_and_die() -> None:
        async with db.tenant(organisation.org_id) as tx:
            await ledger_store.settle(tx, organisation.org_id, settled)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await settle_and_die()
    assert await thresholds(organisation) == []
    await ledger.settle(attempt, settlement("10"))
    assert await thresholds(organisation) == [50, 80, 100]


async def test_a_correction_does_not_tell_again(organisation: Organisation, ledger: Ledger) -> None:
    await organisation.set_budget("10")
    attempt = organisation.attempt("9")
    await ledger.reserve(attempt)
    await ledger.settle(attempt, settlement("9", "unknown", "estimate"))
    await ledger.settle(attempt, settlement("1"))
    await spend(organisation, ledger, "8")
    assert await thresholds(organisation) == [50, 80]


async def test_a_new_budget_tells_what_was_passed_before(
    organisation: Organisation, ledger: Ledger
) -> None:
    await spend(organisation, ledger, "8")
    await organisation.set_budget("10")
    assert await thresholds(organisation) == [50, 80]


async def test_setting_the_same_again_tells_nothing(
    organisation: Organisation, ledger: Ledger
) -> None:
    budget = await organisation.set_budget("10")
    await spend(organisation, ledger, "8")
    assert await organisation.set_budget("10") == budget
    assert await thresholds(organisation) == [50, 80]


async def test_a_raised_amount_can_be_reached_again(
    organisation: Organisation, ledger: Ledger
) -> None:
    await organisation.set_budget("10")
    await spend(organisation, ledger, "10")
    await organisation.set_budget("20")
    assert await thresholds(organisation) == [50, 80, 100]
    await spend(organisation, ledger, "6")
    assert await thresholds(organisation) == [50, 80, 100, 80]
    await organisation.set_budget("5")
    assert await thresholds(organisation) == [50, 80, 100, 80, 100]
    assert await organisation.window(await organisation.set_budget("5")) == (0, Decimal(16))
