from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.validation.parse_time import explain_time, parse_times

moments = st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


def parse(*texts: str | None, fmt: str = "iso", zone: str | None = None) -> list[datetime | None]:
    times = parse_times(pl.Series("started_at", texts, dtype=pl.String), fmt, zone)
    assert times.dtype == pl.Datetime("us", "UTC")
    return times.to_list()


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


@given(moments, offsets, st.sampled_from("T "), st.sampled_from(["auto", "seconds", "minutes"]))
def test_every_iso_time_with_an_offset_is_read_exactly(
    moment: datetime, offset: timezone, separator: str, precision: str
) -> None:
    text = moment.replace(tzinfo=offset).isoformat(separator, precision)
    assert parse(text) == [datetime.fromisoformat(text).astimezone(UTC)]


@pytest.mark.parametrize(
    "text",
    [
        "2024-03-05T14:20:00Z",
        "2024-03-05 14:20:00z",
        "2024-03-05T22:20:00+0800",
        "2024-03-05T22:20:00+08",
        "2024-03-05 22:20:00 +08:00",
        "2024-03-05T14:20Z",
        "2024-03-05T14:20:00,000Z",
        "2024-03-05t14:20:00z",
        "2024-03-05t22:20:00.000+08:00",
    ],
)
def test_common_spellings_are_understood(text: str) -> None:
    assert parse(text, None) == [utc(2024, 3, 5, 14, 20), None]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2024-02-30T10:00:00Z", "2024-02-30 does not exist in the calendar"),
        ("2023-02-29 10:00", "2023-02-29 does not exist in the calendar"),
        ("2024-03-05T10:00:00", "has no time zone"),
        ("2024-03-05 10:00", "has no time zone"),
        ("2024-03-05", "is not a time"),
        ("2024-03-05T24:00:00Z", "is not a time"),
        ("2024-03-05T23:59:60Z", "is not a time"),
        ("2024-3-5T4:5:60Z", "is not a time"),
        ("2024-03-05T10:00:00+99:00", "is not a time"),
        ("yesterday", "is not a time"),
        ("1709619600", "is not a time"),
        ("２０２４-03-05T10:00:00Z", "is not a time"),
    ],
)
def test_what_is_no_time_is_explained(text: str, problem: str) -> None:
    assert parse(text) == [None]
    told, fix = explain_time(text, "iso", None)
    assert told == problem
    assert fix


@pytest.mark.parametrize(
    "text", ["2016-12-31T23:59:60Z", "2017-01-01t07:59:60.5+08:00", "2016-12-31 18:59:60-05:00"]
)
def test_a_leap_second_is_the_second_after_it(text: str) -> None:
    assert parse(text) == [utc(2017, 1, 1)]


def test_a_time_without_offset_is_read_in_the_zone_given() -> None:
    texts = ("2024-03-05T14:20:00", "2024-03-05 14:20", "2024-03-05T14:20:00Z")
    assert parse(*texts, zone="Asia/Shanghai") == [
        utc(2024, 3, 5, 6, 20),
        utc(2024, 3, 5, 6, 20),
        utc(2024, 3, 5, 14, 20),
    ]


@pytest.mark.parametrize("end", ["", ":00"])
def test_clock_changes_take_the_earlier_and_refuse_the_impossible(end: str) -> None:
    assert parse(f"2024-10-27T02:30{end}", zone="Europe/Berlin") == [utc(2024, 10, 27, 0, 30)]
    assert parse(f"2024-03-31T02:30{end}", zone="Europe/Berlin") == [None]
    problem, _ = explain_time(f"2024-03-31T02:30{end}", "iso", "Europe/Berlin")
    assert "does not exist in Europe/Berlin" in problem


def test_unix_times_are_read_in_their_unit() -> None:
    assert parse("1709619600", "-1", "1e9", "x", str(2**62), fmt="unix_s") == [
        utc(2024, 3, 5, 6, 20),
        utc(1969, 12, 31, 23, 59, 59),
        None,
        None,
        None,
    ]
    assert parse("1709619600500", fmt="unix_ms") == [utc(2024, 3, 5, 6, 20, 0, 500_000)]
    assert explain_time("x", "unix_ms", None)[0] == "is not a Unix time in milliseconds"


def test_a_pattern_reads_local_times() -> None:
    pattern = "%Y/%m/%d %H:%M:%S"
    assert parse("2024/03/05 14:20:00", "05.03.2024", fmt=pattern, zone="Asia/Shanghai") == [
        utc(2024, 3, 5, 6, 20),
        None,
    ]
    assert parse("2024/03/05 14:20:00", fmt=pattern) == [None]
    assert explain_time("2024/02/30 14:20:00", pattern, None)[0].endswith("exist in the calendar")
    assert parse("2024/03/05 14:20+0800", fmt="%Y/%m/%d %H:%M%z") == [utc(2024, 3, 5, 6, 20)]
