"""Reserving and settling: what is granted, refused, waited for, and what budgets then hold."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest

from ai_services.llm.spend import budget_store, ledger_store
from ai_services.llm.spend.ledger import Ledger
from ai_services.llm.spend.reservations import Patience
from shared.data_access.relational.postgres import Postgres
from shared.errors import (
    BudgetExceeded,
    StoreConflict,
    StoreError,
    StoreUnavailable,
    TooManyRequests,
)
from tests.ai_services.llm.spend.books import (
    KEY,
    USER,
    Organisation,
    assert_law,
    new_organisation,
    settlement,
)


async def test_reserves_and_settles(organisation: Organisation, ledger: Ledger) -> None:
    attempt = replace(organisation.attempt("1.5"), parent=uuid4(), prompt_version="summary-3")
    await ledger.reserve(attempt)
    (row,) = (await organisation.ledger()).values()
    for name in ("attempt_id", "request_id", "parent", "purpose", "provider", "model"):
        assert row[name] == getattr(attempt, name)
    assert (row["price_version"], row["prompt_version"]) == ("2026-01-01", "summary-3")
    assert row["reserved"] == Decimal("1.5")
    assert (row["subject_kind"], "user:" + row["subject"]) == ("user", USER)
    assert (row["cost"], row["outcome"], row["settled_at"]) == (None, None, None)
    await ledger.settle(attempt, settlement("0.25"))
    (row,) = (await organisation.ledger()).values()
    assert (row["cost"], row["outcome"], row["source"]) == (Decimal("0.25"), "ok", "provider")
    assert (row["input_tokens"], row["output_tokens"]) == (90, 40)
    assert (row["cached_tokens"], row["reasoning_tokens"]) == (10, 5)
    assert (row["latency_ms"], row["first_token_ms"]) == (120, 30)


async def test_counts_in_every_budget_it_belongs_to(
    organisation: Organisation, ledger: Ledger
) -> None:
    user, key = USER.removeprefix("user:"), KEY.removeprefix("key:")
    hers = [
        await organisation.set_budget("9"),
        await organisation.set_budget("9", "user", user, "week"),
        await organisation.set_budget("9", "purpose", "chat", "month", hard=False),
        await organisation.set_budget("9", "user", user, "total"),
    ]
    other = [
        await organisation.set_budget("9", "key", key),
        await organisation.set_budget("9", "key", user),
        await organisation.set_budget("9", "purpose", "summary"),
    ]
    first, second = organisation.attempt("2"), organisation.attempt("1")
    await ledger.reserve(first)
    await ledger.reserve(second)
    await ledger.settle(first, settlement("0.5"))
    for budget in hers:
        assert await organisation.window(budget) == (1, Decimal("0.5"))
    for budget in other:
        assert await organisation.window(budget) == (0, 0)
    await assert_law(organisation)


async def test_refuses_what_a_hard_budget_can_never_hold(
    organisation: Organisation, ledger: Ledger
) -> None:
    budget = await organisation.set_budget("2", period="month")
    spent = organisation.attempt("1.5")
    await ledger.reserve(spent)
    await ledger.settle(spent, settlement("1.5"))
    with pytest.raises(BudgetExceeded) as refused:
        await ledger.reserve(organisation.attempt("0.50000001"))
    (detail,) = refused.value.details
    assert detail.field == "budget"
    assert "monthly budget of organisation (2) has 0.5 left" in detail.problem
    assert "may cost 0.50000001; it renews at 20" in detail.problem
    await ledger.reserve(organisation.attempt("0.5"))
    assert await organisation.window(budget) == (Decimal("0.5"), Decimal("1.5"))
    await assert_law(organisation)


async def test_waits_for_what_others_have_reserved(
    organisation: Organisation, ledger: Ledger
) -> None:
    await organisation.set_budget("2")
    first, second = organisation.attempt("2"), organisation.attempt("1.5")
    await ledger.reserve(first)
    waiting = asyncio.create_task(ledger.reserve(second))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await ledger.settle(first, settlement("0.5"))
    await asyncio.wait_for(waiting, 1)
    await assert_law(organisation)


async def test_is_refused_when_the_money_it_waits_for_is_spent(
    organisation: Organisation, ledger: Ledger
) -> None:
    await organisation.set_budget("2")
    first = organisation.attempt("2")
    await ledger.reserve(first)
    waiting = asyncio.create_task(ledger.reserve(organisation.attempt("1.5")))
    await asyncio.sleep(0.1)
    await ledger.settle(first, settlement("0.6"))
    with pytest.raises(BudgetExceeded):
        await asyncio.wait_for(waiting, 1)


async def test_one_that_is_too_large_does_not_refuse_another_that_can_wait(
    organisation: Organisation, ledger: Ledger
) -> None:
    await organisation.set_budget("3")
    first, small, large = (organisation.attempt(cost) for cost in ("2", "1.5", "4"))
    await ledger.reserve(first)
    waiting = asyncio.create_task(ledger.reserve(small))
    with pytest.raises(BudgetExceeded, match="may cost 4"):
        await ledger.reserve(large)
    assert not waiting.done()
    await ledger.settle(first, settlement("1"))
    await waiting
    await assert_law(organisation)


async def test_waits_for_another_replica(
    organisation: Organisation, ledger: Ledger, db: Postgres
) -> None:
    await organisation.set_budget("1")
    async with Ledger(db) as other:
        first = organisation.attempt("1")
        await other.reserve(first)
        waiting = asyncio.create_task(ledger.reserve(organisation.attempt("1")))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await other.settle(first, settlement("0", "error", "none"))
        await asyncio.wait_for(waiting, 1)


async def test_gives_up_after_its_patience(organisation: Organisation, db: Postgres) -> None:
    await organisation.set_budget("1")
    async with Ledger(db, Patience(wait_s=0.2)) as ledger:
        await ledger.reserve(organisation.attempt("1"))
        with pytest.raises(TooManyRequests) as late:
            await asyncio.wait_for(ledger.reserve(organisation.attempt("1")), 2)
        assert late.value.headers()["Retry-After"] == "1"
        assert ledger.waiting == 0
    assert len(await organisation.ledger()) == 1


async def test_turns_away_who_comes_to_a_full_line(
    organisation: Organisation, db: Postgres
) -> None:
    await organisation.set_budget("1")
    async with Ledger(db, Patience(line=1)) as ledger:
        await ledger.reserve(organisation.attempt("1"))
        waiting = asyncio.create_task(ledger.reserve(organisation.attempt("1")))
        await asyncio.sleep(0.05)
        with pytest.raises(TooManyRequests):
            await ledger.reserve(organisation.attempt("1"))
        waiting.cancel()


async def test_who_waits_is_not_overtaken(organisation: Organisation, ledger: Ledger) -> None:
    await organisation.set_budget("10")
    first = organisation.attempt("9")
    await ledger.reserve(first)
    order: list[str] = []

    async def wait(name: str, cost: str) -> None:
        await ledger.reserve(organisation.attempt(cost))
        order.append(name)

    big = asyncio.create_task(wait("big", "5"))
    await asyncio.sleep(0.1)
    small = asyncio.create_task(wait("small", "1"))
    await asyncio.sleep(0.1)
    assert order == []
    await ledger.settle(first, settlement("1"))
    await asyncio.wait_for(asyncio.gather(big, small), 1)
    assert order == ["big", "small"]


async def test_waiting_for_one_budget_leaves_the_others_free(
    organisation: Organisation, ledger: Ledger
) -> None:
    await organisation.set_budget("1", "user", USER.removeprefix("user:"))
    await ledger.reserve(organisation.attempt("1"))
    waiting = asyncio.create_task(ledger.reserve(organisation.attempt("1")))
    await asyncio.sleep(0.05)
    await asyncio.wait_for(ledger.reserve(organisation.attempt("1", subject=KEY)), 1)
    assert not waiting.done()
    waiting.cancel()


async def test_who_leaves_the_line_has_reserved_nothing(
    organisation: Organisation, ledger: Ledger
) -> None:
    budget = await organisation.set_budget("1")
    first = organisation.attempt("1")
    await ledger.reserve(first)
    waiting = asyncio.create_task(ledger.reserve(organisation.attempt("1")))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await ledger.settle(first, settlement("0"))
    await asyncio.sleep(0.1)
    assert await organisation.window(budget) == (0, 0)
    assert len(await organisation.ledger()) == 1


async def test_leaving_at_any_moment_leaks_nothing(
    organisation: Organisation, db: Postgres
) -> None:
    budget = await organisation.set_budget("100")
    async with Ledger(db) as ledger:
        for turn in range(60):
            asking = asyncio.create_task(ledger.reserve(organisation.attempt("1")))
            await asyncio.sleep(turn * 0.0001)
            asking.cancel()
            (result,) = await asyncio.gather(asking, return_exceptions=True)
            assert result is None or isinstance(result, asyncio.CancelledError)
            if result is None:
                break
    kept = [row for row in (await organisation.ledger()).values() if row["settled_at"] is None]
    assert await organisation.window(budget) == (len(kept), 0)
    assert len(kept) <= 1
    await assert_law(organisation)


async def test_the_first_settlement_counts(organisation: Organisation, ledger: Ledger) -> None:
    budget = await organisation.set_budget("10")
    attempt = organisation.attempt("3")
    await ledger.reserve(attempt)
    await asyncio.gather(
        ledger.settle(attempt, settlement("1")), ledger.settle(attempt, settlement("2"))
    )
    await ledger.settle(attempt, settlement("3"))
    assert await organisation.window(budget) == (0, 1)
    await assert_law(organisation)


async def test_what_is_known_later_corrects_what_was_unknown(
    organisation: Organisation, ledger: Ledger
) -> None:
    budget = await organisation.set_budget("10")
    attempt = organisation.attempt("3")
    await ledger.reserve(attempt)
    await ledger.settle(attempt, settlement("3", "unknown", "estimate"))
    assert await organisation.window(budget) == (0, 3)
    await ledger.settle(attempt, settlement("1"))
    await ledger.settle(attempt, settlement("2"))
    assert await organisation.window(budget) == (0, 1)
    await assert_law(organisation)


async def test_what_the_store_forgot_is_charged(organisation: Organisation, ledger: Ledger) -> None:
    budget = await organisation.set_budget("1")
    await ledger.settle(organisation.attempt("3"), settlement("2"))
    assert await organisation.window(budget) == (0, 2)
    await assert_law(organisation)


async def test_an_attempt_is_reserved_once(organisation: Organisation, ledger: Ledger) -> None:
    budget = await organisation.set_budget("10")
    attempt = organisation.attempt("1")
    results = await asyncio.gather(
        *(ledger.reserve(one) for one in (attempt, organisation.attempt("1"), attempt)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), type(None), StoreConflict]
    assert await organisation.window(budget) == (2, 0)


async def test_what_costs_nothing_needs_no_money(
    organisation: Organisation, ledger: Ledger
) -> None:
    await organisation.set_budget("0")
    attempt = organisation.attempt("0")
    await ledger.reserve(attempt)
    await ledger.settle(attempt, settlement("0"))
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(organisation.attempt("0.00000001"))
    assert await organisation.events() == []


async def test_soft_budgets_only_tell(organisation: Organisation, ledger: Ledger) -> None:
    await organisation.set_budget("1", hard=False)
    attempt = organisation.attempt("5")
    await ledger.reserve(attempt)
    await ledger.settle(attempt, settlement("5"))
    assert [event["threshold"] for event in await organisation.events()] == [50, 80, 100]


async def test_without_postgres_nothing_is_reserved() -> None:
    away = Postgres("postgresql://nobody@127.0.0.1:1/none")
    organisation = Organisation(away, uuid4())
    async with Ledger(away) as ledger:
        with pytest.raises(StoreUnavailable):
            await ledger.reserve(organisation.attempt())
    await away.close()


async def test_organisations_do_not_see_each_other(
    organisation: Organisation, ledger: Ledger, db: Postgres
) -> None:
    other = await new_organisation(db)
    await organisation.set_budget("1")
    mine, others = organisation.attempt("1"), other.attempt("5")
    await ledger.reserve(mine)
    await ledger.reserve(others)
    assert list(await organisation.ledger()) == [mine.attempt_id]
    assert list(await other.ledger()) == [others.attempt_id]
    assert await other.windows() == {}
    async with db.tenant(organisation.org_id) as tx:
        settled = [(others.attempt_id, settlement("2"))]
        absent = await ledger_store.settle(tx, other.org_id, settled)
        assert absent == {others.attempt_id}
        assert await budget_store.budgets(tx, other.org_id) == []
    with pytest.raises(StoreError):
        await reserve_for(other, as_of=organisation)
    assert [row["cost"] for row in (await other.ledger()).values()] == [None]


async def reserve_for(other: Organisation, *, as_of: Organisation) -> None:
    async with as_of.db.tenant(as_of.org_id) as tx:
        await ledger_store.reserve(tx, other.org_id, [other.attempt("1")])
