"""The use cases of the portrait service, each with the store passed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby, islice
from typing import Final
from uuid import UUID

import structlog

from ai_services.portrait import store
from ai_services.portrait.figures import Figures
from ai_services.portrait.metrics import Value, metric
from ai_services.portrait.period import PERIOD_TYPES, Period, PeriodType, Status, between, parse
from ai_services.portrait.snapshot_store import Recomputed, recompute
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, InvalidInput, NotFound

MAX_PERIODS: Final = 10_000  # of a type in one computation: 191 years of weeks
_MAX_USER_ID: Final = 64

Progress = Callable[[PeriodType, int, int], None]
log = structlog.get_logger()


# Computing.


@dataclass(frozen=True, slots=True)
class Computed:
    """What a computation did for one period type, `seconds` of wall clock included."""

    period_type: PeriodType
    periods: Sequence[Period]
    snapshots: int
    changed: int
    removed: int
    seconds: float


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
    """Make the snapshots of all periods that touch `first`…`last` equal to a full recomputation.

    A border that is None lies where calls, or periods computed before, end. `progress` gets the
    type and how many of its periods are done, out of how many. `now` decides which periods are
    over. Raises Conflict while the same periods are computed by someone else. What a computation
    that died had begun is done as well.
    """
    now = now or datetime.now(UTC)
    wanted = [period_type for period_type in PERIOD_TYPES if period_type in period_types]
    begun: dict[PeriodType, list[Period]] = {}
    async with relational.tenant(org_id) as tx:
        today = await store.local_today(tx, org_id, now)
        if today is None:
            raise NotFound("There is no such organisation.")
        for period_type in wanted:
            begun[period_type] = await _begin(tx, org_id, period_type, first, last)
    return [
        await _compute_type(relational, org_id, period_type, periods, today, now, progress)
        for period_type, periods in begun.items()
    ]


async def _begin(
    tx: Transaction, org_id: UUID, period_type: PeriodType, first: date | None, last: date | None
) -> list[Period]:
    """Mark what is to be done as computing; returns it, oldest first."""
    if not await store.try_turn(tx, org_id, period_type):
        raise Conflict(
            f"The {period_type}s of your organisation are being computed right now. "
            "Try again when that is done."
        )
    if first is None or last is None:
        extent = await store.extent(tx, org_id, period_type)
        if extent is not None:
            first, last = first or extent[0], last or extent[1]
    periods: list[Period] = []
    if first is not None and last is not None:
        periods = list(islice(between(period_type, first, last), MAX_PERIODS + 1))
    if len(periods) > MAX_PERIODS:
        problem = f"{first} to {last} has more than {MAX_PERIODS} {period_type}s"
        fix = "send a later `from` or an earlier `to`"
        raise InvalidInput.of("from", problem, fix)
    return [parse(period_type, key) for key in await store.begin(tx, org_id, period_type, periods)]


async def _compute_type(
    relational: Relational,
    org_id: UUID,
    period_type: PeriodType,
    periods: Sequence[Period],
    today: date,
    now: datetime,
    progress: Progress | None,
) -> Computed:
    started = time.perf_counter()
    results: list[Recomputed] = []
    for _, group in groupby(periods, key=_quarter):
        chunk = list(group)
        async with relational.tenant(org_id) as tx:
            await store.await_turn(tx, org_id, period_type)
            done = await recompute(tx, org_id, period_type, chunk, now)
            keys = [period.key for period in chunk]
            await store.finish(tx, org_id, period_type, keys, today=today, now=now)
            await _announce(tx, org_id, period_type, done)
        results += done
        if progress is not None:
            progress(period_type, len(results), len(periods))
    computed = Computed(
        period_type,
        periods,
        snapshots=sum(result.snapshots for result in results),
        changed=sum(result.changed for result in results),
        removed=sum(len(result.removed) for result in results),
        seconds=time.perf_counter() - started,
    )
    log.info(
        "portraits computed",
        period_type=period_type,
        periods=len(periods),
        snapshots=computed.snapshots,
        changed=computed.changed,
        removed=computed.removed,
        seconds=round(computed.seconds, 3),
    )
    return computed


def _quarter(period: Period) -> tuple[int, int]:
    """Periods are computed a quarter per transaction: what is done stays done, and progress shows."""
    return period.start.year, (period.start.month + 2) // 3


async def _announce(
    tx: Transaction, org_id: UUID, period_type: PeriodType, results: Sequence[Recomputed]
) -> None:
    """One event per period that changed, naming the users whose snapshots went away."""
    await tx.emit_many(
        org_id,
        "portraits",
        [
            (
                result.period_key,
                {
                    "period_type": period_type,
                    "period_key": result.period_key,
                    "removed": result.removed,
                },
            )
            for result in results
            if result.changed or result.removed
        ],
    )


# Reading.


@dataclass(frozen=True, slots=True)
class Portrait:
    """The figures of one user in one period."""

    user_id: str
    period: Period
    figures: Figures


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of all `users` of an organisation in one period."""

    period: Period
    users: int
    figures: Figures


@dataclass(frozen=True, slots=True)
class Point:
    """One period of a trend; `value` None where there were no calls or nothing to divide by."""

    period: Period
    value: Value


async def list_periods(
    relational: Relational, org_id: UUID, period_type: PeriodType, limit: int
) -> list[tuple[Period, Status]]:
    """Periods that were computed, or will be, with their status, newest first."""
    async with relational.tenant(org_id, readonly=True) as tx:
        rows = await store.registered_periods(tx, org_id, period_type, limit)
    return [(parse(period_type, row["period_key"]), row["status"]) for row in rows]


async def portrait(
    relational: Relational,
    org_id: UUID,
    user_id: str,
    period_type: PeriodType,
    period_key: str | None = None,
) -> Portrait:
    """One user's portrait, of the newest period with calls unless a key names another."""
    period = None if period_key is None else parse(period_type, period_key)
    _check_user_id(user_id)
    async with relational.tenant(org_id, readonly=True) as tx:
        if period is None:
            key = await store.newest_of_user(tx, org_id, user_id, period_type)
            if key is None:
                raise _no_such_user(user_id, period_type)
            period = parse(period_type, key)
        found = await store.user_figures(tx, org_id, user_id, period_type, period.key, period.key)
    if period.key not in found:
        raise NotFound(
            f"The user {user_id!r} has no portrait for {period.key}: no calls in that "
            f"{period_type}, or it has not been computed since they came in."
        )
    return Portrait(user_id, period, found[period.key])


async def summary(
    relational: Relational, org_id: UUID, period_type: PeriodType, period_key: str | None = None
) -> Summary:
    """All users of the organisation together, in the newest period with calls or the one named."""
    period = None if period_key is None else parse(period_type, period_key)
    async with relational.tenant(org_id, readonly=True) as tx:
        if period is None:
            known = await store.summarised_range(tx, org_id, period_type)
            if known is None:
                raise NotFound(f"No {period_type} with calls has been computed yet.")
            period = parse(period_type, known[1])
        found = await store.summaries(tx, org_id, period_type, period.key, period.key)
        if not found and not await store.is_registered(tx, org_id, period_type, period.key):
            raise NotFound(f"{period.key} has not been computed.")
    stored = found.get(period.key, store.Sums(0, Figures()))
    return Summary(period, stored.users, stored.figures)


async def trend(
    relational: Relational,
    org_id: UUID,
    period_type: PeriodType,
    metric_name: str,
    limit: int,
    user_id: str | None = None,
) -> list[Point]:
    """A metric over the last `limit` periods, oldest first, of the organisation or of one user.

    The series ends with the organisation's newest period with calls and starts no earlier than
    its oldest; between them no period is left out.
    """
    value_of = metric(metric_name)
    if user_id is not None:
        _check_user_id(user_id)
    async with relational.tenant(org_id, readonly=True) as tx:
        known = await store.summarised_range(tx, org_id, period_type)
        if known is None:
            if user_id is not None:
                raise _no_such_user(user_id, period_type)
            return []
        newest = parse(period_type, known[1])
        oldest = max(
            parse(period_type, known[0]), newest.back(limit - 1), key=lambda period: period.start
        )
        figures = await _figures(tx, org_id, user_id, oldest, newest)
    return [
        Point(period, value_of(figures[period.key]) if period.key in figures else None)
        for period in between(period_type, oldest.start, newest.end)
    ]


async def _figures(
    tx: Transaction, org_id: UUID, user_id: str | None, oldest: Period, newest: Period
) -> dict[str, Figures]:
    """period_key → figures of the user, or of all where that is None."""
    if user_id is None:
        sums = await store.summaries(tx, org_id, oldest.type, oldest.key, newest.key)
        return {key: stored.figures for key, stored in sums.items()}
    found = await store.user_figures(tx, org_id, user_id, oldest.type, oldest.key, newest.key)
    if not found and await store.newest_of_user(tx, org_id, user_id, oldest.type) is None:
        raise _no_such_user(user_id, oldest.type)
    return found


def _check_user_id(user_id: str) -> None:
    """NotFound for what cannot be an account's id."""
    if not 1 <= len(user_id) <= _MAX_USER_ID or "\0" in user_id:
        raise NotFound("There is no such user: an id has 1 to 64 characters.")


def _no_such_user(user_id: str, period_type: PeriodType) -> NotFound:
    return NotFound(
        f"The user {user_id!r} has no portrait for any {period_type}: no calls, or not computed yet."
    )
