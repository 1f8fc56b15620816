"""Instants and days as clients write them: read to the second, or refused with the reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shared.errors import InvalidInput
from shared.instant import FIRST, LAST, Day, Instant, parse_bound, parse_instant

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Body(BaseModel):
    at: Instant | None = None
    day: Day | None = None


OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(timezones=OFFSETS))
def test_any_time_is_read_exactly_or_refused_with_the_reason(moment: datetime) -> None:
    text = moment.isoformat()
    try:
        right = moment.astimezone(UTC)
    except OverflowError:
        right = None
    if right is None or not FIRST <= right <= LAST:
        with pytest.raises(InvalidInput, match="outside of the calendar"):
            parse_instant("at", text)
        assert parse_bound("at", text, SHANGHAI) in (FIRST, LAST)
    else:
        assert parse_instant("at", text) == parse_bound("at", text, SHANGHAI) == right


@given(st.text(st.sampled_from("0123456789-:.TtZz+ \ud83d٠"), max_size=30))
def test_no_text_ever_breaks_a_parser(text: str) -> None:
    for read in (parse_instant, lambda field, text: parse_bound(field, text, SHANGHAI)):
        try:
            assert FIRST <= read("at", text) <= LAST
        except InvalidInput:
            continue


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2024-12-04t09:30:00z", "2024-12-04T09:30:00+00:00"),
        ("2024-12-04 09:30:00.25+08:00", "2024-12-04T01:30:00.250000+00:00"),
        ("2024-12-04T09:30:00 08:00", "2024-12-04T01:30:00+00:00"),
        ("2024-12-04T09:30Z", "2024-12-04T09:30:00+00:00"),
        ("2024-12-04T09:30:00.123456789Z", "2024-12-04T09:30:00.123456+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
        ("2017-01-01t07:59:60.9+08:00", "2017-01-01T00:00:00+00:00"),
    ],
)
def test_what_rfc_3339_allows_is_read(text: str, right: str) -> None:
    assert parse_instant("at", text).isoformat() == right


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2024-12-04T23:59:60Z", "leap second"),
        ("2024-12-31T23:59:60+08:00", "leap second"),
        ("2024-12-04T09:30:61Z", "does not exist"),
        ("2024-02-30T00:00:00Z", "does not exist"),
        ("2024-12-04T24:00:00Z", "does not exist"),
        ("2024-12-04T09:30:00+24:00", "does not exist"),
        ("2024-12-04T09:30:00", "has no offset"),
        ("9999-12-31T23:59:59-12:00", "outside of the calendar"),
        ("0001-01-01T00:00:00+14:00", "outside of the calendar"),
        ("9999-12-31T23:59:60Z", "outside of the calendar"),
        ("1733275800", "is no time"),
        ("2024-W49-3T09:30:00Z", "is no time"),
    ],
)
def test_what_is_no_instant_says_why(text: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        parse_instant("at", text)


@pytest.mark.parametrize(
    ("text", "day_after", "right"),
    [
        ("2024-12-04", False, datetime(2024, 12, 3, 16, tzinfo=UTC)),
        ("2024-12-04", True, datetime(2024, 12, 4, 16, tzinfo=UTC)),
        ("9999-12-31", True, LAST),
        ("0001-01-01", False, FIRST),
        ("9999-12-31T23:59:59-12:00", False, LAST),
        ("0001-01-01T00:00:00+14:00", False, FIRST),
    ],
)
def test_a_range_may_end_with_a_local_date_or_never(text, day_after, right) -> None:
    assert parse_bound("to", text, SHANGHAI, day_after=day_after) == right


@given(st.dates(), st.sampled_from(["Pacific/Kiritimati", "Pacific/Niue", "Asia/Shanghai"]))
def test_every_date_bounds_a_range_in_every_zone(day, zone) -> None:
    begin = parse_bound("from", day.isoformat(), ZoneInfo(zone))
    end = parse_bound("to", day.isoformat(), ZoneInfo(zone), day_after=True)
    assert FIRST <= begin <= end <= LAST


@pytest.mark.parametrize("wrong", ["0.0", "0", "1733275800", "true", "[]", '"0.0"', '"20241204"'])
def test_numbers_are_neither_dates_nor_times(wrong: str) -> None:
    for field in ("at", "day"):
        with pytest.raises(ValidationError) as caught:
            Body.model_validate_json(f'{{"{field}": {wrong}}}')
        assert caught.value.errors()[0]["ctx"]["fix"]


def test_fields_are_described_as_what_they_take() -> None:
    shown = Body.model_json_schema()["properties"]
    assert shown["at"]["anyOf"][0] == {"type": "string", "format": "date-time"}
    assert shown["day"]["anyOf"][0] == {"type": "string", "format": "date"}
    body = Body.model_validate_json('{"at": "2024-12-04t09:30:00z", "day": "2024-12-04"}')
    assert body.model_dump_json() == '{"at":"2024-12-04T09:30:00Z","day":"2024-12-04"}'
