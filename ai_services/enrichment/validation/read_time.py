"""One start time, however it is written, where only one moment can be meant.

RFC 3339 and what comes close to it (`2024-3-5 9:05`, `2024/03/05`, `2024年3月5日 下午2:20`, the basic
format `20240305T142000Z`, `24:00:00`, `+08:00[Asia/Shanghai]`, `UTC`), Unix times, told apart by their
size, and the serial dates of Excel. What could mean two moments (`05/03/2024`, `CST`) is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ai_services.enrichment.validation.written import ROUNDED, exact_number
from shared.errors import InvalidInput
from shared.instant import parse_instant

EXAMPLE: Final = "2024-03-05T14:20:00+08:00"
EXCEL: Final = "excel"
UNIX_UNITS: Final[Mapping[str, int]] = {"unix_s": 1_000_000, "unix_ms": 1_000, "unix_us": 1}
UNIT_NAMES: Final = {
    "unix_s": "seconds", "unix_ms": "milliseconds", "unix_us": "microseconds",
}  # fmt: skip
# A Unix time in seconds whose unit nobody doubts: from 2000 to 2100.
PLAUSIBLE_S: Final = (946_684_800, 4_102_444_800)
EXCEL_DAYS: Final = (36_526, 73_051)  # the same years
_EXCEL_EPOCH: Final = datetime(1899, 12, 30)  # noqa: DTZ001 - serial dates are local
_MORNING: Final = r"上午|午前|凌晨|早上|清晨|오전|am|a\.m\."
_AFTERNOON: Final = r"下午|午后|午後|傍晚|오후|pm|p\.m\."
_NOON: Final = "中午"  # 11:30, 12:30 and 1:00 are around it
_FIRST_OF_NOON: Final = 10
_HALF: Final = rf"(?:{_MORNING}|{_NOON}|{_AFTERNOON})"
_TAIL: Final = r"(?:[.,](?P<fraction>[0-9]{1,9}))?"
_ZONE: Final = (
    r"\s*+(?P<zone>(?:z|utc|gmt|ut)?\s?(?P<offset>[+-][0-9]{1,2}(?::?[0-9]{2})?)|[a-z][a-z_/+\-0-9]*)?"
    r"\s*+(?:\[(?P<region>[A-Za-z_/+\-0-9]+)\])?"
)
_WRITTEN: Final = re.compile(
    r"(?P<year>[0-9]{4})(?P<mark>[-/.年])\s?(?P<month>[0-9]{1,2})(?:(?P=mark)|(?<=[0-9])月)\s?(?P<day>[0-9]{1,2})[日号號]?"
    rf"(?:[t\s_,]\s*+|(?<=[日号號])|(?={_HALF}))"
    rf"(?P<half>{_HALF})?\s*+(?P<hour>[0-9]{{1,2}})\s?[:时時点點]\s?(?P<minute>[0-9]{{1,2}})"
    rf"(?:\s?[:分]\s?(?P<second>[0-9]{{1,2}}){_TAIL})?[分秒]?\s*+(?P<after>am|pm|a\.m\.|p\.m\.)?{_ZONE}",
    re.IGNORECASE,
)
_BASIC: Final = re.compile(
    rf"(?P<year>(?:19|20)[0-9]{{2}})(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})[t\s]?(?P<hour>[0-9]{{2}})"
    rf"(?P<minute>[0-9]{{2}})(?:(?P<second>[0-9]{{2}}){_TAIL})?{_ZONE}",
    re.IGNORECASE,
)
_UNIX: Final = re.compile(r"[0-9]{9,16}(?:\.[0-9]{1,9})?")
_SERIAL: Final = re.compile(r"[0-9]{5}(?:[.,][0-9]{1,15})?")
_DATE: Final = re.compile(r"([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})")
_DAY_ONLY: Final = re.compile(r"[0-9]{4}[-/.年][0-9]{1,2}[-/.月][0-9]{1,2}日?|(?:19|20)[0-9]{6}")
_EITHER_ORDER: Final = re.compile(r"[0-9]{1,2}([-/.])[0-9]{1,2}\1(?:[0-9]{2}){1,2}\b.*")
_LONGEST: Final = 100  # characters of a cell
_UNIVERSAL: Final = ("Z", "UTC", "GMT", "UT")
_NO_TIME: Final = ("is not a time", f"write it like {EXAMPLE}")
_NO_ZONE: Final = (
    "has no time zone",
    f"add the offset, like {EXAMPLE}, or set timezone in the column map",
)


class Moment(NamedTuple):
    """`at` in UTC, or None with what is wrong; `read_as` is a format that was found by itself."""

    at: datetime | None
    problem: str = ""
    fix: str = ""
    read_as: str = ""


class Zone(NamedTuple):
    """Of what a time says of its zone: an offset, or a region with its own clock."""

    delta: timedelta | None = None
    region: str | None = None


def read_time(text: str, timezone: str | None) -> Moment:
    """What a cell means. `timezone` is that of times without one; never raises."""
    return _read(text, timezone) if len(text) <= _LONGEST else Moment(None, *_NO_TIME)


@lru_cache(maxsize=16_384)
def _read(text: str, timezone: str | None) -> Moment:
    plain = _plain(text)
    if (written := exact_number(plain)) is not None:
        if not written:
            return Moment(None, *ROUNDED)
        plain = written
    if _UNIX.fullmatch(plain) and (found := _unix_by_size(plain)) is not None:
        return found
    if _SERIAL.fullmatch(plain) and EXCEL_DAYS[0] <= int(plain[:5]) < EXCEL_DAYS[1]:
        return _in_zone(serial_date(plain), timezone)._replace(read_as=EXCEL)
    match = _WRITTEN.fullmatch(plain) or _BASIC.fullmatch(plain)
    return _missed(plain) if match is None else _of_parts(match, timezone)


def serial_date(text: str) -> datetime:
    """The local time of an Excel serial date: to the second, where its digits go no further."""
    days = Decimal(text.replace(",", "."))
    seconds = days * 86_400
    written = -int(days.as_tuple().exponent)
    precision = max(Decimal("0.0005"), 86_400 * Decimal(10) ** -written / 2)
    whole = seconds.to_integral_value()
    ms = (
        whole * 1_000
        if abs(seconds - whole) <= precision
        else (seconds * 1_000).to_integral_value()
    )
    return _EXCEL_EPOCH + timedelta(milliseconds=int(ms))


def unix_time(number: Decimal, unit: str) -> tuple[datetime, str] | None:
    """The moment and the unit that was found by the number's size: `unit` where that is possible."""
    first, last = PLAUSIBLE_S
    for name in (unit, *UNIX_UNITS):
        factor = UNIX_UNITS[name]
        if first <= number * factor / 1_000_000 < last:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
                microseconds=int(number * factor)
            ), name
    return None


def zone_word(word: str, timezone: str | None) -> Zone | None:
    """What the name of a zone means; None for one that means several, or none.

    `CST` is China's where that is the zone of the source: `timezone` has the last word.
    """
    if word.upper() in (*_UNIVERSAL, "ZULU"):
        return Zone(timedelta(0))
    if timezone is not None:
        for month in (1, 7):  # in winter and in summer
            there = datetime(2024, month, 1, tzinfo=ZoneInfo(timezone))
            if there.tzname() == word.upper():
                return Zone(there.utcoffset())
    if "/" in word:
        try:
            return Zone(region=ZoneInfo(word).key)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return None
    return None


def ambiguous_zone(word: str) -> tuple[str, str]:
    """What to say of a zone's name that is no `zone_word`."""
    return (
        f"names the time zone {word!r}, which may mean several",
        f"write the offset to UTC instead, like {EXAMPLE}",
    )


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).replace("\u2212", "-").strip()
    return folded.removeprefix("'")


def _unix_by_size(text: str) -> Moment | None:
    found = unix_time(Decimal(text), "unix_s")
    return None if found is None else Moment(found[0], read_as=found[1])


def _missed(text: str) -> Moment:
    found = _DATE.match(text)
    if found and not exists(*map(int, found.groups())):
        return Moment(None, f"{found[0]} does not exist in the calendar", "correct the date")
    if _DAY_ONLY.fullmatch(text):
        return Moment(None, "has no time of day", f"write it like {EXAMPLE}")
    if _EITHER_ORDER.fullmatch(text):
        fix = 'set time_format in the column map, for example "%d/%m/%Y %H:%M:%S"'
        return Moment(None, "doesn't say which number is the day and which the month", fix)
    return Moment(None, *_NO_TIME)


def _of_parts(match: re.Match[str], timezone: str | None) -> Moment:
    parts = match.groupdict()
    year, month, day, hour, minute = (
        int(parts[name]) for name in ("year", "month", "day", "hour", "minute")
    )
    if not exists(year, month, day):
        shown = _DATE.match(match[0])
        told = shown[0] if shown else match[0][:8]
        return Moment(None, f"{told} does not exist in the calendar", "correct the date")
    second, fraction = int(parts["second"] or 0), (parts["fraction"] or "")[:6].ljust(6, "0")
    zone = _zone_of(parts, timezone)
    if zone is None:
        return Moment(None, *ambiguous_zone(parts["zone"]))
    if second == 60:
        return _leap_second(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:60", zone)
    of_day = _hour(hour, parts.get("half") or parts.get("after"))
    midnight = (of_day, minute, second, int(fraction)) == (24, 0, 0, 0)
    if of_day is None or minute > 59 or second > 59 or (of_day > 23 and not midnight):
        return Moment(None, *_NO_TIME)
    try:
        naive = datetime(year, month, day, of_day % 24, minute, second, int(fraction))  # noqa: DTZ001 - its zone is found below
        naive += timedelta(days=int(midnight))
        if zone.delta is not None:
            return Moment((naive - zone.delta).replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return Moment(None, *_NO_TIME)
    return _in_zone(naive, zone.region or timezone)


def _zone_of(parts: Mapping[str, str | None], timezone: str | None) -> Zone | None:
    """None for a name that means several zones, or none."""
    if (offset := parts["offset"]) is not None:
        digits = offset[1:].replace(":", "")
        hours, minutes = (digits, "0") if len(digits) <= 2 else (digits[:-2], digits[-2:])
        if int(hours) > 15 or int(minutes) > 59:
            return Zone(timedelta.max)
        delta = timedelta(hours=int(hours), minutes=int(minutes))
        return Zone(-delta if offset[0] == "-" else delta)
    word = parts["zone"] or parts["region"]
    return Zone() if word is None else zone_word(word, timezone)


def _hour(hour: int, half: str | None) -> int | None:
    """Of the day, from that of its half; None for one that half doesn't have."""
    if half is None:
        return hour
    if re.fullmatch(_MORNING, half, re.IGNORECASE):
        return None if hour > 12 else hour % 12
    first_that_is_meant = _FIRST_OF_NOON if half == _NOON else 12
    return hour if hour >= first_that_is_meant else hour + 12


def _leap_second(text: str, zone: Zone) -> Moment:
    """The second after it, as Unix time counts; none for a 60th second that never was one."""
    if zone.delta is None:
        return Moment(None, *_NO_TIME)
    try:
        minutes = int(zone.delta.total_seconds() // 60)
        offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        return Moment(parse_instant("started_at", text + offset))
    except (InvalidInput, OverflowError):
        return Moment(None, *_NO_TIME)


def _in_zone(naive: datetime, timezone: str | None) -> Moment:
    """Of a local time that occurs twice the earlier."""
    if timezone is None:
        return Moment(None, *_NO_ZONE)
    aware = naive.replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    if aware.astimezone(ZoneInfo(timezone)).replace(tzinfo=None) != naive:
        problem = f"does not exist in {timezone}: the clocks went forward over it"
        return Moment(None, problem, "add the offset to UTC")
    return Moment(aware)


def exists(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
