"""Counts the next batch of an organisation's changes, in a transaction of whoever has its turn."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from itertools import count as count_up
from typing import Final
from uuid import UUID

from ai_services.portrait.counting import store
from ai_services.portrait.counting.store import Batch, Touched
from ai_services.portrait.period import Period
from ai_services.portrait.periods import period_store
from ai_services.portrait.periods.announcing import Changed, announce
from ai_services.portrait.projections import PROJECTED
from shared.data_access.ports import Transaction
from shared.jobs.store.jobs import list_jobs

BATCH: Final = 10_000  # calls of a statement; a second's work at most
_BRINGING_CALLS: Final = ("sync_call_records", "llm_analyze_batch")  # of the enrichment service


async def count(tx: Transaction, org_id: UUID, zone: str, limit: int = BATCH) -> Batch | None:
    """With the periods registered and reopened, and who listens told. None: there is nothing left."""
    batch = await store.count(tx, org_id, zone, limit)
    if batch is None:
        return None
    periods = [_period(one) for one in batch.touched]
    await period_store.touch(tx, org_id, periods, datetime.now(UTC))
    if batch.last and not await calls_come_in(tx, org_id):
        await period_store.close_again(tx, org_id)
    await announce(
        tx,
        org_id,
        [
            Changed(period, one.changed if period.type == PROJECTED else [], one.removed)
            for period, one in zip(periods, batch.touched, strict=True)
        ],
    )
    return batch


async def catch_up(
    transaction: Callable[[], AbstractAsyncContextManager[Transaction]],
    org_id: UUID,
    *,
    batches: int | None = None,
) -> None:
    """Count what there is of an organisation by now, or some batches of it, in its turns.

    `transaction` is one of the organisation. Without effect as long as it isn't trusted.
    """
    for _ in count_up() if batches is None else range(batches):
        async with transaction() as tx:
            await store.await_turn(tx, org_id)
            how = await store.state(tx, org_id)
            if how is None or not how.trusted:
                return
            batch = await count(tx, org_id, how.zone)
        if batch is None or batch.last:
            return


async def calls_come_in(tx: Transaction, org_id: UUID) -> bool:
    """Whether a job is at work that brings calls in, or analyses them."""
    del org_id  # the transaction sees no other's jobs
    for name in _BRINGING_CALLS:
        if await list_jobs(tx, name=name, state="running", limit=1):
            return True
    return False


def _period(one: Touched) -> Period:
    return Period(one.period_type, one.period_key, one.period_start, one.period_end)
