"""Which natural periods have ended and aren't computed, or not as their calls are now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final

from ai_services.portrait.computing.period_store import Day, Registered
from ai_services.portrait.period import Period, PeriodType, between, of_date

# A call is seen by a computation that begins after it is committed; it says when its transaction,
# which takes this long at most, began.
_LONGEST_WRITE: Final = timedelta(hours=1)


def last_ended(period_type: PeriodType, today: date) -> Period:
    """The last period that was over when `today` began."""
    return of_date(period_type, today).previous()


def overdue(
    period_type: PeriodType,
    days: Mapping[date, Day],
    registered: Mapping[str, Registered],
    first: date,
    today: date,
) -> list[Period]:
    """Of the periods since `first` that are over `today`, those that have to be computed, in order.

    One has to be if it never was since its end, or not for customers, if its snapshots don't count as
    many calls as there are, or if a call has changed since. `days` are those that have calls.
    """
    calls: defaultdict[str, int] = defaultdict(int)
    changed: dict[str, datetime] = {}
    for day, found in days.items():
        key = of_date(period_type, day).key
        calls[key] += found.calls
        changed[key] = max(found.changed_at, changed.get(key, found.changed_at))
    return [
        period
        for period in between(period_type, first, last_ended(period_type, today).end)
        if not _current(registered.get(period.key), calls[period.key], changed.get(period.key))
    ]


def _current(stored: Registered | None, calls: int, changed_at: datetime | None) -> bool:
    if stored is None or stored.status != "completed" or stored.computed_at is None:
        return False
    unchanged = changed_at is None or changed_at + _LONGEST_WRITE < stored.computed_at
    return stored.whole and stored.calls == calls and unchanged


def spans(periods: Sequence[Period]) -> list[tuple[date, date]]:
    """First and last day of each run of periods (one type, in order) that follow one another."""
    if not periods:
        return []
    breaks = [(one, other) for one, other in pairwise(periods) if one.next() != other]
    starts = [periods[0].start, *(other.start for _, other in breaks)]
    return list(zip(starts, [*(one.end for one, _ in breaks), periods[-1].end], strict=True))
