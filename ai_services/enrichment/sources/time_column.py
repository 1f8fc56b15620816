"""The column of times that a table is read by: which of its values lie within a span.

The source compares, by the order of the column's type. That of dates and of numbers is the order of time;
that of text is so where the day stands first, as `2024-12-01`. Then whole days are asked for, and what
lies outside the span is left out here, by its time: so hours and offsets may be written in any way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from ai_services.enrichment.sources.databases.database import Rows, Table
from ai_services.enrichment.sources.databases.statement import Window
from ai_services.enrichment.validation.parse_time import ISO, parse_times
from ai_services.enrichment.validation.read_time import UNIX_UNITS
from shared.errors import InvalidInput

_TIMES: Final = frozenset({"datetime", "timestamp", "timestamptz"})
_NUMBERS: Final = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double"}
    | {"int2", "int4", "int8", "numeric", "float4", "float8"}
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS: Final = {"unix_s": 10, "unix_ms": 13, "unix_us": 16}  # from 2001 to 2286
_DAY: Final = re.compile(r"(?P<day>[^%]*%Y[^%0-9]*%m[^%0-9]*%d)")
_FARTHEST: Final = timedelta(days=2)  # between a day as it is written with an offset and ours
_FIX: Final = "make a view that has it as a timestamp, and name that as table"


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """How instants stand in a column. `day` is the pattern of its days where it is compared by them;
    `unit` that of its Unix times; without either it has dates with times. `fits` are texts that
    sort by time; `apart`: how far from ours a day may be that has an offset.
    """

    table: str
    name: str
    type: str
    zone: ZoneInfo
    formats: Sequence[str]
    day: str | None = None
    unit: str | None = None
    fits: re.Pattern[str] | None = None
    apart: timedelta = timedelta()

    def window(self, first: datetime | None, end: datetime | None) -> Window:
        """What holds all that starts at `first` or later, before `end`; see `within`."""
        if self.day is None:
            return Window(self.name, self.type, self._written(first), self._written(end))
        last = None if end is None else end + timedelta(days=1) - timedelta.resolution + self.apart
        start = None if first is None else first - self.apart
        return Window(self.name, self.type, self._day(start), self._day(last))

    def within(
        self, rows: Rows, place: int, first: datetime | None, end: datetime | None
    ) -> Sequence[bool] | None:
        """Which of the rows, whose time stands at `place`, are; None: all. Whatever is no time is told
        of by who checks it.

        InvalidInput for times that are not where the text's order looks for them.
        """
        if self.day is None and self.fits is None:
            return None
        cells = [row[place] for row in rows]
        moments = self.moments(cells)
        for cell, at in zip(cells, moments, strict=True):
            if self.fits is not None and at is not None and not self.fits.match(cell or ""):
                raise InvalidInput.of(
                    f"{self.table}.{self.name}",
                    f"is text, and has times that don't sort as text, such as {cell!r}",
                    f"{_FIX}; or say its time_format, if that begins with %Y, %m and %d",
                )
        if self.day is None:
            return None
        return [
            at is None or ((first is None or at >= first) and (end is None or at < end))
            for at in moments
        ]

    def moments(self, cells: Sequence[str | None]) -> list[datetime | None]:
        times = parse_times(pl.Series(cells, dtype=pl.String), self.formats, str(self.zone))
        return times.moments.to_list()

    def _day(self, at: datetime | None) -> str | None:
        assert self.day is not None, "it is compared by days"
        if at is None:
            return None
        local = at.astimezone(self.zone)
        return _filled(self.day, f"{local:%Y}", f"{local:%m}", f"{local:%d}")

    def _written(self, at: datetime | None) -> str | None:
        if at is None:
            return None
        if self.unit is not None:
            return str((at - _EPOCH) // timedelta(microseconds=UNIX_UNITS[self.unit]))
        local = at.astimezone(self.zone)
        if self.type == "timestamptz":
            return local.isoformat(" ")
        return local.strftime("%Y-%m-%d %H:%M:%S.%f")


def time_column(table: Table, name: str, formats: Sequence[str], zone: ZoneInfo) -> TimeColumn:
    """`formats` are those of its text, or of its numbers. InvalidInput for a column whose order isn't
    that of time.
    """
    kind, where = table.columns[name], (table.name, name, table.columns[name], zone, tuple(formats))
    if kind in _TIMES:
        return TimeColumn(*where)
    if kind == "date":
        return TimeColumn(*where, day="%Y-%m-%d")
    units = [one for one in formats if one in UNIX_UNITS]
    if kind in _NUMBERS:
        if len(units) == 1:
            return TimeColumn(*where, unit=units[0])
        problem = "is a number, and nothing says which time that is"
        raise InvalidInput.of(
            f"{table.name}.{name}", problem,
            f"say time_format = {', '.join(UNIX_UNITS)} in the column map; or {_FIX}",
        )  # fmt: skip
    if len(formats) == len(units) == 1:
        return TimeColumn(
            *where, unit=units[0], fits=re.compile(rf"[0-9]{{{_DIGITS[units[0]]}}}(?![0-9])")
        )
    days = {_day_of(one) for one in formats}
    day = days.pop() if len(days) == 1 else None
    if day is None:
        raise InvalidInput.of(
            f"{table.name}.{name}",
            f"is text in the format {', '.join(formats)}, which doesn't sort by time: what is new "
            "can't be told by it",
            f"{_FIX}; text must begin with the year, the month and the day, like %Y-%m-%d",
        )
    fits = re.compile(_filled(re.escape(day), "[0-9]{4}", "[0-9]{2}", "[0-9]{2}"))
    apart = _FARTHEST if any(one == ISO or "%z" in one.lower() for one in formats) else timedelta()
    return TimeColumn(*where, day=day, fits=fits, apart=apart)


def _day_of(time_format: str) -> str | None:
    """The pattern of the day that such times begin with; None for those that begin otherwise."""
    found = _DAY.match("%Y-%m-%d" if time_format == ISO else time_format.replace("%F", "%Y-%m-%d"))
    return found["day"] if found else None


def _filled(pattern: str, year: str, month: str, day: str) -> str:
    return pattern.replace("%Y", year).replace("%m", month).replace("%d", day)
