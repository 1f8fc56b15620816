"""JSON of a request as values, and what in it nobody could store or two readers would read apart.

The fast parsers give the last of two equal keys, infinity for 1e400, null for NaN, and numbers of
any length, at which a later step breaks. Here each of these is found where it stands: keys given
twice with different values, numbers that are not finite or beyond 64 bits, and half surrogate pairs,
which UTF-8 can't write. What is nested deeper than writers go is refused as a whole.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shared.errors import Detail, InvalidInput, MalformedRequest
from shared.media_type import require_utf_8

Path = tuple[str | int, ...]
BOM: Final = b"\xef\xbb\xbf"
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1  # what the writers of JSON and of columns take
_SHORT: Final = 18  # digits, and a sign: within 64 bits whatever they are
_LONG: Final = 40  # more are beyond 64 bits whatever they are
_ESCAPED: Final = re.compile(r"\\u[dD][89a-fA-F]")  # the only way in for a surrogate
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_FINDINGS: Final = 50
MAX_DEPTH: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """A value that can't be taken: where it stands, what is wrong, what would be right."""

    path: Path
    problem: str
    fix: str

    def detail(self) -> Detail:
        field = ".".join(str(part) for part in self.path) or "body"
        return Detail(field[:200], self.problem, self.fix)


@dataclass(frozen=True, slots=True)
class Document:
    """`value` is what the text says. It is nothing to rely on if there are `findings`, the first 50."""

    value: Any
    findings: Sequence[Finding]


class _Wrong:
    """In the place of a number that can't be taken. No writer of JSON takes it for a value."""

    __slots__ = ("fix", "problem")

    def __init__(self, problem: str, fix: str) -> None:
        self.problem = problem
        self.fix = fix


_BEYOND: Final = _Wrong(
    "is a whole number beyond 64 bits", "send a smaller one, or a text if it is an id"
)
_NOT_FINITE: Final = _Wrong("is not a finite number", "send a number of at most 1.7e308, or null")


class _Repeated(dict[str, Any]):
    """An object in which keys stand twice and their values disagree."""

    __slots__ = ("keys_given_twice",)
    keys_given_twice: Sequence[str]


def parse_json(body: bytes) -> Document:
    """MalformedRequest (400) for what is not JSON, UnsupportedMediaType (415) for what is not UTF-8.

    A byte order mark is left out. As fast as pydantic's own parser on call records (3 MB in 40 ms).
    However a body is made, 1 MB takes at most 0.2 s, but for nothing else than brackets in brackets,
    200 levels deep: 0.5 s.
    """
    require_utf_8(body)
    try:
        text = body.removeprefix(BOM).decode()
        reader = _Reader()
        value = reader.read(text)
        if text.count("[") + text.count("{") > MAX_DEPTH and is_deep(value):
            raise malformed(f"is nested more than {MAX_DEPTH} levels deep")
        suspect = reader.is_suspect or _ESCAPED.search(text) is not None
        search = _Search()
        if suspect:
            search.of(value)
        return Document(value, search.found)
    except UnicodeDecodeError as error:
        raise malformed(f"holds bytes that are no UTF-8, at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise malformed(f"{error.msg}: line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise malformed(f"is nested more than {MAX_DEPTH} levels deep") from None


def read_json(body: bytes) -> Any:
    """The values of a body; InvalidInput (422) that names each one that can't be taken."""
    document = parse_json(body)
    if document.findings:
        raise refused([finding.detail() for finding in document.findings])
    return document.value


def refused(details: Sequence[Detail]) -> InvalidInput:
    """InvalidInput that speaks of the first of `details` and lists the first 50."""
    first = details[0]
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return InvalidInput(
        f"{first.field}: {first.problem}; {first.fix}{more}", details=details[:_MAX_FINDINGS]
    )


class _Reader:
    """The standard parser, told to leave a mark where it would guess."""

    def __init__(self) -> None:
        self.is_suspect = False

    def read(self, text: str) -> Any:
        return json.loads(
            text,
            parse_int=self._whole,
            parse_float=self._number,
            parse_constant=self._constant,
            object_pairs_hook=self._object,
        )

    def _whole(self, digits: str) -> int | _Wrong:
        if len(digits) <= _SHORT or (len(digits) < _LONG and _LEAST <= int(digits) <= _MOST):
            return int(digits)
        self.is_suspect = True
        return _BEYOND

    def _number(self, written: str) -> float | _Wrong:
        number = float(written)
        return number if math.isfinite(number) else self._not_finite()

    def _constant(self, _name: str) -> _Wrong:
        return self._not_finite()

    def _not_finite(self) -> _Wrong:
        self.is_suspect = True
        return _NOT_FINITE

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        keys = [key for key, value in pairs if not _same(value, found[key])]
        if not keys:
            return found
        self.is_suspect = True
        marked = _Repeated(found)
        marked.keys_given_twice = list(dict.fromkeys(keys))
        return marked


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; 1, 1.0 and true are three."""
    if one is other:
        return True
    # What is of equal size at most is written: the sum of all that is compared stays small.
    if type(one) is not type(other) or one != other:
        return False
    return type(one) in _PLAIN or _written(one) == _written(other)


def _written(value: Any) -> bytes | None:
    """None for what can't be written, which is refused for that already."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return None


def is_deep(value: Any) -> bool:
    """Whether a value is nested more than MAX_DEPTH levels deep: deeper than it can be written."""
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for one in level
            for child in (one if type(one) is list else one.values())
            if type(child) in _CONTAINERS
        ]
        if not level:
            return False
    return True


class _Search:
    """For what can't be taken in a value that is not too deep: the first 50, in their order."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self._path: list[str | int] = []

    def of(self, value: Any) -> None:
        """Look at one value, wherever it stands now."""
        kind = type(value)
        if kind is list:
            self._below(enumerate(value))
        elif kind in _CONTAINERS:
            self._names(value)
            self._below(value.items())
        elif kind is str:
            self._text(value, "holds")
        elif kind is _Wrong:
            self._note(value.problem, value.fix)

    def _below(self, items: Iterable[tuple[str | int, Any]]) -> None:
        path = self._path
        for at, item in items:
            kind = type(item)
            if kind in _FINE or not item or (kind is str and item.isascii()):
                continue
            if len(self.found) == _MAX_FINDINGS:
                return
            path.append(at)
            self.of(item)
            path.pop()

    def _names(self, value: dict[str, Any]) -> None:
        for name in value:
            if not name.isascii():
                self._path.append(name)
                self._text(name, "has a name that holds")
                self._path.pop()
        if isinstance(value, _Repeated):
            for name in value.keys_given_twice:
                self._path.append(name)
                self._note("is given twice with different values", "give it once")
                self._path.pop()

    def _text(self, text: str, holds: str) -> None:
        if _SURROGATE.search(text):
            self._note(
                f"{holds} half of a surrogate pair, which is no character",
                "cut texts between characters, not inside of one",
            )

    def _note(self, problem: str, fix: str) -> None:
        if len(self.found) < _MAX_FINDINGS:
            self.found.append(Finding(tuple(self._path), problem, fix))


_PLAIN: Final = frozenset({str, int, bool, type(None)})
_FINE: Final = frozenset({int, float, bool, type(None)})
_CONTAINERS: Final = frozenset({dict, list, _Repeated})


def malformed(problem: str) -> MalformedRequest:
    return MalformedRequest(
        "The body is not valid JSON.",
        details=[Detail("body", problem, "send well-formed UTF-8 JSON")],
    )
