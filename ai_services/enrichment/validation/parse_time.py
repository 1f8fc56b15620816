"""Read the start times of calls from a column of text, numbers or timestamps.

Formats: `iso` (RFC 3339 and its common variants: a space for the T, seconds left out,
`+0800`, `+08`; a lower-case t and z; leap seconds), `unix_s`, `unix_ms`, or a strftime pattern such as `%Y/%m/%d %H:%M:%S`.
A time without an offset is an error unless a time zone to assume is given; of a local time
that occurs twice (clocks going back) the earlier is meant, one that never occurs (clocks
going forward) is an error.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from shared.errors import InvalidInput
from shared.instant import parse_instant

ISO: Final = "iso"
UNIX_UNITS: Final = {"unix_s": 1_000_000, "unix_ms": 1_000}  # microseconds in one
_UTC_US: Final = pl.Datetime("us", "UTC")
_EXAMPLE: Final = "2024-03-05T14:20:00+08:00"
_ISO_AWARE: Final = "%Y-%m-%dT%H:%M:%S%.f%#z"
_ISO_NAIVE: Final = "%Y-%m-%dT%H:%M:%S%.f"
_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d|60)(?:[.,](\d{1,9}))?)?"
    r"\s?(Z|z|[+-](?:0\d|1[0-5]):?(?:[0-5]\d)?)?",
    re.ASCII,
)
_DATE: Final = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})", re.ASCII)


def parse_times(cells: pl.Series, time_format: str, timezone: str | None) -> pl.Series:
    """UTC microseconds; null where a cell is null or not a time."""
    if isinstance(cells.dtype, pl.Datetime):
        return _from_timestamps(cells, timezone)
    if time_format in UNIX_UNITS:
        return _from_unix(cells, UNIX_UNITS[time_format])
    if time_format == ISO:
        return _from_iso(cells.cast(pl.String), timezone)
    return _from_pattern(cells.cast(pl.String), time_format, timezone)


def explain_time(text: str, time_format: str, timezone: str | None) -> tuple[str, str]:
    """Why `text` is not a time, and what would be."""
    if time_format in UNIX_UNITS:
        unit = "seconds" if time_format == "unix_s" else "milliseconds"
        return f"is not a Unix time in {unit}", "write a whole number, for example 1709619600"
    if (found := _DATE.match(text)) and not _exists(*map(int, found.groups())):
        return f"{found[0]} does not exist in the calendar", "correct the date"
    if time_format != ISO:
        return (
            f"is not a time in the format {time_format}",
            "correct it, or change time_format in the column map",
        )
    match = _ISO.fullmatch(text)
    if match is None:
        return "is not a time", f"write it like {_EXAMPLE}"
    if match[8] is None and timezone is not None:
        return (
            f"does not exist in {timezone}: the clocks went forward over it",
            "add the offset to UTC",
        )
    if match[8] is None:
        return (
            "has no time zone",
            f"add the offset, like {_EXAMPLE}, or set timezone in the column map",
        )
    return "is not a time", f"write it like {_EXAMPLE}"


def _from_timestamps(cells: pl.Series, timezone: str | None) -> pl.Series:
    if getattr(cells.dtype, "time_zone", None) is not None:
        return cells.cast(_UTC_US)
    if timezone is None:
        return pl.Series(cells.name, [None] * len(cells), dtype=_UTC_US)
    return _localise(cells.cast(pl.Datetime("us")), timezone)


def _from_unix(cells: pl.Series, factor: int) -> pl.Series:
    numbers = cells.cast(pl.Int64, strict=False)
    sane = numbers.is_between(-(10**13), 10**13)  # far beyond any call; keeps the product exact
    frame = pl.select(pl.when(sane).then(numbers * factor).alias(cells.name))
    return frame.to_series().cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _from_iso(cells: pl.Series, timezone: str | None) -> pl.Series:
    """Common spellings in bulk; the rest, if any, one by one."""
    # A 60th second would slip into the next minute.
    sound = pl.select(
        pl.when(~cells.str.contains(r":60(?:[.Zz+-]|$)"))
        .then(cells.str.replace(r"^(\d{4}-\d\d-\d\d) (\d)", "${1}T${2}"))
        .alias(cells.name)
    ).to_series()
    times = sound.str.to_datetime(_ISO_AWARE, time_unit="us", strict=False).cast(_UTC_US)
    if timezone is not None and times.null_count() > cells.null_count():
        naive = sound.str.to_datetime(_ISO_NAIVE, time_unit="us", strict=False)
        times = pl.select(pl.coalesce(times, _localise(naive, timezone))).to_series()
    if times.null_count() == cells.null_count():
        return times
    missed = (times.is_null() & cells.is_not_null()).arg_true()
    parsed = [_one_iso(text, timezone) for text in cells.gather(missed)]
    return times.scatter(missed, pl.Series(parsed, dtype=_UTC_US))


def _one_iso(text: str, timezone: str | None) -> datetime | None:
    match = _ISO.fullmatch(text)
    if match is None:
        return None
    if match[6] == "60":
        return _leap_second(text)
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    try:
        naive = datetime(  # noqa: DTZ001 - its zone is found below
            year,
            month,
            day,
            hour,
            minute,
            int(match[6] or 0),
            int((match[7] or "")[:6].ljust(6, "0")),
        )
        if match[8] is not None:
            offset = match[8].upper().replace("Z", "+00:00")
            return datetime.fromisoformat(naive.isoformat() + offset).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    if timezone is None:
        return None
    aware = naive.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    exists = aware.astimezone(ZoneInfo(timezone)).replace(tzinfo=None) == naive
    return aware if exists else None


def _leap_second(text: str) -> datetime | None:
    """The second after it, as Unix time counts; None for a 60th second that never was one."""
    try:
        return parse_instant("started_at", text)
    except InvalidInput:
        return None


def _from_pattern(cells: pl.Series, pattern: str, timezone: str | None) -> pl.Series:
    times = cells.str.to_datetime(pattern, time_unit="us", strict=False)
    if getattr(times.dtype, "time_zone", None) is not None:
        return times.cast(_UTC_US)
    if timezone is None:
        return pl.Series(cells.name, [None] * len(cells), dtype=_UTC_US)
    return _localise(times, timezone)


def _localise(naive: pl.Series, timezone: str) -> pl.Series:
    return naive.dt.replace_time_zone(
        timezone, ambiguous="earliest", non_existent="null"
    ).dt.convert_time_zone("UTC")


def _exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
