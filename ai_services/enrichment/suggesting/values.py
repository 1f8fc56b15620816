"""What a column holds, by its values: times and their format, durations and their unit, numbers to dial,
statuses, levels, ids, transcripts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Self

from ai_services.enrichment.suggesting.statuses import sides, statuses
from ai_services.enrichment.suggesting.table import Table
from ai_services.enrichment.validation.words import level_of

MOST_WORDS: Final = 40  # different ones of a status
NULLS: Final = (
    "-", "--", "NULL", "null", "N/A", "n/a", "None", "NONE", "nil", "无", "\\N", "[None]", "nan",
)  # fmt: skip
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?\s?(Z|z|[+-]\d\d:?(\d\d)?)?", re.ASCII
)
_OFFSET: Final = re.compile(r".*\d\s?(?:Z|z|[+-]\d\d:?\d\d)$", re.ASCII | re.DOTALL)
# The order counts: of two that fit, the first is taken.
PATTERNS: Final = (
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y.%m.%d %H:%M:%S", "%Y年%m月%d日 %H:%M:%S",
    "%Y年%m月%d日 %H:%M", "%Y%m%d%H%M%S", "%Y%m%d %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M",
    "%d-%m-%Y %H:%M:%S", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %I:%M %p", "%m/%d/%y %I:%M %p",
    "%d-%b-%Y %H:%M:%S", "%b %d, %Y %I:%M %p", "%a, %d %b %Y %H:%M:%S %z", "%a, %d %b %Y %H:%M:%S",
)  # fmt: skip
# Pairs that only days beyond the twelfth tell apart.
AMBIGUOUS: Final = {
    pattern: pattern.replace("%d/%m", "%m/%d") for pattern in PATTERNS if "%d/%m" in pattern
}
_PHONE: Final = re.compile(r"\+?\d{5,15}", re.ASCII)
_MOBILE: Final = re.compile(r"(?:\+?86)?1[3-9]\d{9}", re.ASCII)
_FILLERS: Final = re.compile(r"[\s().\-]")
_SECONDS: Final = re.compile(r"\d{1,8}(\.\d+)?", re.ASCII)
_CLOCK: Final = re.compile(r"(?:\d{1,3}:)?\d{1,3}:\d\d(?:\.\d+)?", re.ASCII)
_WRITTEN: Final = re.compile(
    r"(?:\d++\s*+(?:小时|时|h))?\s*+(?:\d++\s*+(?:分钟|分|m|min))?\s*+(?:\d++\s*+(?:秒|s|sec))?"
)


@dataclass(frozen=True)
class Profile:
    """A column: its name and those of its cells that hold something, of so many `rows`; `nulls` are
    the cells that stand for nothing.
    """

    name: str
    cells: Sequence[str]
    rows: int
    nulls: frozenset[str]

    @classmethod
    def of(cls, table: Table, name: str) -> Self:
        held = table.column(name)
        nulls = frozenset(held).intersection(NULLS)
        nulls = nulls if len(nulls) < len(set(held)) else frozenset()
        return cls(name, [cell for cell in held if cell not in nulls], len(table.rows), nulls)

    @cached_property
    def distinct(self) -> Counter[str]:
        return Counter(self.cells)

    @cached_property
    def filled(self) -> float:
        return len(self.cells) / self.rows if self.rows else 0.0

    @cached_property
    def uniqueness(self) -> float:
        return len(self.distinct) / len(self.cells) if self.cells else 0.0

    @cached_property
    def time_formats(self) -> list[str]:
        """Those in which nearly all cells are times, the likeliest first."""
        return [form for form in ("iso", *_UNIX, *PATTERNS) if self._share(_reader(form)) >= 0.9]

    @property
    def has_offsets(self) -> bool:
        return self._share(lambda cell: _OFFSET.match(cell) is not None) >= 0.9

    @property
    def phones(self) -> float:
        """The share of cells that can be dialled; mobile numbers count for sure."""
        plain = [_FILLERS.sub("", cell) for cell in self.cells]
        if not plain or self.time_formats:
            return 0.0
        sure = sum(_MOBILE.fullmatch(cell) is not None for cell in plain)
        maybe = sum(_PHONE.fullmatch(cell) is not None and len(cell) >= 7 for cell in plain)
        return max(sure, 0.8 * maybe) / len(plain)

    @property
    def is_clock(self) -> bool:
        """Durations written out: 0:01:05, 3分20秒."""
        return self._share(lambda cell: bool(_CLOCK.fullmatch(cell) or _is_written(cell))) >= 0.9

    @cached_property
    def numbers(self) -> list[float]:
        """Its values, where nearly all cells are numbers of at most 8 digits; else none."""
        if self._share(lambda cell: _SECONDS.fullmatch(cell) is not None) < 0.9:
            return []
        return [float(cell) for cell in self.cells if _SECONDS.fullmatch(cell)]

    @cached_property
    def statuses(self) -> Mapping[str, str]:
        """Its words → what they mean; nothing where they are too many for statuses."""
        return statuses(self.distinct) if len(self.distinct) <= MOST_WORDS else {}

    @cached_property
    def sides(self) -> Mapping[str, str]:
        return sides(self.distinct) if len(self.distinct) <= MOST_WORDS else {}

    def share_of(self, words: Mapping[str, str]) -> float:
        """Of its cells, those that are one of the words."""
        return sum(self.distinct[word] for word in words) / len(self.cells) if self.cells else 0.0

    @property
    def levels(self) -> float:
        known = sum(count for cell, count in self.distinct.items() if level_of(cell))
        return known / len(self.cells) if self.cells else 0.0

    @cached_property
    def transcripts(self) -> list[list[dict[str, Any]]]:
        """Those cells that are lists of objects, as JSON."""
        found = []
        for cell in self.cells[:50]:
            if cell.startswith("["):
                try:
                    turns = json.loads(cell)
                except (ValueError, RecursionError):
                    continue
                if isinstance(turns, list) and turns and all(isinstance(t, dict) for t in turns):
                    found.append(turns)
        return found

    def _share(self, fits: Callable[[str], bool]) -> float:
        return sum(map(fits, self.cells)) / len(self.cells) if self.cells else 0.0


_UNIX: Final = {"unix_s": 10, "unix_ms": 13}


def _reader(form: str) -> Callable[[str], bool]:
    if form == "iso":
        return lambda cell: _ISO.fullmatch(cell) is not None
    if form in _UNIX:
        digits = _UNIX[form]
        return lambda cell: cell.isdecimal() and len(cell) == digits and cell[0] in "129"
    return lambda cell: _fits(cell, form)


def _fits(cell: str, pattern: str) -> bool:
    try:
        read = datetime.strptime(cell, pattern)  # noqa: DTZ007 - looked at, not used
    except ValueError:
        return False
    return _FIRST <= (read if read.tzinfo else read.replace(tzinfo=UTC)) < _LAST


def _is_written(cell: str) -> bool:
    return bool(cell) and not cell.isdecimal() and _WRITTEN.fullmatch(cell) is not None
