"""All periods of a subject, or of the organisation, and two of them side by side: the use cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.portrait import store
from ai_services.portrait.dimension import ORGANISATION, Subject
from ai_services.portrait.figures import Figures
from ai_services.portrait.history.comparison import Change, changes
from ai_services.portrait.history.significance import Moments
from ai_services.portrait.period import Period, PeriodType, parse
from ai_services.portrait.service import check_id, newest_period, who
from shared.cursor import Listing, Page, word
from shared.data_access.ports import Relational, Transaction
from shared.errors import InvalidInput, NotFound

# Calls of a period, up to which means are tested: their variances are read from the calls.
MOST_TESTED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Past:
    """The figures of one period."""

    period: Period
    figures: Figures
    as_of: datetime | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two periods of a subject, None for the organisation, and every metric's change from `other`."""

    subject: Subject | None
    period: Past
    other: Past
    changes: list[Change]


async def history(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    *,
    cursor: str | None,
    limit: int,
) -> Page[Past]:
    """The periods with calls of a subject, or of the organisation, newest first."""
    if subject is not None:
        check_id(subject)
    async with relational.tenant(org_id, readonly=True) as tx:
        if subject is not None:
            subject = await who(tx, org_id, subject)
        listing = _listing(subject, period_type)
        before = listing.position(cursor)
        found = await _before(tx, org_id, subject, period_type, before, limit + 1)
        if not found and subject is not None:
            await newest_period(tx, org_id, subject, period_type)
    return listing.page(found, limit, lambda past: (past.period.key,))


def _listing(subject: Subject | None, period_type: PeriodType) -> Listing[str]:
    whose = (ORGANISATION.name, None) if subject is None else (subject.dimension.name, subject.id)
    return Listing(
        "portrait history",
        (*whose, period_type),
        lambda key: parse(period_type, word(key), field="cursor").key,
    )


async def _before(
    tx: Transaction,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    before: str | None,
    limit: int,
) -> list[Past]:
    kept: Mapping[str, store.Snapshot | store.Sums]
    if subject is None:
        kept = await store.summaries_before(tx, org_id, period_type, before, limit)
    else:
        kept = await store.snapshots_before(tx, org_id, subject, period_type, before, limit)
    return [Past(parse(period_type, key), one.figures, one.as_of) for key, one in kept.items()]


async def compare(
    relational: Relational,
    org_id: UUID,
    subject: Subject | None,
    period_type: PeriodType,
    period_key: str | None,
    other_key: str | None,
) -> Comparison:
    """The newest period with calls, or the one named, beside the one before it, or another one.

    A period without calls has no figures to compare: they are 0 and null. NotFound for a subject
    who has none at all.
    """
    period = None if period_key is None else parse(period_type, period_key)
    other = None if other_key is None else parse(period_type, other_key, field="with")
    if subject is not None:
        check_id(subject)
    async with relational.tenant(org_id, readonly=True) as tx:
        if subject is not None:
            subject = await who(tx, org_id, subject)
        newest = await _newest(tx, org_id, subject, period_type)
        period = period or newest
        other = other or period.back(1)
        if other == period:
            problem = f"{period.key} can't be compared with itself"
            raise InvalidInput.of("with", problem, "send another period")
        now, before = [await _past(tx, org_id, subject, one) for one in (period, other)]
        moments: list[Mapping[str, Moments]] = [{}, {}]
        if subject is not None and _few(now) and _few(before):
            moments = [
                await store.moments(tx, org_id, subject, one.start, one.end)
                for one in (period, other)
            ]
    return Comparison(subject, now, before, changes(now.figures, before.figures, *moments))


def _few(past: Past) -> bool:
    return past.figures.total_calls <= MOST_TESTED


async def _newest(
    tx: Transaction, org_id: UUID, subject: Subject | None, period_type: PeriodType
) -> Period:
    if subject is not None:
        return await newest_period(tx, org_id, subject, period_type)
    known = await store.summarised_range(tx, org_id, period_type)
    if known is None:
        raise NotFound(f"No {period_type} with calls has been computed yet.")
    return parse(period_type, known[1])


async def _past(tx: Transaction, org_id: UUID, subject: Subject | None, period: Period) -> Past:
    kept: Mapping[str, store.Snapshot | store.Sums]
    if subject is None:
        kept = await store.summaries(tx, org_id, period.type, period.key, period.key)
    else:
        kept = await store.snapshots_of_periods(tx, org_id, subject, period.type, [period.key])
    found = kept.get(period.key)
    return (
        Past(period, Figures(), None) if found is None else Past(period, found.figures, found.as_of)
    )
