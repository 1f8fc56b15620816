"""What nobody settles is charged by its estimate, once, and corrected by what comes later."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from ai_services.llm.spend import ledger_store
from ai_services.llm.spend.ledger import Ledger
from ai_services.llm.spend.sweep import keep_sweeping, sweep
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.llm.spend.books import (
    Organisation,
    assert_law,
    new_organisation,
    settlement,
)


async def test_charges_what_nobody_settled(
    organisation: Organisation, ledger: Ledger, db: Postgres
) -> None:
    budget = await organisation.set_budget("10")
    left, kept = organisation.attempt("2", lease_s=0), organisation.attempt("1")
    await ledger.reserve(left)
    await ledger.reserve(kept)
    await sweep(db)
    row = (await organisation.ledger())[left.attempt_id]
    assert (row["outcome"], row["source"], row["cost"]) == ("unknown", "estimate", 2)
    assert (row["input_tokens"], row["output_tokens"]) == (100, 50)
    assert await organisation.window(budget) == (1, 2)
    await ledger.settle(left, settlement("0.5"))
    row = (await organisation.ledger())[left.attempt_id]
    assert (row["outcome"], row["source"], row["cost"]) == ("ok", "provider", Decimal("0.5"))
    assert await organisation.window(budget) == (1, Decimal("0.5"))
    await assert_law(organisation)


async def test_sweepers_share_and_announce_once(db: Postgres) -> None:
    organisations = [await new_organisation(db) for _ in range(3)]
    async with Ledger(db) as ledger:
        for organisation in organisations:
            await organisation.set_budget("20")
            attempts = [organisation.attempt("0.5", lease_s=0) for _ in range(40)]
            await asyncio.gather(*map(ledger.reserve, attempts))
    swept = await asyncio.gather(*(sweep(db) for _ in range(4)))
    assert sum(swept) >= 120
    for organisation in organisations:
        rows = (await organisation.ledger()).values()
        assert {row["outcome"] for row in rows} == {"unknown"}
        assert [event["threshold"] for event in await organisation.events()] == [50, 80, 100]
        await assert_law(organisation)


async def test_leaves_alone_what_is_settled_right_now(
    organisation: Organisation, ledger: Ledger, db: Postgres
) -> None:
    attempt = organisation.attempt("2", lease_s=0)
    await ledger.reserve(attempt)
    async with db.tenant(organisation.org_id) as tx:
        await ledger_store.settle(
            tx, organisation.org_id, [(attempt.attempt_id, settlement("0.5"))]
        )
        await asyncio.wait_for(sweep(db), 5)
    assert (await organisation.ledger())[attempt.attempt_id]["cost"] == Decimal("0.5")


async def test_keeps_sweeping(organisation: Organisation, ledger: Ledger, db: Postgres) -> None:
    charged = asyncio.Event()

    def told(attempts: int) -> None:
        if attempts:
            charged.set()

    sweeping = asyncio.create_task(keep_sweeping(db, every_s=0.02, swept=told))
    await asyncio.sleep(0.05)
    await ledger.reserve(organisation.attempt("2", lease_s=0))
    await asyncio.wait_for(charged.wait(), 10)
    sweeping.cancel()
    await asyncio.wait([sweeping])
    assert [row["outcome"] for row in (await organisation.ledger()).values()] == ["unknown"]


async def test_one_organisation_that_fails_holds_up_no_other(
    ledger: Ledger, db: Postgres, spend_database_url: str
) -> None:
    """Somebody holds the lock of the first for longer than the sweep waits."""
    stuck, other = await new_organisation(db), await new_organisation(db)
    impatient = Postgres(spend_database_url, pool_size=2, lock_timeout=0.2)
    for organisation in (stuck, other):
        await ledger.reserve(organisation.attempt("2", lease_s=0))
    async with db.tenant(stuck.org_id) as tx:
        await tx.execute("SELECT pg_advisory_xact_lock(llm_ledger_key($1))", stuck.org_id)
        await sweep(impatient)
        assert [row["outcome"] for row in (await other.ledger()).values()] == ["unknown"]
    assert [row["outcome"] for row in (await stuck.ledger()).values()] == [None]
    await sweep(impatient)
    await impatient.close()
    assert [row["outcome"] for row in (await stuck.ledger()).values()] == ["unknown"]
