"""Instants and days as clients write them: RFC 3339, bounded to what every store can hold.

PostgreSQL, Python and JavaScript end at different moments of the years 1 and 9999, and an offset
moves a time over that end. What lies outside of `FIRST`…`LAST` is refused here, before a driver
fails to write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from shared.errors import InvalidInput

T = TypeVar("T")

FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)  # a day from either end, so that any zone can show it
LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)
_A_DAY: Final = timedelta(days=1)

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# RFC 3339 §5.6 with the lower-case t and z and the space of its notes; the seconds may be left out.
# In a query string an unescaped + arrives as a space.
_INSTANT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"([Zz]|[+ -][0-9]{2}:[0-9]{2})?"
)
_EXAMPLE: Final = "2024-12-04T09:30:00+08:00"


def parse_instant(field: str, text: str) -> datetime:
    """The instant in UTC; InvalidInput for what is none, has no offset or lies out of bounds.

    A leap second (`23:59:60` UTC, ending a month) is the second after it, as in Unix time.
    """
    moment = _moment(field, text)
    if not FIRST <= moment <= LAST:
        raise InvalidInput.of(
            field,
            f"{_shown(text)} lies outside of the calendar",
            f"send a time from {FIRST.date()} to {LAST.date()}",
        )
    return moment


def parse_bound(field: str, text: str, zone: ZoneInfo, *, day_after: bool = False) -> datetime:
    """Where a range begins or ends, in UTC: an instant, or midnight of a local date in `zone`.

    With `day_after` a date means the midnight that ends it. What lies before or after all that can
    be stored is the first or last instant there is: a range to 9999-12-31 is open. Raises
    InvalidInput.
    """
    if not _DAY.fullmatch(text):
        return min(max(_moment(field, text), FIRST), LAST)
    day = _day(field, text)
    if not FIRST.date() < day < LAST.date():
        return FIRST if day.year == FIRST.year else LAST
    day += day_after * _A_DAY
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _moment(field: str, text: str) -> datetime:
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise InvalidInput.of(
            field, f"{_shown(text)} is no time", f"send RFC 3339, e.g. {_EXAMPLE}"
        )
    day, minutes, second, fraction, offset = match.groups()
    if offset is None:
        raise InvalidInput.of(
            field,
            f"{_shown(text)} has no offset",
            f"add it, e.g. {_EXAMPLE}, in a query with the + escaped as %2B",
        )
    offset = "+00:00" if offset in "Zz" else offset.replace(" ", "+")
    is_leap = second == "60"
    time_of_day = f"{minutes}:{'59' if is_leap else second or '00'}.{(fraction or '')[:6]:0<6}"
    try:
        local = datetime.fromisoformat(f"{day}T{time_of_day}{offset}")
    except ValueError:
        raise InvalidInput.of(
            field, f"{_shown(text)} does not exist", "send a date and a time of day that exist"
        ) from None
    try:
        return _after_leap(field, text, local.astimezone(UTC)) if is_leap else local.astimezone(UTC)
    except OverflowError:  # the offset leads out of Python's calendar
        return FIRST - _A_DAY if local.year == FIRST.year else LAST + _A_DAY


def _after_leap(field: str, text: str, before: datetime) -> datetime:
    after = before.replace(microsecond=0) + timedelta(seconds=1)
    if (after.day, after.hour, after.minute) != (1, 0, 0):
        problem = "does not exist: a 60th second is a leap second, which ends a month in UTC"
        raise InvalidInput.of(field, f"{_shown(text)} {problem}", "send a second from 00 to 59")
    return after


def _day(field: str, text: str) -> date:
    if not _DAY.fullmatch(text):
        raise InvalidInput.of(field, f"{_shown(text)} is no date", "send a date as YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput.of(
            field, f"{_shown(text)} does not exist", "send a date that exists, as YYYY-MM-DD"
        ) from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _from_text(parse: Callable[[str, str], T], example: str) -> BeforeValidator:
    """`parse` for pydantic, which knows the field's name itself."""

    def validate(value: Any) -> T:
        if not isinstance(value, str):
            fix = f"send it in quotes, e.g. {example}"
            raise PydanticCustomError("not_text", "is not a text", {"fix": fix})
        try:
            return parse("", value)
        except InvalidInput as error:
            found = error.details[0]
            context = {"problem": found.problem, "fix": found.fix}
            raise PydanticCustomError("not_in_calendar", "{problem}", context) from None

    return BeforeValidator(validate)


# Fields of bodies and queries. pydantic's own types take a number for seconds since 1970, too; who
# sends 0.0 for a date doesn't mean that.
Instant = Annotated[
    datetime,
    _from_text(parse_instant, _EXAMPLE),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation"),
]
Day = Annotated[
    date,
    _from_text(_day, "2024-12-04"),
    WithJsonSchema({"type": "string", "format": "date"}, mode="validation"),
]
