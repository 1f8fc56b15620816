"""The laws of natural periods."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ai_services.portrait.period import (
    FIRST_DAY,
    LAST_DAY,
    PERIOD_TYPES,
    Period,
    PeriodType,
    between,
    of_date,
    parse,
    parse_any,
)
from shared.errors import InvalidInput

DAY = timedelta(days=1)
types = st.sampled_from(PERIOD_TYPES)
dates = st.dates(FIRST_DAY, LAST_DAY) | st.dates(date(2019, 12, 20), date(2027, 1, 10))


@given(types, dates)
def test_a_date_lies_in_its_period_and_in_neither_neighbour(
    period_type: PeriodType, day: date
) -> None:
    period = of_date(period_type, day)
    assert period.start <= day <= period.end
    assert all(
        of_date(period_type, inside) == period
        for inside in (period.start, min(period.end, LAST_DAY))
    )
    if period.end < LAST_DAY:
        assert of_date(period_type, period.end + DAY) != period
    if period.start > FIRST_DAY:
        assert of_date(period_type, period.start - DAY) != period


@given(types, dates)
def test_a_key_names_its_period(period_type: PeriodType, day: date) -> None:
    period = of_date(period_type, day)
    assert parse(period_type, period.key) == period
    assert parse_any(period.key) == period


@given(types, dates)
def test_next_and_previous_are_each_others_inverse(period_type: PeriodType, day: date) -> None:
    period = of_date(period_type, day)
    if period.end < LAST_DAY:
        assert period.next().previous() == period
        assert period.next().start == period.end + DAY
    if period.start > FIRST_DAY:
        assert period.previous().next() == period


@given(types, dates, dates)
def test_keys_sort_as_time_does(period_type: PeriodType, one: date, other: date) -> None:
    a, b = of_date(period_type, one), of_date(period_type, other)
    assert (a.key < b.key) == (a.start < b.start)
    assert (a.key == b.key) == (a.start == b.start)


@given(types, dates, st.integers(0, 800))
def test_periods_between_two_dates_cover_them_without_gap_or_overlap(
    period_type: PeriodType, first: date, days: int
) -> None:
    assume((LAST_DAY - first).days >= days)
    last = first + days * DAY
    found = list(between(period_type, first, last))
    assert found[0].start <= first <= found[0].end
    assert found[-1].start <= last <= found[-1].end
    assert all(a.end + DAY == b.start for a, b in pairwise(found))


@given(types, dates, st.integers(0, 60))
def test_back_counts_periods(period_type: PeriodType, day: date, steps: int) -> None:
    newest = of_date(period_type, day)
    oldest = newest.back(steps)
    count = sum(1 for _ in between(period_type, oldest.start, newest.start))
    assert count == steps + 1 or oldest.start == FIRST_DAY


def test_nothing_lies_between_dates_the_wrong_way_round() -> None:
    assert list(between("week", date(2024, 1, 2), date(2024, 1, 1))) == []


@pytest.mark.parametrize(
    ("day", "week"),
    [
        (date(2020, 12, 31), "2020-W53"),
        (date(2021, 1, 3), "2020-W53"),
        (date(2021, 1, 4), "2021-W01"),
        (date(2024, 12, 29), "2024-W52"),
        (date(2024, 12, 30), "2025-W01"),
        (date(2018, 12, 31), "2019-W01"),
        (date(2027, 1, 3), "2026-W53"),
        (date(2024, 12, 4), "2024-W49"),
    ],
)
def test_weeks_at_the_borders_of_years(day: date, week: str) -> None:
    assert of_date("week", day).key == week


def test_a_year_has_a_53rd_week_when_iso_says_so() -> None:
    years_with_53 = [
        year
        for year in range(2000, 2100)
        if of_date("week", date(year, 12, 31)).key == f"{year}-W53"
    ]
    assert years_with_53 == [
        2004, 2009, 2015, 2020, 2026, 2032, 2037, 2043, 2048, 2054, 2060, 2065, 2071, 2076, 2082,
        2088, 2093, 2099,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("period_type", "key", "start", "end", "label", "short"),
    [
        ("week", "2024-W49", date(2024, 12, 2), date(2024, 12, 8), "2024年第49周", "第49周"),
        ("week", "2025-W01", date(2024, 12, 30), date(2025, 1, 5), "2025年第1周", "第1周"),
        ("month", "2024-02", date(2024, 2, 1), date(2024, 2, 29), "2024年2月", "2月"),
        ("month", "2024-12", date(2024, 12, 1), date(2024, 12, 31), "2024年12月", "12月"),
        ("quarter", "2024-Q4", date(2024, 10, 1), date(2024, 12, 31), "2024年第4季度", "第4季度"),
    ],
)
def test_dates_and_labels(
    period_type: PeriodType, key: str, start: date, end: date, label: str, short: str
) -> None:
    period = parse(period_type, key)
    assert period == Period(period_type, key, start, end)
    assert (period.label, period.short_label) == (label, short)


@pytest.mark.parametrize(
    ("period_type", "key", "fix"),
    [
        ("week", "2024-W60", "2024-W01 to 2024-W52"),
        ("week", "2021-W53", "2021-W01 to 2021-W52"),
        ("week", "2020-W54", "2020-W01 to 2020-W53"),
        ("week", "2024-W00", "2024-W01"),
        ("week", "2024-49", "2024-W49"),
        ("week", "2024-W9", "2024-W49"),
        ("week", "2024-W49 ", "2024-W49"),
        ("week", "２０２４-W49", "2024-W49"),
        ("month", "2024-13", "2024-01 to 2024-12"),
        ("month", "2024-00", "2024-01"),
        ("month", "2024-W49", "2024-11"),
        ("quarter", "2024-Q5", "2024-Q1 to 2024-Q4"),
        ("quarter", "2024-Q0", "2024-Q1"),
        ("quarter", "", "2024-Q4"),
        ("week", "0000-W01", "0001"),
        ("month", "9999-12", "9998"),
    ],
)
def test_a_key_that_names_nothing_is_refused_with_the_fix(
    period_type: PeriodType, key: str, fix: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(period_type, key)
    (detail,) = caught.value.details
    assert detail.field == "period_key"
    assert detail.problem
    assert fix in detail.fix


@pytest.mark.parametrize("key", ["2024", "2024-Q", "week", "2024-W60", "2024-13"])
def test_a_key_of_no_type_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput):
        parse_any(key)


@given(types, st.text(max_size=12))
def test_any_text_is_a_period_or_an_input_error(period_type: PeriodType, text: str) -> None:
    with suppress(InvalidInput):
        assert parse(period_type, text).key == text


def test_the_calendar_ends_with_an_input_error() -> None:
    with pytest.raises(InvalidInput):
        of_date("month", date(9999, 1, 1))
    with pytest.raises(InvalidInput):
        of_date("week", FIRST_DAY).previous()
    with pytest.raises(InvalidInput):
        of_date("quarter", LAST_DAY).next()
