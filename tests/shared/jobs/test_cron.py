"""Schedules in time zones: once for each time, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInput
from shared.jobs.cron import check_cron, check_zone, last_run, next_run

NEW_YORK = ZoneInfo("America/New_York")
BERLIN = ZoneInfo("Europe/Berlin")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # its clocks move by half an hour
SHANGHAI = ZoneInfo("Asia/Shanghai")
ZONES = (NEW_YORK, BERLIN, LORD_HOWE, SHANGHAI, ZoneInfo("Pacific/Apia"), ZoneInfo("UTC"))
_MINUTE = timedelta(minutes=1)


def runs(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Every run after `start` and not after `end`, one asked for after another."""
    found = []
    run = next_run(expression, zone, start)
    while run is not None and run <= end:
        found.append(run)
        run = next_run(expression, zone, run)
    return found


def local(zone: ZoneInfo, *parts: int) -> datetime:
    return datetime(*parts, tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        # 02:30 doesn't exist: the first moment after the gap.
        (NEW_YORK, (2026, 3, 8), ["2026-03-08T03:00:00-04:00"]),
        (BERLIN, (2026, 3, 29), ["2026-03-29T03:00:00+02:00"]),
        # 02:30 in Berlin comes twice, 01:30 in New York does, 02:30 there doesn't.
        (BERLIN, (2026, 10, 25), ["2026-10-25T02:30:00+02:00"]),
        (NEW_YORK, (2026, 11, 1), ["2026-11-01T02:30:00-05:00"]),
        # From 02:00 to 02:30 here: 02:30 exists, and it is the first moment after the gap.
        (LORD_HOWE, (2026, 10, 4), ["2026-10-04T02:30:00+11:00"]),
        (LORD_HOWE, (2026, 4, 5), ["2026-04-05T02:30:00+10:30"]),
        (SHANGHAI, (2026, 3, 29), ["2026-03-29T02:30:00+08:00"]),
        (SHANGHAI, (1986, 5, 4), ["1986-05-04T03:00:00+09:00"]),  # it had summer time then
    ],
)
def test_half_past_two_runs_once_on_days_on_which_clocks_change(zone, day, expected):
    start = local(zone, *day)
    found = runs("30 2 * * *", zone, start, local(zone, *day) + timedelta(hours=20))
    assert [run.astimezone(zone).isoformat() for run in found] == expected


@pytest.mark.parametrize(
    ("zone", "day", "expression", "times"),
    [
        (NEW_YORK, (2026, 11, 1), "30 1 * * *", ["01:30 EDT"]),
        (LORD_HOWE, (2026, 10, 4), "15 2 * * *", ["02:30 +11"]),  # skipped
        (LORD_HOWE, (2026, 4, 5), "45 1 * * *", ["01:45 +11"]),  # comes twice
        (LORD_HOWE, (2026, 10, 4), "0,15,30 2 * * *", ["02:30 +11"]),  # all three at once
    ],
)
def test_a_time_that_is_skipped_or_repeated_runs_once(zone, day, expression, times):
    start = local(zone, *day)
    found = runs(expression, zone, start, start + timedelta(hours=20))
    assert [run.astimezone(zone).strftime("%H:%M %Z") for run in found] == times


def test_an_interval_goes_by_elapsed_time():
    start = local(BERLIN, 2026, 10, 25)
    found = runs("*/30 * * * *", BERLIN, start, start + timedelta(hours=25))
    assert len(found) == 50  # the day has 25 hours
    assert {later - before for before, later in pairwise(found)} == {timedelta(minutes=30)}


def test_the_seeds_times():
    after = local(SHANGHAI, 2024, 12, 31, 12)

    def first(expression: str) -> str:
        run = next_run(expression, SHANGHAI, after)
        assert run is not None
        return run.astimezone(SHANGHAI).strftime("%Y-%m-%d %H:%M")

    assert first("0 2 * * *") == "2025-01-01 02:00"
    assert first("30 2 * * *") == "2025-01-01 02:30"
    assert first("0 6 * * *") == "2025-01-01 06:00"
    assert first("30 6 * * 1") == "2025-01-06 06:30"  # a Monday
    assert first("0 7 1 * *") == "2025-01-01 07:00"
    assert first("0 8 1 1,4,7,10 *") == "2025-01-01 08:00"


days = st.dates(date(2015, 1, 1), date(2035, 12, 31))
# Around the changes of the zones above more often than chance would have it.
changes = st.sampled_from(
    [date(2026, 3, 8), date(2026, 3, 29), date(2026, 4, 5), date(2026, 10, 4), date(2026, 10, 25),
     date(2026, 11, 1), date(2011, 12, 30), date(1986, 5, 4)]
)  # fmt: skip


def first_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """When a clock of this zone first shows this time or a later one, found minute by minute."""
    wanted = datetime.combine(day, at)
    moment = wanted.replace(tzinfo=zone).astimezone(UTC) - timedelta(hours=2)
    if moment.astimezone(zone).replace(tzinfo=None) > wanted:  # a whole day is skipped
        moment -= timedelta(hours=25)
    while moment.astimezone(zone).replace(tzinfo=None) < wanted:
        moment += _MINUTE
    return moment


@given(
    changes | days,
    st.sampled_from(ZONES),
    st.integers(0, 59),
    st.sets(st.integers(0, 23), min_size=1, max_size=2),
    st.integers(0, 3000),
)
@settings(max_examples=40)
def test_fixed_times_run_when_a_clock_first_shows_them(day, zone, minute, hours, later):
    expression = f"{minute} {','.join(map(str, sorted(hours)))} * * *"
    start = local(zone, day.year, day.month, day.day) - timedelta(days=1) + later * _MINUTE
    end = start + timedelta(days=2)
    expected = {
        first_moment(start.astimezone(zone).date() + timedelta(days=n), time(hour, minute), zone)
        for n in range(-1, 4)
        for hour in hours
    }
    assert runs(expression, zone, start, end) == sorted(
        one for one in expected if start < one <= end
    )


@given(
    changes | days,
    st.sampled_from(ZONES),
    st.sampled_from(
        ["*/7 * * * *", "5 * * * *", "*/20 2 * * *", "30 2 * * *", "0 3 * * 0", "* 1 * * *"]
    ),
    st.integers(0, 3000),
    st.integers(0, 1500),
)
@settings(max_examples=30)
def test_the_last_run_is_the_last_of_all_of_them(day, zone, expression, later, length):
    start = local(zone, day.year, day.month, day.day) - timedelta(days=1) + later * _MINUTE
    first = next_run(expression, zone, start)
    assert first is not None
    until = first + length * _MINUTE + timedelta(seconds=13)
    every = runs(expression, zone, first - _MINUTE, until)
    assert last_run(expression, zone, first, until) == every[-1]


@given(changes | days, st.sampled_from(ZONES), st.integers(0, 86400 * 2))
def test_runs_are_later_than_what_they_come_after(day, zone, seconds):
    after = local(zone, day.year, day.month, day.day) + timedelta(seconds=seconds)
    run = next_run("*/13 1-3 * * *", zone, after)
    assert run is not None
    assert run > after
    assert run.second == run.microsecond == 0


def test_what_was_missed_for_years_is_found_at_once():
    first = local(SHANGHAI, 2001, 1, 1, 0, 1)
    until = local(SHANGHAI, 2026, 11, 29, 12, 0)
    assert last_run("* * * * *", SHANGHAI, first, until) == until
    assert last_run("0 0 29 2 *", SHANGHAI, first, until) == local(SHANGHAI, 2024, 2, 29)
    assert last_run("0 0 1 1 *", SHANGHAI, first, first + _MINUTE) == first


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 0 * * * *", "five fields"),  # no seconds
        ("61 * * * *", "Bad minute"),
        ("0 24 * * *", "Bad hour"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("@daily", "five fields"),
        ("x" * 200, "five fields"),
        ("0 0 31 2,4,6,9,11 *", "Bad day-of-month"),
        ("*/0 * * * *", "Bad minute"),
        ("1/2/3 * * * *", "Bad minute"),
        ("-1 * * * *", "Bad minute"),
        ("٣ * * * *", "Bad minute"),
    ],
)
def test_what_is_no_schedule_is_refused_with_an_example(text, problem):
    with pytest.raises(InvalidInput) as raised:
        check_cron("cron", text)
    assert raised.value.details[0].field == "cron"
    assert problem in raised.value.details[0].problem
    assert "30 2 * * *" in raised.value.details[0].fix or "a day" in raised.value.details[0].fix


@given(st.text(max_size=20) | st.from_regex(r"[-0-9*/,LW#A-Z]{1,6}( [-0-9*/,LW#A-Z]{1,4}){4}"))
def test_any_text_is_a_schedule_or_refused(text):
    try:
        expression = check_cron("cron", text)
    except InvalidInput:
        return
    assert next_run(expression, SHANGHAI, datetime(2026, 1, 1, tzinfo=UTC)) is not None


def test_blanks_around_fields_are_taken_away():
    assert check_cron("cron", "  30  2 * *\t1 ") == "30 2 * * 1"


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "a\0b"])
def test_what_is_no_zone_is_refused(name):
    with pytest.raises(InvalidInput, match="time zone"):
        check_zone("zone", name)
