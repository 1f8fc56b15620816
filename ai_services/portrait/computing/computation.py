"""A computation: snapshots of the periods that are asked for become those of a full recomputation.

First what happened to calls until now is counted. Then it
marks what it is to do as computing and does it a quarter of a year per transaction: what is
done stays done, and what is still marked tells where it stopped. In between counting goes on. Commands do it at once, jobs so
that it goes on after their process was killed (`Course`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import groupby, islice
from typing import Final, Protocol
from uuid import UUID

import structlog

from ai_services.portrait.computing import marks
from ai_services.portrait.computing.day_store import renew_days
from ai_services.portrait.computing.request import Requested
from ai_services.portrait.computing.snapshot_store import Recomputed, plan_for_many, recompute
from ai_services.portrait.counting import store as counting
from ai_services.portrait.counting.count import catch_up
from ai_services.portrait.period import PERIOD_TYPES, Period, PeriodType, between, parse
from ai_services.portrait.periods import period_store
from ai_services.portrait.periods.announcing import Changed, announce
from shared.data_access.ports import Relational, Transaction
from shared.errors import InvalidInput, NotFound

EVERYTHING: Final = Requested(PERIOD_TYPES, None, None)
MAX_PERIODS: Final = 10_000  # of a type in one computation: 191 years of weeks

Progress = Callable[[PeriodType, int, int], None]
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Computed:
    """What was done for one period type, `seconds` of wall clock included."""

    period_type: PeriodType
    periods: int = 0
    first: str | None = None  # key of the first period computed
    last: str | None = None
    snapshots: int = 0
    changed: int = 0
    removed: int = 0
    seconds: float = 0.0

    def plus(self, results: Sequence[Recomputed], seconds: float) -> Computed:
        """With further periods, later than those before."""
        return replace(
            self,
            periods=self.periods + len(results),
            first=self.first or results[0].period_key,
            last=results[-1].period_key,
            snapshots=self.snapshots + sum(result.snapshots for result in results),
            changed=self.changed + sum(result.changed for result in results),
            removed=self.removed + sum(len(result.removed) for result in results),
            seconds=self.seconds + seconds,
        )


class Course(Protocol):
    """How a computation goes along: whose transactions it takes, and who keeps how far it is."""

    @property
    def before(self) -> Sequence[Computed]:
        """What was reached by one that this one continues; of types that it hadn't begun, none."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """One of the organisation, in which what is refused to this computation fails."""
        ...

    async def reached(
        self,
        tx: Transaction,
        at_work: PeriodType,
        computed: Mapping[PeriodType, Computed],
        left: Mapping[PeriodType, int],
    ) -> None:
        """Called last in each transaction that changes something.

        What is computed once it is committed, and how many periods are left.
        """
        ...


class Unbroken:
    """The course of a command: nobody continues it, and `progress` hears how far it is.

    `progress` gets the type at work and how many of its periods are done, out of how many.
    """

    before: Sequence[Computed] = ()

    def __init__(self, relational: Relational, org_id: UUID, progress: Progress | None) -> None:
        self._relational = relational
        self._org_id = org_id
        self._progress = progress

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._relational.tenant(self._org_id) as tx:
            yield tx

    async def reached(
        self,
        _tx: Transaction,
        at_work: PeriodType,
        computed: Mapping[PeriodType, Computed],
        left: Mapping[PeriodType, int],
    ) -> None:
        done = computed[at_work].periods
        if self._progress is not None:
            self._progress(at_work, done, done + left[at_work])


async def compute(
    relational: Relational,
    org_id: UUID,
    period_types: Sequence[PeriodType] = PERIOD_TYPES,
    first: date | None = None,
    last: date | None = None,
    progress: Progress | None = None,
    *,
    now: datetime | None = None,
) -> list[Computed]:
    """`carry_out` at once, for a command."""
    wanted = Requested([one for one in PERIOD_TYPES if one in period_types], first, last)
    return await carry_out(Unbroken(relational, org_id, progress), org_id, wanted, now=now)


async def carry_out(
    course: Course, org_id: UUID, wanted: Requested, *, now: datetime | None = None
) -> list[Computed]:
    """Make the snapshots of all that is wanted equal to a full recomputation.

    `now` decides which periods are over. Who computes the same type at the same time takes turns
    with this one. What a computation that died had begun is done as well; and everything, where
    portraits are older than the log that they are counted from. Raises NotFound for an
    unknown organisation, and as `planned`.
    """
    now = now or datetime.now(UTC)
    async with course.transaction() as tx:
        today = await period_store.local_today(tx, org_id, now)
        if today is None:
            raise NotFound("There is no such organisation.")
        how = await counting.state(tx, org_id)
        if how is not None and not how.trusted:
            wanted = EVERYTHING
        plan = await planned(tx, org_id, wanted)
    await catch_up(course.transaction, org_id)
    computed = await _Computation(course, org_id, plan, today, now).run()
    if wanted is EVERYTHING:
        async with course.transaction() as tx:
            await counting.await_turn(tx, org_id)
            await counting.trust(tx, org_id)
    await catch_up(course.transaction, org_id)
    return computed


async def planned(
    tx: Transaction, org_id: UUID, wanted: Requested
) -> dict[PeriodType, list[Period]]:
    """The periods of each type that is wanted, oldest first.

    A border that is None lies where calls, or periods computed before, end. InvalidInput for more
    than 10,000 periods of a type.
    """
    return {
        period_type: await _planned(tx, org_id, period_type, wanted.first, wanted.last)
        for period_type in wanted.period_types
    }


async def _planned(
    tx: Transaction, org_id: UUID, period_type: PeriodType, first: date | None, last: date | None
) -> list[Period]:
    if first is None or last is None:
        extent = await period_store.extent(tx, org_id, period_type)
        if extent is None:
            return []
        first, last = first or extent[0], last or extent[1]
    periods = list(islice(between(period_type, first, last), MAX_PERIODS + 1))
    if len(periods) > MAX_PERIODS:
        problem = f"{first} to {last} has more than {MAX_PERIODS} {period_type}s"
        fix = "send a later `from` or an earlier `to`"
        raise InvalidInput.of("from", problem, fix)
    return periods


async def compute_part(
    tx: Transaction,
    org_id: UUID,
    period_type: PeriodType,
    periods: Sequence[Period],
    *,
    today: date,
    now: datetime,
    with_days: bool,
) -> list[Recomputed]:
    """Periods that follow one another, in a turn of their organisation; with what is kept of their days."""
    await marks.renew_later(tx)
    await plan_for_many(tx)
    how = await counting.state(tx, org_id)
    if how is not None and with_days:
        await renew_days(tx, org_id, periods[0].start, periods[-1].end, how.zone)
    results = await recompute(tx, org_id, period_type, periods, now)
    keys = [period.key for period in periods]
    await period_store.finish(tx, org_id, period_type, keys, today=today, now=now)
    changed = {one.period_key: one for one in results if one.wrong}
    told = [
        Changed(period, None, changed[period.key].removed)
        for period in periods
        if period.key in changed
    ]
    await announce(tx, org_id, told)
    if changed:
        await marks.renew(tx, org_id, period_type)
    return results


def quarters(periods: Sequence[Period]) -> list[list[Period]]:
    """What one transaction computes: the periods that begin in one quarter, together."""
    return [list(some) for _, some in groupby(periods, key=_quarter)]


class _Computation:
    def __init__(
        self,
        course: Course,
        org_id: UUID,
        plan: Mapping[PeriodType, Sequence[Period]],
        today: date,
        now: datetime,
    ) -> None:
        self._course = course
        self._org_id = org_id
        self._plan = plan
        self._today = today
        self._now = now
        self._computed = {one.period_type: one for one in course.before}
        self._left = {period_type: len(periods) for period_type, periods in plan.items()}

    async def run(self) -> list[Computed]:
        for period_type in self._plan:
            for quarter in quarters(await self._begin(period_type)):
                await self._compute(period_type, quarter)
            self._tell(self._computed[period_type])
        return list(self._computed.values())

    async def _begin(self, period_type: PeriodType) -> list[Period]:
        """Mark what is to be done, unless that was before; returns all that is marked, oldest first.

        That is more than was asked for if a computation died: this one does its periods, too.
        """
        async with self._course.transaction() as tx:
            await counting.await_turn(tx, self._org_id)
            if period_type not in self._computed:
                await period_store.begin(tx, self._org_id, period_type, self._plan[period_type])
                self._computed[period_type] = Computed(period_type)
            keys = await period_store.begun(tx, self._org_id, period_type)
            await self._reached(tx, period_type, len(keys))
        return [parse(period_type, key) for key in keys]

    async def _compute(self, period_type: PeriodType, periods: Sequence[Period]) -> None:
        started = time.perf_counter()
        await catch_up(self._course.transaction, self._org_id, batches=1)
        async with self._course.transaction() as tx:
            await counting.await_turn(tx, self._org_id)
            results = await compute_part(
                tx, self._org_id, period_type, periods, today=self._today, now=self._now,
                with_days=period_type == [*self._plan][-1],
            )  # fmt: skip
            seconds = time.perf_counter() - started
            self._computed[period_type] = self._computed[period_type].plus(results, seconds)
            await self._reached(tx, period_type, self._left[period_type] - len(periods))

    async def _reached(self, tx: Transaction, period_type: PeriodType, left: int) -> None:
        self._left[period_type] = left
        await self._course.reached(tx, period_type, self._computed, self._left)

    def _tell(self, done: Computed) -> None:
        _log.info(
            "portraits computed",
            period_type=done.period_type,
            periods=done.periods,
            snapshots=done.snapshots,
            changed=done.changed,
            removed=done.removed,
            seconds=round(done.seconds, 3),
        )


def _quarter(period: Period) -> tuple[int, int]:
    return period.start.year, (period.start.month + 2) // 3
