"""A table is read by times only where its order is that of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.enrichment.sources.databases.database import Table
from ai_services.enrichment.sources.time_column import TimeColumn, time_column
from shared.errors import InvalidInput

ZONE = ZoneInfo("Asia/Shanghai")
FIRST, END = (datetime(2024, 12, day, tzinfo=ZONE) for day in (2, 4))
UNITS = {"unix_s": 1, "unix_ms": 1_000, "unix_us": 1_000_000}
# Formats of text whose order is that of days, and how times are written in them.
SAME = (
    "%Y-%m-%d %H:%M:%S",
    "%Y/%m/%d %I:%M %p",
    "%Y%m%d%H%M%S",
    "%Y年%m月%d日 %H:%M",
    "%Y-%m-%dT%H:%M:%S%z",
)
WRITTEN = {**{one: one for one in SAME}, "%F": "%Y-%m-%d", "iso": "%Y-%m-%dT%H:%M:%S%z"}


def column(type_: str, *formats: str) -> TimeColumn:
    return time_column(Table("cdr", {"at": type_}), "at", formats, ZONE)


def read(
    found: TimeColumn, cells: list[str], first: datetime | None, end: datetime | None
) -> list[str]:
    """What a source finds, without what is left out of that."""
    window = found.window(first, end)
    key = int if found.type == "bigint" else str
    rows = [
        (cell,)
        for cell in cells
        if (window.first is None or key(cell) >= key(window.first))  # type: ignore[operator]
        and (window.end is None or key(cell) < key(window.end))  # type: ignore[operator]
    ]
    kept = found.within(rows, 0, first, end)
    return [row[0] for row, keep in zip(rows, kept or [True] * len(rows), strict=True) if keep]


MOMENTS = st.datetimes(datetime(2024, 11, 28), datetime(2024, 12, 8), timezones=st.just(UTC))
EDGES = st.none() | MOMENTS.map(lambda at: at.replace(minute=0, second=0, microsecond=0))


@pytest.mark.parametrize("time_format", WRITTEN)
@settings(max_examples=10, deadline=None)
@given(st.lists(MOMENTS, min_size=50, max_size=50), EDGES, EDGES, st.integers(-12, 14))
def test_text_is_read_exactly_if_its_time_is_in_the_span(
    time_format: str, moments: list[datetime], first: Any, end: Any, hours: int
) -> None:
    written = WRITTEN[time_format]
    zone = timezone(timedelta(hours=hours)) if "%z" in written else ZONE
    cells = [at.astimezone(zone).strftime(written) for at in moments]
    found = column("varchar", time_format)
    expected = [
        cell
        for cell, at in zip(cells, found.moments(cells), strict=True)
        if at is not None and (first is None or at >= first) and (end is None or at < end)
    ]
    assert read(found, cells, first, end) == expected


@pytest.mark.parametrize("type_", ["bigint", "varchar"])
@pytest.mark.parametrize("unit", UNITS)
def test_unix_times_are_compared_in_their_unit(unit: str, type_: str) -> None:
    moments = (FIRST - timedelta(seconds=1), FIRST, END - timedelta(seconds=1), END)
    cells = [str(int(at.timestamp()) * UNITS[unit]) for at in moments]
    assert read(column(type_, unit), cells, FIRST, END) == cells[1:3]


@pytest.mark.parametrize("type_", ["datetime", "timestamp", "timestamptz"])
def test_times_of_the_source_are_compared_as_such(type_: str) -> None:
    window = column(type_, "%d/%m/%Y").window(FIRST, END)
    assert str(window.first).startswith("2024-12-02 00:00:00")
    assert str(window.end).startswith("2024-12-04 00:00:00")


@pytest.mark.parametrize(
    "formats",
    [
        ("%d/%m/%Y %H:%M",),
        ("%m/%d/%Y",),
        ("%y-%m-%d",),
        ("%H:%M %Y-%m-%d",),
        ("%Y-%d-%m",),
        ("%b %d %Y",),
        ("excel",),
        ("%Y-%m-%d", "%Y/%m/%d"),
        ("unix_s", "unix_ms"),
        ("iso", "unix_s"),
    ],
    ids=" ".join,
)
def test_text_that_does_not_sort_is_refused_with_its_column_and_what_to_do(
    formats: tuple[str, ...],
) -> None:
    with pytest.raises(InvalidInput, match=r"cdr\.at.*doesn't sort by time.*view") as raised:
        column("varchar", *formats)
    assert formats[0] in raised.value.message


@pytest.mark.parametrize("formats", [("iso",), ("%Y%m%d",), ("unix_s", "unix_ms")], ids=" ".join)
def test_a_number_of_which_nobody_says_what_it_counts_is_refused(formats: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"cdr\.at.*time_format = unix_s, unix_ms, unix_us"):
        column("bigint", *formats)


@pytest.mark.parametrize(
    ("formats", "cell"),
    [
        (("iso",), "2024/12/02 10:00:00"),
        (("%Y-%m-%d %H:%M",), "2024-12-2 10:00"),
        (("%Y-%m-%d %H:%M",), "2024-1-02 10:00"),
        (("unix_s",), "1733104800000"),
    ],
)
def test_times_that_stand_where_the_order_does_not_look_are_told(
    formats: tuple[str, ...], cell: str
) -> None:
    found = column("text", *formats)
    with pytest.raises(InvalidInput, match=r"cdr\.at.*don't sort") as raised:
        found.within([("2024-12-02 10:00",), (cell,)], 0, None, END)
    assert cell in raised.value.message


def test_what_is_no_time_is_left_to_who_checks_the_rows() -> None:
    assert column("text", "iso").within([(None,), ("soon",), ("",)], 0, FIRST, END) == [True] * 3
