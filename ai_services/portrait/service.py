"""Reading portraits, summaries and trends: the use cases, each with the store passed in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.portrait import store
from ai_services.portrait.dimension import CUSTOMER, Subject
from ai_services.portrait.figures import Figures
from ai_services.portrait.metrics import Value, metric
from ai_services.portrait.period import Period, PeriodType, Status, between, parse
from shared.data_access.ports import Relational, Transaction
from shared.errors import NotFound

_LONGEST_ID: Final = 64


@dataclass(frozen=True, slots=True)
class Portrait:
    """The figures of one subject in one period; `as_of` is when they last changed, None without calls.

    `before` are those of the period before, None where there were no calls. So many connected calls are
    `analysed`, and `degraded`: a model was to judge them, and hasn't.
    """

    subject: Subject
    period: Period
    figures: Figures
    as_of: datetime | None = None
    before: Figures | None = None
    analysed: int = 0
    degraded: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of all `users` of an organisation in one period; the rest as of a portrait."""

    period: Period
    users: int
    figures: Figures
    as_of: datetime | None = None
    before: Figures | None = None
    analysed: int = 0
    degraded: int = 0


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
    subject: Subject,
    period_type: PeriodType,
    period_key: str | None = None,
    *,
    with_calls: bool = True,
) -> Portrait:
    """A portrait of the newest period with calls, unless a key names another; of a customer who was
    merged, that of whom they are one with.

    NotFound for who has no calls in the named period, or only (without `with_calls`) for who has none
    in any: the figures are nothing then.
    """
    period = None if period_key is None else parse(period_type, period_key)
    check_id(subject)
    async with relational.tenant(org_id, readonly=True) as tx:
        subject = await who(tx, org_id, subject)
        if period is None:
            period = await newest_period(tx, org_id, subject, period_type)
        first = period.back(1).key
        found = await store.snapshots_of_periods(
            tx, org_id, subject, period_type, [first, period.key]
        )
        if period.key not in found:
            await _check_absence(tx, org_id, subject, period, with_calls=with_calls)
    now, before = found.get(period.key), found.get(first)
    return Portrait(
        subject,
        period,
        Figures() if now is None else now.figures,
        None if now is None else now.as_of,
        None if before is None or first == period.key else before.figures,
        0 if now is None else now.analysed,
        0 if now is None else now.degraded,
    )


async def _check_absence(
    tx: Transaction, org_id: UUID, subject: Subject, period: Period, *, with_calls: bool
) -> None:
    if with_calls:
        raise NotFound(
            f"The {subject.dimension.name} {subject.id!r} has no portrait for {period.key}: no calls in "
            f"that {period.type}, or it has not been computed since they came in."
        )
    # A customer stands while there are calls of them, computed or not.
    if subject.dimension is not CUSTOMER:
        await newest_period(tx, org_id, subject, period.type)


async def newest_period(
    tx: Transaction, org_id: UUID, subject: Subject, period_type: PeriodType
) -> Period:
    """The newest in which the subject has calls; NotFound where there is none."""
    key = await store.newest_of(tx, org_id, subject, period_type)
    if key is None:
        raise _nobody(subject, period_type)
    return parse(period_type, key)


async def who(tx: Transaction, org_id: UUID, subject: Subject) -> Subject:
    """Whose calls they are now. Nobody is shown whose calls are gone, though not computed again yet."""
    if subject.dimension is not CUSTOMER:
        return subject
    found = await store.standing(tx, org_id, subject.id)
    if found is None:
        raise NotFound(f"There are no calls of the {subject.dimension.name} {subject.id!r}.")
    return replace(subject, id=found)


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
        first = period.back(1).key
        found = await store.summaries(tx, org_id, period_type, first, period.key)
        if period.key not in found and not await store.is_registered(
            tx, org_id, period_type, period.key
        ):
            raise NotFound(f"{period.key} has not been computed.")
    stored = found.get(period.key, store.Sums(0, Figures()))
    before = found.get(first) if first != period.key else None
    return Summary(
        period,
        stored.users,
        stored.figures,
        stored.as_of,
        None if before is None else before.figures,
        stored.analysed,
        stored.degraded,
    )


async def trend(
    relational: Relational,
    org_id: UUID,
    period_type: PeriodType,
    metric_name: str,
    limit: int,
    subject: Subject | None = None,
) -> list[Point]:
    """A metric over the last `limit` periods, oldest first, of the organisation or of one subject.

    The series ends with the organisation's newest period with calls and starts no earlier than
    its oldest; between them no period is left out.
    """
    value_of = metric(metric_name)
    if subject is not None:
        check_id(subject)
    async with relational.tenant(org_id, readonly=True) as tx:
        if subject is not None:
            subject = await who(tx, org_id, subject)
        known = await store.summarised_range(tx, org_id, period_type)
        if known is None:
            if subject is not None:
                raise _nobody(subject, period_type)
            return []
        newest = parse(period_type, known[1])
        oldest = max(
            parse(period_type, known[0]), newest.back(limit - 1), key=lambda period: period.start
        )
        figures = await _figures(tx, org_id, subject, oldest, newest)
    return [
        Point(period, value_of(figures[period.key]) if period.key in figures else None)
        for period in between(period_type, oldest.start, newest.end)
    ]


async def _figures(
    tx: Transaction, org_id: UUID, subject: Subject | None, oldest: Period, newest: Period
) -> dict[str, Figures]:
    """period_key → figures of the subject, or of all users where that is None."""
    if subject is None:
        sums = await store.summaries(tx, org_id, oldest.type, oldest.key, newest.key)
        return {key: stored.figures for key, stored in sums.items()}
    keys = [period.key for period in between(oldest.type, oldest.start, newest.end)]
    found = await store.snapshots_of_periods(tx, org_id, subject, oldest.type, keys)
    if not found:
        await newest_period(tx, org_id, subject, oldest.type)
    return {key: snapshot.figures for key, snapshot in found.items()}


def check_id(subject: Subject) -> None:
    """NotFound for what can be no account's or customer's id."""
    if not 1 <= len(subject.id) <= _LONGEST_ID or "\0" in subject.id:
        name = subject.dimension.name
        raise NotFound(f"There is no such {name}: an id has 1 to {_LONGEST_ID} characters.")


def _nobody(subject: Subject, period_type: PeriodType) -> NotFound:
    return NotFound(
        f"The {subject.dimension.name} {subject.id!r} has no portrait for any {period_type}: no calls, or "
        "not computed yet."
    )
