"""Read columns of times by a strftime pattern.

As polars does, but for what its patterns take otherwise: `%f` is a fraction here, `%Z` the name of a
zone that means one thing, `%p` the half of a day in Chinese, Japanese and Korean, too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import polars as pl

from ai_services.enrichment.validation.read_time import zone_word

UTC_US: Final = pl.Datetime("us", "UTC")
# Names of zones, which dates have beside those of days and months; UTC and the like mean one thing.
_UNIVERSAL: Final = r"\b(?:UTC|GMT|UT|Zulu|Z)\b"
_ZONE_WORD: Final = r"\b([A-Z]{2,5}T|[A-Z][A-Za-z_]+/[A-Za-z_/+\-0-9]+)\b"
_HALVES: Final = (
    # Half past eleven "at noon" is before it.
    ("AM${1}", r"中午(\s*1[01](?:\D|$))"),
    ("${1}AM", r"((?:^|\D)1[01](?::\d\d)+\s*)中午"),
    ("AM", r"上午|午前|凌晨|早上|오전|[Aa]\.[Mm]\."),
    ("PM", r"下午|午后|午後|中午|오후|[Pp]\.[Mm]\."),
)


def read_pattern(cells: pl.Series, pattern: str, timezone: str | None) -> pl.Series:
    """UTC microseconds; null where a cell is null or not a time in the pattern."""
    if _needs_python(pattern):
        naive = pl.Series(
            cells.name, [_strptime(text, pattern) for text in cells], dtype=pl.Datetime("us")
        )
        return _in_zone(naive, timezone)
    if "%p" in pattern:
        for half, others in _HALVES:
            cells = cells.str.replace(others, half)
    if "%Z" in pattern:
        return _with_zone_words(cells, pattern, timezone)
    times = cells.str.to_datetime(_chrono(pattern), time_unit="us", strict=False)
    if getattr(times.dtype, "time_zone", None) is not None:
        return times.cast(UTC_US)
    return _in_zone(times, timezone)


def _with_zone_words(cells: pl.Series, pattern: str, timezone: str | None) -> pl.Series:
    """Times with the name of a zone; null for names that may mean several. An offset beside the name
    says more than it.
    """
    if "%z" in pattern:
        bare = re.sub(r"(?<!\s)\s*+%Z", "", pattern)
        named = cells.str.replace(rf"\s*{_ZONE_WORD}|\s*{_UNIVERSAL}", "")
        return named.str.to_datetime(_chrono(bare), time_unit="us", strict=False).cast(UTC_US)
    universal = cells.str.replace(_UNIVERSAL, "+0000")
    offsets = _chrono(pattern.replace("%Z", "%z"))
    moments = universal.str.to_datetime(offsets, time_unit="us", strict=False).cast(UTC_US)
    words = cells.str.extract(_ZONE_WORD)
    if words.null_count() == len(words):
        return moments
    named = universal.str.replace(_ZONE_WORD, "+0000")
    local = named.str.to_datetime(offsets, time_unit="us", strict=False).dt.replace_time_zone(None)
    for word in words.drop_nulls().unique():
        zone = zone_word(word, timezone)
        if zone is not None:
            here = pl.select(pl.when(words == word).then(local).alias(cells.name)).to_series()
            there = here if zone.delta is None else here - zone.delta
            moments = coalesced(moments, localise(there, zone.region or "UTC"))
    return moments


def _chrono(pattern: str) -> str:
    """As polars reads it: its `%f` counts nanoseconds, and a fraction is `%.f`."""
    return pattern.replace(".%f", "%.f")


def _needs_python(pattern: str) -> bool:
    return "%f" in _chrono(pattern)


def _strptime(text: str | None, pattern: str) -> datetime | None:
    try:
        read = None if text is None else datetime.strptime(text, pattern)  # noqa: DTZ007 - its zone is found later
    except ValueError:
        return None
    return read if read is None or read.tzinfo is None else None


def _in_zone(naive: pl.Series, timezone: str | None) -> pl.Series:
    if timezone is None:
        return pl.Series(naive.name, [None] * len(naive), dtype=UTC_US)
    return localise(naive, timezone)


def localise(naive: pl.Series, timezone: str) -> pl.Series:
    return naive.dt.replace_time_zone(
        timezone, ambiguous="earliest", non_existent="null"
    ).dt.convert_time_zone("UTC")


def reads_back(pattern: str) -> bool:
    """Whether a time written with the pattern can be read with it, down to the hour."""
    moment = datetime(2024, 3, 5, 14, 20, tzinfo=UTC)
    try:
        if _needs_python(pattern):
            written = pl.Series("probe", [moment.strftime(pattern)])
        else:
            written = pl.Series("probe", [moment]).dt.strftime(_chrono(pattern))
        [read] = read_pattern(written, pattern, "UTC").to_list()
    except (pl.exceptions.PolarsError, ValueError):
        return False
    return read is not None and (read.year, read.month, read.day, read.hour) == (2024, 3, 5, 14)


def odd_zone(text: str, pattern: str, timezone: str | None) -> str | None:
    """The name of a zone that may mean several, where the pattern asks for a name."""
    if "%Z" not in pattern or "%z" in pattern:
        return None
    word = re.search(_ZONE_WORD, text)
    return word[1] if word and zone_word(word[1], timezone) is None else None


def coalesced(first: pl.Series, second: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(first, second).alias(first.name)).to_series()


def other_order(
    cells: pl.Series, moments: pl.Series, pattern: str, timezone: str | None
) -> str | None:
    """What to say where day and month seem to be in the other order than `pattern` has them: it can't
    read some cells that the other order can, along with all that it reads itself.
    """
    if "%d" not in pattern or "%m" not in pattern:
        return None
    if moments.null_count() == cells.null_count():
        return None
    other = pattern.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    read = read_pattern(cells, other, timezone)
    if (read.is_null() & moments.is_not_null()).any() or not (
        read.is_not_null() & moments.is_null()
    ).any():
        return None
    return (
        f"Some values of started_at are no times in the format {pattern}, but those and all others are in "
        f"{other}: day and month may be in the other order, and what came in may lie on wrong days. "
        "Correct time_format, and import the file again."
    )
