"""Durations as reports write them → whole milliseconds.

Plain numbers count in the unit of their source. Everything else says its unit itself: `0:01:05` and
`1:05` (the last part is seconds), `3分20秒`, `1h 3m`, `200s`, `500 ms`, `PT3M20S`.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import lru_cache
from typing import Final

_SCALE: Final = (3_600_000, 60_000, 1_000, 1)  # milliseconds of the units below, in their order
_WORDS: Final = {
    "h": r"hours?|hrs?|h|个?小?时|個?小?時|小时|小時|点|時間|시간|stunden?|std",
    "m": r"minutes?|mins?|m(?!s|il)|分钟|分鐘|分|분|minuten?|'|′|’",
    "s": r"seconds?|secs?|s|秒钟|秒鐘|秒|초|sekunden?|sek|\"|″|”|''|’’",
    "ms": r"milliseconds?|millis|msecs?|ms|毫秒",
}
_AMOUNT: Final = r"([0-9]++(?:\.[0-9]++)?)"
_IN_UNITS: Final = re.compile(
    r"\s*+".join(rf"(?:{_AMOUNT}\s*+(?:{word})\.?,?)?" for word in _WORDS.values()),
    re.IGNORECASE,
)
_CLOCK: Final = re.compile(r"(?:([0-9]{1,3}):)?([0-9]{1,4}):([0-9]{2}(?:[.,][0-9]{1,9})?)")
_ISO: Final = re.compile(
    r"P(?:0+D)?T(?=[0-9])(?:([0-9]+(?:[.,][0-9]+)?)H)?(?:([0-9]+(?:[.,][0-9]+)?)M)?"
    r"(?:([0-9]+(?:[.,][0-9]+)?)S)?",
    re.IGNORECASE,
)
_GROUPED: Final = re.compile(r"-?[0-9]{1,3}(?:([, '’])[0-9]{3})(?:\1[0-9]{3})*(?:\.[0-9]+)?")
_DECIMAL_COMMA: Final = re.compile(r"[0-9]{1,9},[0-9]{1,2}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?")
_LONGEST: Final = 100  # characters of a cell
_PER_UNIT: Final = {"ms": 1, "s": 1_000}


def plain_number(text: str) -> str:
    """`65,000`, `65 000` and wide digits as a number is written by programs; others as they are."""
    plain = unicodedata.normalize("NFKC", text).strip().removeprefix("'")
    return re.sub(r"[, '’]", "", plain) if _GROUPED.fullmatch(plain) else plain


def read_duration(text: str, unit: str) -> int | None:
    """Milliseconds; None for what is no duration. `unit` (ms or s) is that of plain numbers."""
    return _read(text, unit) if len(text) <= _LONGEST else None


@lru_cache(maxsize=65_536)
def _read(text: str, unit: str) -> int | None:
    plain = plain_number(text)
    if unit == "s" and _DECIMAL_COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    if _NUMBER.fullmatch(plain):
        return _whole(Decimal(plain) * _PER_UNIT[unit], exactly=unit == "ms")
    if clock := _CLOCK.fullmatch(plain):
        return _of_clock(*clock.groups())
    for pattern, scale in ((_ISO, _SCALE[:3]), (_IN_UNITS, _SCALE)):
        if (found := pattern.fullmatch(plain)) and any(found.groups()):
            amounts = [Decimal((part or "0").replace(",", ".")) for part in found.groups()]
            return _whole(sum((a * ms for a, ms in zip(amounts, scale, strict=True)), Decimal()))
    return None


def _of_clock(hours: str | None, minutes: str, seconds: str) -> int | None:
    """None where the minutes or seconds of the hour are 60 or more."""
    rest = Decimal(seconds.replace(",", "."))
    if rest >= 60 or (hours is not None and int(minutes) >= 60):
        return None
    return _whole((int(hours or 0) * 3600 + int(minutes) * 60 + rest) * 1_000)


def _whole(ms: Decimal, *, exactly: bool = False) -> int | None:
    whole = int(ms.to_integral_value())
    return None if exactly and whole != ms else whole
