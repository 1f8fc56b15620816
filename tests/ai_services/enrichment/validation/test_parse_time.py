from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.validation.parse_time import (
    Times,
    explain_time,
    parse_times,
)
from ai_services.enrichment.validation.time_pattern import reads_back

moments = st.datetimes(datetime(2000, 1, 1), datetime(2035, 1, 1))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


def parse(
    *texts: str | None, fmt: str | tuple[str, ...] = "iso", zone: str | None = None
) -> list[datetime | None]:
    return read(*texts, fmt=fmt, zone=zone).moments.to_list()


def read(*texts: str | None, fmt: str | tuple[str, ...] = "iso", zone: str | None = None) -> Times:
    formats = (fmt,) if isinstance(fmt, str) else fmt
    times = parse_times(pl.Series("started_at", texts, dtype=pl.String), formats, zone)
    assert times.moments.dtype == pl.Datetime("us", "UTC")
    return times


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
        "2024-03-05 14:20:00 UTC",
        "2024-03-05T14:20:00 GMT",
        "2024-03-05T22:20:00GMT+8",
        "2024-03-05 22:20:00+08:00[Asia/Shanghai]",
        "2024-03-05T22:20:00[Asia/Shanghai]",
        "2024-03-05 22:20:00 Asia/Shanghai",
        "2024-03-05T06:20:00−08:00",
        "2024-3-5 22:20:00+8",
        "2024/03/05 22:20:00+08:00",
        "2024年3月5日 22:20:00 +08:00",
        "2024年3月5日22时20分+08:00",
        "20240305T142000Z",
        "２０２４-03-05T14:20:00Z",
        "2024-03-05 02:20:00 PM Z",
        "2024-03-05 下午10:20+08:00",
        "2024/3/5 下午10:20:00 +0800",
        "1709648400",
        "1709648400.0",
        "1709648400000",
        "1709648400000000",
        "1.7096484000E+09",
    ],
)
def test_common_spellings_are_understood(text: str) -> None:
    assert parse(text, None) == [utc(2024, 3, 5, 14, 20), None]


@pytest.mark.parametrize(
    ("said", "hour", "minute"),
    [
        ("中午11:30", 11, 30), ("中午10:59", 10, 59), ("中午12:00", 12, 0), ("中午12:30", 12, 30),
        ("中午1:00", 13, 0), ("中午1点05分", 13, 5), ("中午 2:20", 14, 20), ("凌晨12:30", 0, 30),
        ("上午11:30", 11, 30), ("下午1:00", 13, 0), ("下午12:30", 12, 30), ("傍晚6:00", 18, 0),
    ],
)  # fmt: skip
def test_the_half_of_the_day_tells_the_hour(said: str, hour: int, minute: int) -> None:
    assert parse(f"2024-03-05 {said}Z", None) == [utc(2024, 3, 5, hour, minute), None]
    if ":" in said and "傍晚" not in said:
        for written, pattern in (
            (f"2024/3/5 {said}", "%Y/%m/%d %p%I:%M"),
            (f"2024/3/5 {said[2:].strip()} {said[:2]}", "%Y/%m/%d %I:%M %p"),
        ):
            cells = pl.Series("started_at", [written.replace("中午 ", "中午")])
            times = parse_times(cells, [pattern], "UTC")
            assert times.moments.to_list() == [utc(2024, 3, 5, hour, minute)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2024-02-30T10:00:00Z", "2024-02-30 does not exist in the calendar"),
        ("2023-02-29 10:00", "2023-02-29 does not exist in the calendar"),
        ("2024-03-05T10:00:00", "has no time zone"),
        ("2024-03-05 10:00", "has no time zone"),
        ("2024-03-05", "has no time of day"),
        ("2024-03-05T24:00:01Z", "is not a time"),
        ("2024-03-05T14:60:00Z", "is not a time"),
        ("2024-03-05 14:20 上午", "is not a time"),
        ("2024-03-05T14:20:00 CST", "names the time zone 'CST', which may mean several"),
        ("05/03/2024 09:05", "doesn't say which number is the day and which the month"),
        ("45356.597222", "has no time zone"),
        ("1.7096196E+09", "a spreadsheet has rounded it: its last digits are lost"),
        ("20240305142000", "has no time zone"),
        ("2024-03-05T23:59:60Z", "is not a time"),
        ("2024-3-5T4:5:60Z", "is not a time"),
        ("2024-03-05T10:00:00+99:00", "is not a time"),
        ("yesterday", "is not a time"),
        ("17096196", "is not a time"),
    ],
)
def test_what_is_no_time_is_explained(text: str, problem: str) -> None:
    assert parse(text) == [None]
    told, fix = explain_time(text, ("iso",), None)
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
    problem, _ = explain_time(f"2024-03-31T02:30{end}", ("iso",), "Europe/Berlin")
    assert "does not exist in Europe/Berlin" in problem


def test_unix_times_are_read_in_their_unit() -> None:
    assert parse("1709619600", "-1", "x y", "x", str(2**62), fmt="unix_s") == [
        utc(2024, 3, 5, 6, 20),
        utc(1969, 12, 31, 23, 59, 59),
        None,
        None,
        None,
    ]
    assert parse("1709619600500", fmt="unix_ms") == [utc(2024, 3, 5, 6, 20, 0, 500_000)]
    assert explain_time("x", ("unix_ms",), None)[0] == "is not a Unix time in milliseconds"


def test_a_pattern_reads_local_times() -> None:
    pattern = "%Y/%m/%d %H:%M:%S"
    assert parse("2024/03/05 14:20:00", "05.03.2024", fmt=pattern, zone="Asia/Shanghai") == [
        utc(2024, 3, 5, 6, 20),
        None,
    ]
    assert parse("2024/03/05 14:20:00", fmt=pattern) == [None]
    assert explain_time("2024/02/30 14:20:00", (pattern,), None)[0].endswith(
        "exist in the calendar"
    )
    assert parse("2024/03/05 14:20+0800", fmt="%Y/%m/%d %H:%M%z") == [utc(2024, 3, 5, 6, 20)]


def test_24_00_is_the_midnight_that_ends_the_day() -> None:
    assert parse("2024-02-29 24:00:00Z", "20231231T240000Z") == [utc(2024, 3, 1), utc(2024, 1, 1)]


@pytest.mark.parametrize(
    ("text", "hour", "minute"),
    [
        ("2025/3/5 下午2:25", 14, 25),
        ("2025/3/5 上午12:20:00", 0, 20),
        ("2025/3/5 下午12:20:00", 12, 20),
        ("2025-3-5 2:25 PM", 14, 25),
        ("2025-03-05 12:05 a.m.", 0, 5),
        ("2025年3月5日 9:05", 9, 5),
        ("2025-03-05 9:05", 9, 5),
    ],
)
def test_half_days_and_local_spellings(text: str, hour: int, minute: int) -> None:
    [moment] = parse(text, zone="UTC")
    assert moment == utc(2025, 3, 5, hour, minute)


def test_a_unix_time_in_another_unit_is_known_by_its_size_and_told() -> None:
    times = read("1709619600000", "1709619600.123", "1709619600123456", fmt="unix_s")
    at = utc(2024, 3, 5, 6, 20)
    assert times.moments.to_list() == [
        at, at.replace(microsecond=123_000), at.replace(microsecond=123_456),
    ]  # fmt: skip
    assert [unit in " ".join(times.notes) for unit in ("unix_ms", "unix_us")] == [True, True]
    assert read("1709619600", fmt="unix_s").notes == []
    assert "unix_s" in read("1709619600", fmt="unix_ms").notes[0]


@given(st.integers(946_684_800 * 10**6, 4_102_444_800 * 10**6 - 1), st.sampled_from([0, 3, 6]))
def test_every_unix_time_is_read_exactly(microseconds: int, decimals: int) -> None:
    number = microseconds // 10 ** (6 - decimals)
    whole, rest = divmod(number, 10**decimals)
    text = f"{whole}.{rest:0{decimals}}" if decimals else str(whole)
    expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        microseconds=number * 10 ** (6 - decimals)
    )
    assert parse(text, fmt="unix_s") == parse(text) == [expected]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)), st.sampled_from([6, 8, 10]))
def test_every_second_comes_back_from_a_serial_date(moment: datetime, decimals: int) -> None:
    moment = moment.replace(microsecond=0)
    days = Decimal(int((moment - datetime(1899, 12, 30)).total_seconds())) / 86_400
    text = str(round(days, decimals))
    assert parse(text, fmt="excel", zone="UTC") == [moment.replace(tzinfo=UTC)]


@given(
    moments,
    st.sampled_from(["%Y/%m/%d %H:%M:%S.%f", "%Y年%m月%d日 %p%I:%M:%S", "%d.%m.%Y %H:%M:%S"]),
)
def test_what_a_pattern_writes_it_reads(moment: datetime, pattern: str) -> None:
    moment = moment if "%f" in pattern else moment.replace(microsecond=0)
    text = moment.strftime(pattern).replace("AM", "上午").replace("PM", "下午")
    assert parse(text, fmt=pattern, zone="UTC") == [moment.replace(tzinfo=UTC)]


def test_a_serial_date_is_found_by_itself_and_told() -> None:
    times = read("45356.597222", zone="Asia/Shanghai")
    assert times.moments.to_list() == [utc(2024, 3, 5, 6, 20)]
    assert "serial dates of Excel" in times.notes[0]
    assert "no time zone" in explain_time("45356.597222", ("excel",), None)[0]


def test_a_column_may_have_several_formats() -> None:
    formats = ("%Y/%m/%d %H:%M", "iso", "%m/%d/%Y %H:%M")
    texts = ("2024/3/5 9:05", "2024-03-05 09:05:00", "2024年3月5日 9:05", "3/5/2024 9:05", "soon")
    at = utc(2024, 3, 5, 9, 5)
    assert parse(*texts, fmt=formats, zone="UTC") == [at, at, at, at, None]
    assert "any of the formats" in explain_time("soon", formats, "UTC")[0]


def test_the_names_of_zones_are_honoured_where_they_mean_one() -> None:
    pattern = "%Y-%m-%d %H:%M:%S %Z"
    texts = [f"2024-03-05 06:20:00 {zone}" for zone in ("UTC", "GMT", "Z", "Asia/Tokyo", "CST")]
    at = utc(2024, 3, 5, 6, 20)
    assert parse(*texts, fmt=pattern, zone="Europe/Berlin") == [
        at,
        at,
        at,
        utc(2024, 3, 4, 21, 20),
        None,
    ]
    problem, fix = explain_time(texts[-1], (pattern,), "Europe/Berlin")
    assert "'CST'" in problem
    assert "offset" in fix


def test_an_ambiguous_zone_is_that_of_the_source_where_it_goes_by_the_name() -> None:
    local = "2024-03-05 14:20:00 CST"
    for fmt in ("iso", "%Y-%m-%d %H:%M:%S %Z"):
        assert parse(local, fmt=fmt, zone="Asia/Shanghai") == [utc(2024, 3, 5, 6, 20)]
        assert parse(local, fmt=fmt, zone="America/Chicago") == [utc(2024, 3, 5, 20, 20)]
        assert parse(local, fmt=fmt, zone="Europe/Berlin") == [None]


def test_an_offset_beside_a_name_is_what_counts() -> None:
    pattern = "%Y-%m-%d %H:%M:%S %z %Z"
    assert parse("2024-03-05 14:20:00 +0800 CST", fmt=pattern) == [utc(2024, 3, 5, 6, 20)]


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("%Y-%m-%d %H:%M:%S.%f", "2024-03-05 14:20:00.500000"),
        ("%d-%b-%y %I.%M.%S.%f %p", "05-MAR-24 02.20.00.500000 PM"),
        ("%Y-%m-%d %H:%M:%S,%f", "2024-03-05 14:20:00,5"),
    ],
)
def test_fractions_are_fractions(pattern: str, text: str, recwarn: pytest.WarningsRecorder) -> None:
    assert parse(text, fmt=pattern, zone="UTC") == [utc(2024, 3, 5, 14, 20, 0, 500_000)]
    assert reads_back(pattern)
    assert not recwarn.list


def test_the_other_order_of_day_and_month_is_told() -> None:
    times = read("05/03/2024 09:05", "13/03/2024 09:05", fmt="%m/%d/%Y %H:%M", zone="UTC")
    assert times.moments.null_count() == 1
    assert "%d/%m/%Y %H:%M" in times.notes[0]
    # Where the other order would not read all, nothing is said.
    assert not read("05/13/2024 09:05", "13/05/2024 09:05", fmt="%m/%d/%Y %H:%M", zone="UTC").notes
    assert not read("05/13/2024 09:05", "soon", fmt="%m/%d/%Y %H:%M", zone="UTC").notes
