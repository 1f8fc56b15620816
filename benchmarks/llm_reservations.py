"""Reservations per second in the ledger of attempts, each with a hard budget.

`single` is one statement and transaction per reservation, from several connections at once, on
budgets of their own (`distinct`) and all on one (`shared`); `batched` is the ledger as services use
it: many callers at once, batches as they collect, on one budget of the organisation and one per key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Final
from uuid import UUID, uuid4

from ai_services.llm.protocol.usage import Usage
from ai_services.llm.spend import budget_store, ledger_store
from ai_services.llm.spend.attempt import Attempt, Settlement
from ai_services.llm.spend.ledger import Ledger
from shared.data_access.ports import Relational

_COST: Final = Decimal("0.01")
_KEYS: Final = 8
_SETTLEMENT: Final = Settlement(Usage(100, 50), Decimal("0.002"), 100, 10, "ok", "provider")


async def measure_reservations(relational: Relational, seconds: float = 3.0) -> dict[str, float]:
    """Rates per second; `relational` should have at least 8 connections."""
    figures: dict[str, float] = {}
    for name, shared in (("distinct", False), ("shared", True)):
        org_id = await _organisation(relational, shared=shared)
        figures[f"reservations_single_{name}_per_s"] = await _rate(
            partial(_single, relational, org_id), 8, seconds
        )
    org_id = await _organisation(relational, shared=True)
    async with Ledger(relational) as ledger:
        figures["reservations_batched_per_s"] = await _rate(
            lambda worker: ledger.reserve(_attempt(org_id, worker)), 200, seconds
        )
        figures["reserve_and_settle_per_s"] = await _rate(
            lambda worker: _whole(ledger, _attempt(org_id, worker)), 200, seconds
        )
        started = time.perf_counter()
        for worker in range(200):
            await ledger.reserve(_attempt(org_id, worker))
        figures["reserve_alone_ms"] = (time.perf_counter() - started) / 200 * 1000
    return {name: round(value, 2) for name, value in figures.items()}


async def _rate(once: Callable[[int], Awaitable[None]], workers: int, seconds: float) -> float:
    done = 0

    async def work(worker: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await once(worker)
            done += 1

    started = time.perf_counter()
    end = started + seconds
    await asyncio.gather(*(work(worker) for worker in range(workers)))
    return done / (time.perf_counter() - started)


async def _single(relational: Relational, org_id: UUID, worker: int) -> None:
    async with relational.calling(org_id) as call:
        short = await ledger_store.reserve_at_once(call, [_attempt(org_id, worker)])
    assert not short, "the budgets are as large as they can be"


async def _whole(ledger: Ledger, attempt: Attempt) -> None:
    await ledger.reserve(attempt)
    await ledger.settle(attempt, _SETTLEMENT)


def _key(worker: int) -> str:
    return str(UUID(int=worker % _KEYS))


def _attempt(org_id: UUID, worker: int) -> Attempt:
    return Attempt(
        attempt_id=uuid4(),
        request_id=uuid4(),
        parent=None,
        org_id=org_id,
        subject=f"key:{_key(worker)}",
        purpose="benchmark",
        provider="loopback",
        model="loopback",
        price_version="2026-01-01",
        tokens=Usage(100, 50),
        cost=_COST,
        lease_s=600,
    )


async def _organisation(relational: Relational, *, shared: bool) -> UUID:
    """An organisation with a budget for each key and, if `shared`, one for all."""
    async with relational.system() as tx:
        org_id: UUID = await tx.fetchval(
            "INSERT INTO organisation (slug, name) VALUES ($1, $1) RETURNING org_id",
            f"benchmark-{uuid4().hex}",
        )
    large = Decimal(10) ** 9
    async with relational.tenant(org_id) as tx:
        for worker in range(_KEYS):
            await budget_store.set_budget(tx, org_id, "key", _key(worker), "day", large, hard=True)
        if shared:
            await budget_store.set_budget(tx, org_id, "organisation", "", "month", large, hard=True)
    return org_id
