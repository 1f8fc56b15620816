"""Many at once on a budget that is too small, over two replicas: nothing too much, nothing left over."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import pytest

from ai_services.llm.spend.ledger import Ledger
from ai_services.llm.spend.reservations import Patience
from shared.data_access.relational.postgres import Postgres
from shared.errors import BudgetExceeded
from tests.ai_services.llm.spend.books import Organisation, assert_law, new_organisation, opened
from tests.ai_services.llm.spend.books import settlement as settled

WORST = Decimal("0.1")


async def spend_it_all(
    organisation: Organisation, url: str, *, tasks: int, attempts: int, amount: Decimal
) -> Counter[str]:
    """Make `attempts` by so many tasks, each ending for less than it reserved or failing."""
    seen: Counter[str] = Counter()
    rng = random.Random(7)
    left: Iterator[int] = iter(range(attempts))

    async def work(ledger: Ledger) -> None:
        for _ in left:
            attempt = organisation.attempt(WORST)
            try:
                await ledger.reserve(attempt)
            except BudgetExceeded as error:
                seen["refused"] += 1
                (detail,) = error.details
                told = Decimal(detail.problem.partition(" has ")[2].partition(" left")[0])
                seen["refused with money left"] += told >= WORST
                continue
            seen["reserved"] += 1
            await asyncio.sleep(rng.random() * 0.002)
            failed = rng.random() < 0.2
            cost = Decimal(0) if failed else WORST * rng.randrange(1, 11) / 10
            await ledger.settle(attempt, settled(cost, "error" if failed else "ok"))

    await organisation.set_budget(amount)
    patience = Patience(wait_s=120)
    async with (
        opened(url, pool_size=4) as one,
        opened(url, pool_size=4) as two,
        Ledger(one, patience) as first,
        Ledger(two, patience) as second,
    ):
        await asyncio.gather(*(work((first, second)[n % 2]) for n in range(tasks)))
    return seen


async def check(organisation: Organisation, amount: Decimal, seen: Counter[str]) -> None:
    rows = (await organisation.ledger()).values()
    spent = sum(row["cost"] for row in rows)
    assert all(row["settled_at"] is not None for row in rows)
    assert len(rows) == seen["reserved"]
    assert spent <= amount
    assert seen["refused"] > 0
    assert amount - spent < WORST  # refused is only what it can't hold
    assert seen["refused with money left"] == 0
    thresholds = [event["threshold"] for event in await organisation.events()]
    assert thresholds == [one for one in (50, 80, 100) if spent * 100 >= amount * one]
    await assert_law(organisation)


async def test_spends_a_tight_budget_to_its_end(db: Postgres, spend_database_url: str) -> None:
    organisation, amount = await new_organisation(db), Decimal(3)
    seen = await spend_it_all(
        organisation, spend_database_url, tasks=40, attempts=200, amount=amount
    )
    await check(organisation, amount, seen)


@pytest.mark.slow
async def test_200_at_once_spend_a_tight_budget_to_its_end(
    db: Postgres, spend_database_url: str
) -> None:
    organisation, amount = await new_organisation(db), Decimal(100)
    seen = await spend_it_all(
        organisation, spend_database_url, tasks=200, attempts=5_000, amount=amount
    )
    await check(organisation, amount, seen)
