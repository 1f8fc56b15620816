"""Which natural periods have ended, and of these which are right and which are to be computed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import pairwise

from ai_services.portrait.period import Period, PeriodType, between, of_date
from ai_services.portrait.periods.period_store import Registered


def last_ended(period_type: PeriodType, today: date) -> Period:
    """The last period that was over when `today` began."""
    return of_date(period_type, today).previous()


def overdue(
    period_type: PeriodType,
    days: Mapping[date, int],
    registered: Mapping[str, Registered],
    first: date,
    today: date,
) -> list[Period]:
    """Of the periods since `first` that are over `today`, those that have to be computed, in order.

    One has to be if a computation of it was begun and not ended, or never was for customers, or if its
    snapshots don't count as many calls as there are. `days` are those that have calls, and how many.
    """
    calls: defaultdict[str, int] = defaultdict(int)
    for day, found in days.items():
        calls[of_date(period_type, day).key] += found
    return [
        period
        for period in between(period_type, first, last_ended(period_type, today).end)
        if not _right(registered.get(period.key), calls[period.key])
    ]


def _right(stored: Registered | None, calls: int) -> bool:
    if stored is None:
        return calls == 0
    return stored.status != "computing" and stored.whole and stored.calls == calls


def closable(
    period_type: PeriodType,
    wrong: Sequence[Period],
    registered: Mapping[str, Registered],
    first: date,
    today: date,
) -> list[Period]:
    """Of the periods since `first` that are over `today`, those that are right and aren't closed."""
    known = {period.key for period in wrong}
    known |= {key for key, stored in registered.items() if stored.status == "completed"}
    return [
        period
        for period in between(period_type, first, last_ended(period_type, today).end)
        if period.key not in known
    ]


def spans(periods: Sequence[Period]) -> list[tuple[date, date]]:
    """First and last day of each run of periods (one type, in order) that follow one another."""
    if not periods:
        return []
    breaks = [(one, other) for one, other in pairwise(periods) if one.next() != other]
    starts = [periods[0].start, *(other.start for _, other in breaks)]
    return list(zip(starts, [*(one.end for one, _ in breaks), periods[-1].end], strict=True))
