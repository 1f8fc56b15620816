"""Which periods have to be computed: those that ended and aren't as their calls are."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.portrait.computing.overdue import last_ended, overdue, spans
from ai_services.portrait.computing.period_store import Day, Registered
from ai_services.portrait.period import PERIOD_TYPES, Period, PeriodType, between, of_date

NOON = datetime(2025, 1, 13, 12, tzinfo=UTC)
BEFORE = NOON - timedelta(days=2)
TODAY = date(2025, 1, 13)  # a Monday
FIRST = date(2024, 12, 23)  # a Monday, three weeks before
DONE = Registered("completed", NOON, 1)


@pytest.mark.parametrize(
    ("period_type", "today", "key"),
    [
        ("week", date(2024, 12, 30), "2024-W52"),  # the first day of 2025-W01
        ("week", date(2025, 1, 5), "2024-W52"),  # its last
        ("week", date(2025, 1, 6), "2025-W01"),
        ("week", date(2021, 1, 3), "2020-W52"),  # of 53
        ("week", date(2021, 1, 4), "2020-W53"),
        ("month", date(2025, 1, 1), "2024-12"),
        ("month", date(2024, 3, 1), "2024-02"),
        ("quarter", date(2025, 1, 1), "2024-Q4"),
        ("quarter", date(2025, 3, 31), "2024-Q4"),
        ("quarter", date(2025, 4, 1), "2025-Q1"),
    ],
)
def test_the_last_period_that_ended(period_type: PeriodType, today: date, key: str) -> None:
    assert last_ended(period_type, today).key == key


@given(st.sampled_from(PERIOD_TYPES), st.dates(date(1990, 1, 1), date(2100, 1, 1)))
def test_it_ended_before_today_and_the_next_one_has_not(
    period_type: PeriodType, today: date
) -> None:
    found = last_ended(period_type, today)
    assert found.end < today <= found.next().end


def keys(days: dict[date, Day], registered: dict[str, Registered]) -> list[str]:
    return [period.key for period in overdue("week", days, registered, FIRST, TODAY)]


def test_what_was_never_computed_is_overdue_with_or_without_calls() -> None:
    assert keys({FIRST: Day(3, BEFORE)}, {}) == ["2024-W52", "2025-W01", "2025-W02"]


@pytest.mark.parametrize(
    ("stored", "day", "current"),
    [
        (DONE, Day(1, BEFORE), True),
        (Registered("pending", NOON, 1), Day(1, BEFORE), False),
        (Registered("computing", NOON, 1), Day(1, BEFORE), False),
        (Registered("completed", None, 1), Day(1, BEFORE), False),
        (DONE, Day(2, BEFORE), False),  # one came in, or moved here
        (Registered("completed", NOON, 3), Day(2, BEFORE), False),  # one is gone
        (DONE, Day(1, NOON + timedelta(seconds=1)), False),  # it was corrected
        # It may have been committed after the computation.
        (DONE, Day(1, NOON - timedelta(minutes=59)), False),
    ],
)
def test_a_period_is_current_as_long_as_its_calls_are_those_that_were_counted(
    stored: Registered, day: Day, current: bool
) -> None:
    registered = {"2024-W52": stored, "2025-W01": Registered("completed", NOON, 0)}
    found = keys({date(2024, 12, 29): day}, registered)
    assert found == [*([] if current else ["2024-W52"]), "2025-W02"]


def test_a_period_whose_calls_are_all_gone_is_overdue() -> None:
    registered = dict.fromkeys(["2024-W52", "2025-W01"], DONE)
    assert keys({date(2025, 1, 5): Day(1, BEFORE)}, registered) == ["2024-W52", "2025-W02"]


def test_what_still_runs_is_left_alone() -> None:
    found = overdue("month", {TODAY: Day(1, BEFORE)}, {}, date(2025, 1, 2), TODAY)
    assert found == []


@given(st.sampled_from(PERIOD_TYPES), st.sets(st.integers(0, 60)))
def test_spans_cover_just_the_periods_and_none_touches_another(
    period_type: PeriodType, places: set[int]
) -> None:
    periods: list[Period] = []
    period = of_date(period_type, date(2019, 11, 4))
    for place in range(61):
        periods += [period] if place in places else []
        period = period.next()
    found = spans(periods)
    covered = [one for first, last in found for one in between(period_type, first, last)]
    assert covered == periods
    for (_, end), (start, _) in pairwise(found):
        assert end + timedelta(days=1) < start
