"""Read the start times of calls from a column of text, numbers or timestamps.

Formats: `iso` (RFC 3339, and whatever else means one moment: `read_time`), `unix_s`, `unix_ms`,
`unix_us`, `excel` (serial dates), or a strftime pattern such as `%Y/%m/%d %H:%M:%S`; a column may
have several, of which the first that reads a cell counts. A Unix time in another unit than was said
is known by its size. A time without an offset is an error unless a time zone to assume is given; of
a local time that occurs twice (clocks going back) the earlier is meant, one that never occurs (clocks
going forward) is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

import polars as pl

from ai_services.enrichment.validation.read_time import (
    EXCEL,
    PLAUSIBLE_S,
    UNIT_NAMES,
    UNIX_UNITS,
    Moment,
    ambiguous_zone,
    exists,
    read_time,
    serial_date,
    unix_time,
)
from ai_services.enrichment.validation.time_pattern import (
    UTC_US,
    coalesced,
    localise,
    odd_zone,
    other_order,
    read_pattern,
)
from ai_services.enrichment.validation.written import ROUNDED, exact_number

ISO: Final = "iso"
NAMED_FORMATS: Final = (ISO, *UNIX_UNITS, EXCEL)
_ISO_AWARE: Final = "%Y-%m-%dT%H:%M:%S%.f%#z"
_ISO_NAIVE: Final = "%Y-%m-%dT%H:%M:%S%.f"
_NUMBER: Final = re.compile(r"-?[0-9]{1,16}(?:\.[0-9]{1,9})?")
_SERIAL: Final = re.compile(r"[0-9]{1,6}(?:[.,][0-9]{1,15})?")
_DATE: Final = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", re.ASCII)
_NAMES: Final = {
    **{unit: f"Unix times in {name}" for unit, name in UNIT_NAMES.items()},
    EXCEL: "serial dates of Excel",
}


class Times(NamedTuple):
    """UTC microseconds, null where a cell is null or not a time; what to know of how they are read."""

    moments: pl.Series
    notes: Sequence[str] = ()


def parse_times(cells: pl.Series, formats: Sequence[str], timezone: str | None) -> Times:
    """A column of times. `formats` are tried in their order."""
    if isinstance(cells.dtype, pl.Datetime):
        return Times(_from_timestamps(cells, timezone))
    cells = cells.cast(pl.String)
    moments = pl.Series(cells.name, [None] * len(cells), dtype=UTC_US)
    found: set[str] = set()
    for time_format in formats:
        left = cells if moments.null_count() == len(cells) else _where_null(cells, moments)
        read = _reader(time_format)(left, time_format, timezone)
        found.update(read.notes)
        moments = read.moments if left is cells else coalesced(moments, read.moments)
        if moments.null_count() == cells.null_count():
            break
    notes = [_read_by_size(one, formats) for one in sorted(found)]
    if len(formats) == 1 and (order := other_order(cells, moments, formats[0], timezone)):
        notes.append(order)
    return Times(moments, notes)


def explain_time(text: str, formats: Sequence[str], timezone: str | None) -> tuple[str, str]:
    """Why `text` is not a time, and what would be."""
    if exact_number(text) == "":
        return ROUNDED
    if ISO in formats:
        problem, fix = read_time(text, timezone)[1:3]
        if problem != "is not a time" or len(formats) == 1:
            return problem, fix
    if (found := _DATE.match(text)) and not exists(*map(int, found.groups())):
        return f"{found[0]} does not exist in the calendar", "correct the date"
    if len(formats) > 1:
        told = ", ".join(formats)
        return (
            f"is not a time in any of the formats {told}",
            "correct it, or add its format to time_format",
        )
    [time_format] = formats
    if time_format in UNIX_UNITS:
        unit = UNIT_NAMES[time_format]
        return f"is not a Unix time in {unit}", "write a whole number, for example 1709619600"
    if (word := odd_zone(text, time_format, timezone)) is not None:
        return ambiguous_zone(word)
    return _explain_format(time_format, timezone)


def _explain_format(time_format: str, timezone: str | None) -> tuple[str, str]:
    if time_format == EXCEL:
        if timezone is None:
            return "is a time of Excel, which has no time zone", "set timezone in the column map"
        return "is not a serial date of Excel", "write a number like 45356.597222"
    return (
        f"is not a time in the format {time_format}",
        "correct it, or change time_format in the column map",
    )


_Reader = Callable[[pl.Series, str, str | None], Times]


def _reader(time_format: str) -> _Reader:
    if time_format in UNIX_UNITS:
        return _from_unix
    return {ISO: _from_iso, EXCEL: _from_excel}.get(time_format, _from_pattern)


def _where_null(cells: pl.Series, moments: pl.Series) -> pl.Series:
    return pl.select(pl.when(moments.is_null()).then(cells).alias(cells.name)).to_series()


def _one_by_one(cells: pl.Series, moments: pl.Series, read: Callable[[str], Moment]) -> Times:
    """What the columns' way couldn't read."""
    if moments.null_count() == cells.null_count():
        return Times(moments)
    missed = (moments.is_null() & cells.is_not_null()).arg_true()
    found = [read(text) for text in cells.gather(missed)]
    filled = moments.scatter(missed, pl.Series([one.at for one in found], dtype=UTC_US))
    return Times(filled, sorted({one.read_as for one in found if one.read_as and one.at}))


def _from_timestamps(cells: pl.Series, timezone: str | None) -> pl.Series:
    if getattr(cells.dtype, "time_zone", None) is not None:
        return cells.cast(UTC_US)
    if timezone is None:
        return pl.Series(cells.name, [None] * len(cells), dtype=UTC_US)
    return localise(cells.cast(pl.Datetime("us")), timezone)


def _from_unix(cells: pl.Series, unit: str, _timezone: str | None) -> Times:
    factor = UNIX_UNITS[unit]
    first, last = (edge * 1_000_000 // factor for edge in PLAUSIBLE_S)
    numbers = cells.cast(pl.Int64, strict=False)
    sure = pl.select(
        pl.when(numbers.is_between(first, last, closed="left"))
        .then(numbers * factor)
        .alias(cells.name)
    ).to_series()
    moments = sure.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return _one_by_one(cells, moments, lambda text: _one_unix(text, unit))


def _one_unix(text: str, unit: str) -> Moment:
    text = exact_number(text) or text
    if not _NUMBER.fullmatch(text):
        return Moment(None)
    number = Decimal(text)
    if found := unix_time(number, unit):
        return Moment(found[0], read_as="" if found[1] == unit else found[1])
    try:  # told by the rules of the field: too early, or in the future
        return Moment(datetime.fromtimestamp(float(number * UNIX_UNITS[unit] / 1_000_000), UTC))
    except (ValueError, OverflowError, OSError):
        return Moment(None)


def _from_excel(cells: pl.Series, _format: str, timezone: str | None) -> Times:
    nothing = pl.Series(cells.name, [None] * len(cells), dtype=pl.Datetime("us"))
    if timezone is None:
        return Times(nothing.dt.replace_time_zone("UTC"))
    present = cells.is_not_null().arg_true()
    dates = [
        serial_date(text) if _SERIAL.fullmatch(text) else None for text in cells.gather(present)
    ]
    return Times(
        localise(nothing.scatter(present, pl.Series(dates, dtype=pl.Datetime("us"))), timezone)
    )


def _from_iso(cells: pl.Series, _format: str, timezone: str | None) -> Times:
    """Common spellings in bulk; the rest, if any, one by one."""
    # A 60th second would slip into the next minute.
    sound = pl.select(
        pl.when(~cells.str.contains(r":60(?:[.Zz+-]|$)"))
        .then(cells.str.replace(r"^(\d{4}-\d\d-\d\d) (\d)", "${1}T${2}"))
        .alias(cells.name)
    ).to_series()
    times = sound.str.to_datetime(_ISO_AWARE, time_unit="us", strict=False).cast(UTC_US)
    if timezone is not None and times.null_count() > cells.null_count():
        naive = sound.str.to_datetime(_ISO_NAIVE, time_unit="us", strict=False)
        times = coalesced(times, localise(naive, timezone))
    return _one_by_one(cells, times, lambda text: read_time(text, timezone))


def _from_pattern(cells: pl.Series, pattern: str, timezone: str | None) -> Times:
    return Times(read_pattern(cells, pattern, timezone))


def _read_by_size(found: str, formats: Sequence[str]) -> str:
    said = "no ISO times" if tuple(formats) == (ISO,) else f"not {', '.join(formats)}"
    return (
        f"Some values of started_at are {said}: by their size they were read as {_NAMES[found]} "
        f'(time_format = "{found}").'
    )
