"""Portraits compared with a full recomputation: what is stored against what the calls say, now.

A period at a time is computed in the organisation's turn, and kept or undone: what had to be written
was wrong. Calls that came in and aren't counted yet are no difference. Who writes calls doesn't wait for
this; counting does, for one period.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from ai_services.portrait.computing.computation import EVERYTHING, planned
from ai_services.portrait.computing.day_store import renew_days
from ai_services.portrait.computing.snapshot_store import recompute
from ai_services.portrait.counting import store as counting
from ai_services.portrait.period import Period
from ai_services.portrait.periods.announcing import Changed, announce
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, NotFound

_DAYS_WITH: Final = "month"  # each day lies in just one
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """A period, and how many rows of it were not as its calls are: portraits, and of months also days."""

    period: Period
    portraits: int
    days: int

    @property
    def wrong(self) -> int:
        return self.portraits + self.days


async def verify(
    relational: Relational,
    org_id: UUID,
    *,
    sample: int | None = None,
    repair: bool = False,
    progress: Progress = lambda _done, _total: None,
) -> list[Verified]:
    """Every period of every type, or `sample` of them by chance, in order; with `repair` all are right then.

    NotFound for an unknown organisation; Conflict for one that waits for its first computation.
    """
    periods = await _periods(relational, org_id, sample)
    verified = []
    for done, period in enumerate(periods):
        progress(done, len(periods))
        verified.append(await _verify(relational, org_id, period, repair=repair))
    progress(len(periods), len(periods))
    return verified


async def _periods(relational: Relational, org_id: UUID, sample: int | None) -> Sequence[Period]:
    async with relational.tenant(org_id) as tx:
        how = await counting.state(tx, org_id)
        if how is None:
            raise NotFound("There is no such organisation.")
        if not how.trusted:
            raise Conflict(
                "The portraits of this organisation are older than the log that they are counted "
                "from. The portrait service computes them all, by a job; or run `looma compute`."
            )
        plan = await planned(tx, org_id, EVERYTHING)
    every = [period for periods in plan.values() for period in periods]
    if sample is None or sample >= len(every):
        return every
    chosen = sorted(random.sample(range(len(every)), sample))
    return [every[place] for place in chosen]


async def _verify(
    relational: Relational, org_id: UUID, period: Period, *, repair: bool
) -> Verified:
    async with relational.tenant(org_id) as tx:
        await tx.execute("SAVEPOINT before")
        found = await _renew(tx, org_id, period)
        if not repair:
            await tx.execute("ROLLBACK TO SAVEPOINT before")
    return found


async def _renew(tx: Transaction, org_id: UUID, period: Period) -> Verified:
    await counting.await_turn(tx, org_id)
    how = await counting.state(tx, org_id)
    days = 0
    if how is not None and period.type == _DAYS_WITH:
        days = await renew_days(tx, org_id, period.start, period.end, how.zone)
    (result,) = await recompute(tx, org_id, period.type, [period], datetime.now(UTC))
    if result.wrong:
        await announce(tx, org_id, [Changed(period, None, result.removed)])
    return Verified(period, result.wrong, days)
