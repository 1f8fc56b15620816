"""Natural periods: ISO 8601 weeks, months and quarters, as values.

A period is named by its key (`2024-W49`, `2024-11`, `2024-Q4`). Keys of one type sort as
the periods do in time, every date lies in exactly one period of each type, and which date a
moment belongs to is the caller's business: dates here are local to the organisation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

from shared.errors import InvalidInput

PeriodType = Literal["week", "month", "quarter"]
Status = Literal["pending", "computing", "completed"]
PERIOD_TYPES: Final[tuple[PeriodType, ...]] = ("week", "month", "quarter")

# Python's calendar ends with 9999, where the last week would end outside of it.
FIRST_DAY: Final = date(1, 1, 1)
LAST_DAY: Final = date(9998, 12, 31)

_DAY: Final = timedelta(days=1)
_FORMS: Final[dict[PeriodType, re.Pattern[str]]] = {
    "week": re.compile(r"([0-9]{4})-W([0-9]{2})"),
    "month": re.compile(r"([0-9]{4})-([0-9]{2})"),
    "quarter": re.compile(r"([0-9]{4})-Q([0-9])"),
}
_EXAMPLES: Final[dict[PeriodType, str]] = {
    "week": "2024-W49",
    "month": "2024-11",
    "quarter": "2024-Q4",
}


@dataclass(frozen=True, slots=True)
class Period:
    """One natural period; `end` is its last day (inclusive). Made by `of_date` and `parse`."""

    type: PeriodType
    key: str
    start: date
    end: date

    @property
    def year(self) -> int:
        """That of its key; of a week the ISO year."""
        return int(self.key[:4])

    @property
    def number(self) -> int:
        """The week, month or quarter of its year: 49, 11, 4."""
        return int(self.key[5:].lstrip("WQ"))

    @property
    def label(self) -> str:
        """For lists: 2024年第49周, 2024年11月, 2024年第4季度."""
        return f"{self.year}年{self.short_label}"

    @property
    def short_label(self) -> str:
        """For the axis of a chart within one year: 第49周, 11月, 第4季度."""
        match self.type:
            case "week":
                return f"第{self.number}周"
            case "month":
                return f"{self.number}月"
            case "quarter":
                return f"第{self.number}季度"

    def next(self) -> Period:
        return of_date(self.type, self.end + _DAY)

    def previous(self) -> Period:
        if self.start == FIRST_DAY:
            raise _outside("period_key", self.key)
        return of_date(self.type, self.start - _DAY)

    def back(self, steps: int) -> Period:
        """The period `steps` before this one, or the first there is."""
        period = self
        for _ in range(steps):
            if period.start == FIRST_DAY:
                break
            period = period.previous()
        return period


def of_date(period_type: PeriodType, day: date, *, field: str = "date") -> Period:
    """The period of `period_type` that `day` lies in; InvalidInput past the year 9998."""
    if day > LAST_DAY:
        raise _outside(field, day.isoformat())
    match period_type:
        case "week":
            year, week, _ = day.isocalendar()
            return _week(year, week)
        case "month":
            return _month(day.year, day.month)
        case "quarter":
            return _quarter(day.year, (day.month + 2) // 3)


def parse(period_type: PeriodType, key: str, *, field: str = "period_key") -> Period:
    """The period that `key` names; InvalidInput with `field`, problem and fix for any other text."""
    match = _FORMS[period_type].fullmatch(key)
    if match is None:
        raise InvalidInput.of(
            field, f"{key[:40]!r} is not a {period_type}", f"send e.g. {_EXAMPLES[period_type]}"
        )
    year, number = int(match[1]), int(match[2])
    if not FIRST_DAY.year <= year <= LAST_DAY.year:
        raise _outside(field, key)
    last = {"week": weeks_in(year), "month": 12, "quarter": 4}[period_type]
    if not 1 <= number <= last:
        raise InvalidInput.of(
            field,
            f"{key!r} does not exist: {year:04} has {last} {period_type}s",
            f"send {_key(period_type, year, 1)} to {_key(period_type, year, last)}",
        )
    if period_type == "week":
        return _week(year, number)
    if period_type == "month":
        return _month(year, number)
    return _quarter(year, number)


def parse_any(key: str, *, field: str = "period_key") -> Period:
    """The period that `key` names, its type told by the key's form."""
    for period_type, form in _FORMS.items():
        if form.fullmatch(key):
            return parse(period_type, key, field=field)
    raise InvalidInput.of(
        field, f"{key[:40]!r} names no period", f"send e.g. {', '.join(_EXAMPLES.values())}"
    )


def between(period_type: PeriodType, first: date, last: date) -> Iterator[Period]:
    """All periods that share a day with `first`…`last` (both inclusive), oldest first."""
    if first > last:
        return
    period = of_date(period_type, first)
    yield period
    while period.end < last:
        period = period.next()
        yield period


def weeks_in(year: int) -> int:
    """52 or 53: the weeks of an ISO year, of which 28 December always lies in the last."""
    return date(year, 12, 28).isocalendar().week


def _week(year: int, week: int) -> Period:
    start = date.fromisocalendar(year, week, 1)
    return Period("week", _key("week", year, week), start, start + 6 * _DAY)


def _month(year: int, month: int) -> Period:
    return _months("month", _key("month", year, month), year, month, 1)


def _quarter(year: int, quarter: int) -> Period:
    return _months("quarter", _key("quarter", year, quarter), year, 3 * quarter - 2, 3)


def _months(period_type: PeriodType, key: str, year: int, month: int, count: int) -> Period:
    after = month + count
    end = date(year + (after > 12), after - 12 if after > 12 else after, 1) - _DAY
    return Period(period_type, key, date(year, month, 1), end)


def _key(period_type: PeriodType, year: int, number: int) -> str:
    match period_type:
        case "week":
            return f"{year:04}-W{number:02}"
        case "month":
            return f"{year:04}-{number:02}"
        case "quarter":
            return f"{year:04}-Q{number}"


def _outside(field: str, value: str) -> InvalidInput:
    return InvalidInput.of(
        field, f"{value} lies outside of the calendar", "send a year from 0001 to 9998"
    )
