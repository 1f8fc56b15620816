"""Which periods have to be computed: those that ended and aren't as their calls are."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.portrait.computing.overdue import closable, last_ended, overdue, spans
from ai_services.portrait.period import PERIOD_TYPES, Period, PeriodType, between, of_date
from ai_services.portrait.periods.period_store import Registered

NOON = datetime(2025, 1, 13, 12, tzinfo=UTC)
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


def keys(days: dict[date, int], registered: dict[str, Registered]) -> list[str]:
    return [period.key for period in overdue("week", days, registered, FIRST, TODAY)]


def to_close(registered: dict[str, Registered], wrong: list[Period]) -> list[str]:
    return [one.key for one in closable("week", wrong, registered, FIRST, TODAY)]


@pytest.mark.parametrize(
    ("stored", "calls", "right"),
    [
        (None, 0, True),
        (None, 1, False),
        (DONE, 1, True),
        (Registered("pending", NOON, 1), 1, True),
        (Registered("computing", NOON, 1), 1, False),
        (Registered("completed", NOON, 1, whole=False), 1, False),
        (DONE, 2, False),
        (Registered("completed", NOON, 3), 2, False),
        (DONE, 0, False),
    ],
)
def test_a_period_is_right_if_it_counts_as_many_calls_as_there_are(
    stored: Registered | None, calls: int, right: bool
) -> None:
    registered = {} if stored is None else {"2024-W52": stored}
    found = keys({date(2024, 12, 29): calls}, registered)
    assert found == ([] if right else ["2024-W52"])


def test_what_is_right_and_open_is_closed_with_or_without_calls() -> None:
    registered = {"2024-W52": DONE, "2025-W02": Registered("pending", NOON, 1)}
    assert to_close(registered, []) == ["2025-W01", "2025-W02"]
    assert to_close(registered, [of_date("week", date(2025, 1, 12))]) == ["2025-W01"]


def test_what_still_runs_is_left_alone() -> None:
    found = overdue("month", {TODAY: 1}, {}, date(2025, 1, 2), TODAY)
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
