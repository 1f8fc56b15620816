"""Decode JSON without losing what decoders lose: how a number was written, keys that stand twice."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, Self

from ai_services.enrichment.reading.piece import not_text
from ai_services.enrichment.validation.reject import Problem, excerpt

_SAFE_DIGITS: Final = 400  # Python refuses to read numbers of more than 4,300
# A transcript of the most turns, each with all its keys, has a quarter of these.
MAX_VALUES: Final = 100_000
_TEXT: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WHOLE: Final = re.compile(r"-?[0-9]+")


class WrittenNumber(float):
    """A number that remembers how it was written: 1e3 is not a whole number here."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__

    @property
    def is_finite(self) -> bool:
        """False for NaN, Infinity, and what is beyond a double, as 1e400 is."""
        return math.isfinite(self) or _WHOLE.fullmatch(self.text) is not None


class Doubled(dict[str, Any]):
    """An object in which `key` stands more than once, with different values."""

    key: str


class TooManyValues(ValueError):
    """A text of more than MAX_VALUES values, which would take a hundred times its size in memory."""

    def __init__(self) -> None:
        super().__init__(f"has more than {MAX_VALUES:,} values")


def load_json(text: str) -> Any:
    """The value of a JSON text; ValueError or RecursionError for what is none, TooManyValues before
    anything is decoded.
    """
    if len(text) > MAX_VALUES and _count_values(text) > MAX_VALUES:
        raise TooManyValues
    return json.loads(
        text,
        parse_float=WrittenNumber,
        parse_constant=WrittenNumber,
        parse_int=_whole_number,
        object_pairs_hook=_object,
    )


def parse_object(line: bytes) -> dict[str, Any] | Problem:
    """One line as an object, or why it is none."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return not_text(line, "utf-8", error)
    try:
        row = load_json(text)
    except json.JSONDecodeError as error:
        near = excerpt(text, error.pos - 20, 40)
        return Problem(
            "",
            near,
            f"is not valid JSON: {error.msg} at character {error.pos + 1}",
            "write one complete JSON object per line",
        )
    except TooManyValues as error:
        return Problem("", excerpt(text, chars=40), str(error), "leave out what is no call record")
    except RecursionError:
        return Problem(
            "", excerpt(text, chars=40), "is nested too deeply", "leave out what is no call record"
        )
    if not isinstance(row, dict):
        return Problem(
            "", excerpt(text, chars=40), "is not a JSON object", 'write {"callid": "…", …}'
        )
    if isinstance(row, Doubled):
        shown = excerpt(json.dumps(row[row.key], default=str))
        return Problem(row.key, shown, "stands twice, with different values", "keep one of them")
    return row


def _count_values(text: str) -> int:
    """At least as many as there are: each one but the first follows a comma or a bracket."""
    bare = _TEXT.sub("", text)
    return bare.count(",") + bare.count("[") + bare.count("{")


def _whole_number(text: str) -> int | WrittenNumber:
    return int(text) if len(text) <= _SAFE_DIGITS else WrittenNumber(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    for key, value in pairs:
        if not _same(row[key], value):
            doubled = Doubled(row)
            doubled.key = key
            return doubled
    return row


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are written alike: 1, 1.0 and true differ."""
    return type(one) is type(other) and repr(one) == repr(other)
