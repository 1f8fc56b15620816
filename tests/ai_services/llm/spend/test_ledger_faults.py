"""The ledger when PostgreSQL, a connection or a neighbour fails."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

import asyncpg
import pytest

from ai_services.llm.spend import ledger_store
from ai_services.llm.spend.attempt import Attempt
from ai_services.llm.spend.ledger import Ledger
from ai_services.llm.spend.settlements import Settlements
from shared.data_access.relational.postgres import Postgres
from shared.errors import StoreError, StoreUnavailable
from tests.ai_services.llm.spend.books import (
    KEY,
    USER,
    Organisation,
    assert_law,
    opened,
    settlement,
)
from tests.contract.proxy import proxied


async def kill_connections(url: str, application: str) -> None:
    admin = await asyncpg.connect(url)
    try:
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = $1 AND datname = current_database()",
            application,
        )
    finally:
        await admin.close()


async def test_survives_the_end_of_its_connections(
    organisation: Organisation, spend_database_url: str
) -> None:
    """Whatever dies in the middle: who has an answer has it in the ledger, and nothing leaks."""
    budget = await organisation.set_budget("1000")
    db = Postgres(spend_database_url, pool_size=4, application="victim")
    granted: list[Attempt] = []
    failed = 0

    async def work(ledger: Ledger) -> None:
        nonlocal failed
        for _ in range(8):
            attempt = organisation.attempt("1")
            try:
                await ledger.reserve(attempt)
            except StoreUnavailable:
                failed += 1
                await asyncio.sleep(0.05)
                continue
            granted.append(attempt)
            await ledger.settle(attempt, settlement("0.5"))

    async with Ledger(db) as ledger:
        working = asyncio.gather(*(work(ledger) for _ in range(12)))
        while not working.done():
            await asyncio.sleep(random.random() * 0.05)
            await kill_connections(spend_database_url, "victim")
            if len(granted) > 40 or failed > 40:
                break
        await working
        await written(ledger)
    await db.close()
    rows = await organisation.ledger()
    assert all(row["settled_at"] is not None for row in rows.values())
    assert {attempt.attempt_id for attempt in granted} == {
        attempt_id for attempt_id, row in rows.items() if row["outcome"] == "ok"
    }
    assert {row["cost"] for row in rows.values() if row["outcome"] != "ok"} <= {Decimal(0)}
    assert await organisation.window(budget) == (0, Decimal(len(granted)) / 2)
    await assert_law(organisation)


async def test_keeps_settlements_while_the_store_is_away(
    organisation: Organisation, spend_database_url: str
) -> None:
    budget = await organisation.set_budget("10")
    async with proxied(spend_database_url) as (url, proxy), opened(url) as db, Ledger(db) as ledger:
        attempts = [organisation.attempt("2") for _ in range(3)]
        await asyncio.gather(*map(ledger.reserve, attempts))
        await proxy.cut()
        async with asyncio.timeout(10):
            await asyncio.gather(*(ledger.settle(one, settlement("1")) for one in attempts))
            with pytest.raises(StoreUnavailable):
                await ledger.reserve(organisation.attempt("1"))
        assert ledger.unsettled >= 3
        assert await organisation.window(budget) == (6, 0)
        await proxy.start()
        await written(ledger)
    assert await organisation.window(budget) == (0, 3)
    await assert_law(organisation)


async def written(ledger: Ledger) -> None:
    async with asyncio.timeout(30):
        while ledger.unsettled:  # noqa: ASYNC110 - nothing tells when all are written
            await asyncio.sleep(0.02)


async def test_one_that_the_store_refuses_hurts_no_other(
    organisation: Organisation, ledger: Ledger
) -> None:
    budget = await organisation.set_budget("100")
    bad = organisation.attempt("1", purpose="a\0b")
    results = await asyncio.gather(
        ledger.reserve(organisation.attempt("1")),
        ledger.reserve(bad),
        ledger.reserve(organisation.attempt("2")),
        return_exceptions=True,
    )
    assert results[0] is results[2] is None
    assert isinstance(results[1], StoreError)
    assert await organisation.window(budget) == (3, 0)


async def test_a_settlement_that_is_refused_hurts_no_other(
    organisation: Organisation, ledger: Ledger
) -> None:
    budget = await organisation.set_budget("100")
    attempts = [organisation.attempt("1") for _ in range(3)]
    await asyncio.gather(*map(ledger.reserve, attempts))
    costs = ("0.5", "-1", "0.25")
    await asyncio.gather(
        *(ledger.settle(*one) for one in zip(attempts, map(settlement, costs), strict=True))
    )
    assert await organisation.window(budget) == (1, Decimal("0.75"))
    await assert_law(organisation)


async def test_batches_in_any_order_do_not_deadlock(
    organisation: Organisation, db: Postgres
) -> None:
    """Many budgets, attempts of all of them in random order, budgets changed meanwhile."""
    rng = random.Random(3)
    keys = [f"key:{n}" for n in range(6)]
    purposes = [f"purpose-{n}" for n in range(4)]
    for n in range(6):
        await organisation.set_budget("100", "key", str(n), rng.choice(("day", "week")))
    for purpose in purposes:
        await organisation.set_budget("100", "purpose", purpose, "month")

    async def reserve_and_settle() -> None:
        attempts = [
            organisation.attempt("0.1", subject=rng.choice(keys), purpose=rng.choice(purposes))
            for _ in range(rng.randrange(1, 12))
        ]
        async with db.tenant(organisation.org_id) as tx:
            assert not await ledger_store.reserve(tx, organisation.org_id, attempts)
        rng.shuffle(attempts)
        settled = [(attempt.attempt_id, settlement("0.05")) for attempt in attempts]
        async with db.tenant(organisation.org_id) as tx:
            await ledger_store.settle(tx, organisation.org_id, settled)

    async def change() -> None:
        await organisation.set_budget("100", "purpose", rng.choice(purposes), "day")

    turns = asyncio.Semaphore(5)

    async def one(n: int) -> None:
        async with turns:
            await (change() if n % 10 == 0 else reserve_and_settle())

    await asyncio.wait_for(asyncio.gather(*map(one, range(60))), 120)
    await assert_law(organisation)


async def test_closing_writes_what_is_due(organisation: Organisation, db: Postgres) -> None:
    budget = await organisation.set_budget("10")
    ledger = Ledger(db)
    attempt = organisation.attempt("2")
    await ledger.reserve(attempt)
    settling = asyncio.create_task(ledger.settle(attempt, settlement("1")))
    waiting = asyncio.create_task(ledger.reserve(organisation.attempt("9.5")))
    await asyncio.sleep(0)
    await ledger.close()
    await settling
    (result,) = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(result, StoreUnavailable)
    assert await organisation.window(budget) == (0, 1)
    rows = (await organisation.ledger()).values()
    assert all(row["settled_at"] is not None for row in rows)


async def test_a_caller_that_leaves_does_not_take_its_settlement_along(
    organisation: Organisation, ledger: Ledger
) -> None:
    budget = await organisation.set_budget("10", "user", USER.removeprefix("user:"))
    attempt = organisation.attempt("2")
    await ledger.reserve(attempt)
    settling = asyncio.create_task(ledger.settle(attempt, settlement("1")))
    await asyncio.sleep(0)
    settling.cancel()
    other = organisation.attempt("1", subject=KEY)
    await ledger.reserve(other)
    await ledger.settle(other, settlement("1"))
    assert await organisation.window(budget) == (0, 1)


async def test_replicas_settle_an_attempt_once_between_them(
    organisation: Organisation, ledger: Ledger, db: Postgres
) -> None:
    budget = await organisation.set_budget("10")
    attempt = organisation.attempt("3")
    await ledger.reserve(attempt)
    async with db.tenant(organisation.org_id) as tx:
        settled = [(attempt.attempt_id, settlement("1"))]
        await ledger_store.settle(tx, organisation.org_id, settled)
        other = asyncio.create_task(ledger.settle(attempt, settlement("2")))
        await asyncio.sleep(0.2)
        assert not other.done()
    await asyncio.wait_for(other, 5)
    assert await organisation.window(budget) == (0, 1)
    await assert_law(organisation)


@pytest.mark.parametrize("reserving", [True, False])
async def test_a_budget_that_is_made_meanwhile_counts_what_is_in_flight(
    organisation: Organisation, ledger: Ledger, db: Postgres, *, reserving: bool
) -> None:
    attempt = organisation.attempt("3")
    await ledger.reserve(attempt)
    async with db.tenant(organisation.org_id) as tx:
        if reserving:
            await ledger_store.reserve(tx, organisation.org_id, [organisation.attempt("2")])
        else:
            settled = [(attempt.attempt_id, settlement("1"))]
            await ledger_store.settle(tx, organisation.org_id, settled)
        making = asyncio.create_task(organisation.set_budget("10"))
        await asyncio.sleep(0.2)
        assert not making.done()
    budget = await asyncio.wait_for(making, 5)
    assert await organisation.window(budget) == ((5, 0) if reserving else (0, 1))
    await assert_law(organisation)


async def test_a_reservation_that_is_committed_after_its_release_is_released(
    organisation: Organisation, db: Postgres
) -> None:
    """As where a standby stalls: who reserved has given up, and the commit comes through later."""
    budget = await organisation.set_budget("10")
    attempt = organisation.attempt("3")
    settlements = Settlements(
        db, organisation.org_id, batch=10, backlog=10, news=asyncio.Event(), again_s=0.05
    )
    async with db.tenant(organisation.org_id) as tx:
        assert not await ledger_store.reserve(tx, organisation.org_id, [attempt])
        settlements.release(attempt)
        await settlements.flush()  # it found nothing
    assert await organisation.window(budget) == (3, 0)
    async with asyncio.timeout(10):
        while not settlements.is_idle:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)
    assert await organisation.window(budget) == (0, 0)
    await settlements.close()
    await assert_law(organisation)


async def test_a_release_that_finds_nothing_is_given_up_when_no_reservation_can_come(
    organisation: Organisation, db: Postgres
) -> None:
    attempt = organisation.attempt("3", lease_s=-15.0)
    settlements = Settlements(
        db, organisation.org_id, batch=10, backlog=10, news=asyncio.Event(), again_s=0.01
    )
    settlements.release(attempt)
    await settlements.flush()
    assert settlements.is_idle
    await settlements.close()
