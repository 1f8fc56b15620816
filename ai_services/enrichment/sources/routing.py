"""Which tables hold the calls of a span of days.

A dialler that splits its records by month does so by the month in which a call's *task* was made:
the calls of one day lie in the tables of all months whose tasks were still called on that day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final, Self

MONTH: Final = "{YYYY_MM}"
_MONTH: Final = r"(?P<year>\d{4})_(?P<month>0[1-9]|1[0-2])"


@dataclass(frozen=True, slots=True, order=True)
class Month:
    year: int
    number: int  # 1 to 12

    @classmethod
    def of(cls, day: date) -> Self:
        return cls(day.year, day.month)

    def back(self, months: int) -> Month:
        """So many months before; the first of all is January of year 1."""
        count = max(12, self.year * 12 + self.number - 1 - months)
        return Month(count // 12, count % 12 + 1)

    @property
    def first_day(self) -> date:
        return date(min(self.year, 9999), self.number, 1)

    def __str__(self) -> str:
        return f"{self.year:04}_{self.number:02}"


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """One table of calls. `month` is that of its tasks; None: it isn't split by month.

    `details` is the table of their transcripts, where there is one.
    """

    month: Month | None
    table: str
    details: str | None = None


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's name, or the names of those of all months: `calls_{YYYY_MM}`."""

    template: str

    @property
    def monthly(self) -> bool:
        return MONTH in self.template

    def of(self, month: Month | None) -> str:
        return self.template if month is None else self.template.replace(MONTH, str(month))

    def month_of(self, table: str) -> Month | None:
        """None for a table that isn't one of it."""
        pattern = re.escape(self.template).replace(re.escape(MONTH), _MONTH)
        found = re.fullmatch(pattern, table, re.ASCII)
        return Month(int(found["year"]), int(found["month"])) if found else None


@dataclass(frozen=True, slots=True)
class Layout:
    """How a source names its tables. `history` is for how many months after its own a task may still
    be called; a table's transcripts lie in the one of `details` for the same month.
    """

    calls: TableName
    details: TableName | None = None
    history: int = 3

    def shards(self, tables: Iterable[str]) -> list[Shard]:
        """All of them among the tables that there are, the oldest first."""
        there = set(tables)
        if not self.calls.monthly:
            names = [self.calls.template] if self.calls.template in there else []
            return [self._shard(None, name, there) for name in names]
        months = ((self.calls.month_of(name), name) for name in there)
        return sorted(self._shard(month, name, there) for month, name in months if month)

    def reaching(self, shards: Iterable[Shard], first: date | None, last: date) -> list[Shard]:
        """Those that may hold calls of the days from `first` (None: the beginning) to `last`."""
        newest = Month.of(last)
        oldest = None if first is None else Month.of(first).back(self.history)
        return [
            one
            for one in shards
            if one.month is None
            or (one.month <= newest and (oldest is None or one.month >= oldest))
        ]

    def end(self, shard: Shard) -> date | None:
        """The first day on which none of its tasks is called any more; None: there is no such day."""
        return None if shard.month is None else shard.month.back(-1 - self.history).first_day

    def gaps(self, shards: Sequence[Shard]) -> list[str]:
        """The tables of months that are missing between the first and the last that there are."""
        months = [one.month for one in shards if one.month is not None]
        if not months:
            return []
        missing, month = list[str](), max(months)
        while (month := month.back(1)) > min(months):
            if month not in months:
                missing.append(self.calls.of(month))
        return missing[::-1]

    def _shard(self, month: Month | None, table: str, there: set[str]) -> Shard:
        details = self.details.of(month) if self.details else None
        return Shard(month, table, details if details in there else None)
