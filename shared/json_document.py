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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.errors import Detail, InvalidInput, MalformedRequest
from shared.media_type import require_utf_8

Path = tuple[str | int, ...]
_BOM: Final = b"\xef\xbb\xbf"
_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1  # what the writers of JSON and of columns take
_SHORT: Final = 18  # digits, and a sign: within 64 bits whatever they are
_LONG: Final = 40  # more are beyond 64 bits whatever they are
_ESCAPED: Final = re.compile(r"\\u[dD][89a-fA-F]")  # the only way in for a surrogate
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MAX_FINDINGS: Final = 50
_MAX_DEPTH: Final = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """A value that can't be taken: where it stands, what is wrong, what would be right."""

    path: Path
    problem: str
    fix: str

    def detail(self, whole: str = "body", *, below: int = 0) -> Detail:
        """Its place is told from the value on that stands `below` levels down, named `whole`."""
        field = ".".join(str(part) for part in self.path[below:]) or whole
        return Detail(field[:200], self.problem, self.fix)


@dataclass(frozen=True, slots=True)
class Document:
    """`value` is what the text says; where `findings` point, it is not to be relied on."""

    value: Any
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class _Wrong:
    """In the place of a number that can't be taken."""

    problem: str
    fix: str


class _Repeated(dict[str, Any]):
    """An object in which keys stand twice and their values disagree."""

    def __init__(self, pairs: Sequence[tuple[str, Any]], keys: Sequence[str]) -> None:
        super().__init__(pairs)
        self.keys_given_twice = keys


def parse_json(body: bytes) -> Document:
    """MalformedRequest (400) for what is not JSON, UnsupportedMediaType (415) for what is not UTF-8.

    A byte order mark is left out. As fast as pydantic's own parser on call records (3 MB in 40 ms);
    the slowest there is, nothing but short numbers, takes 0.25 s for 1 MB.
    """
    require_utf_8(body)
    try:
        text = body.removeprefix(_BOM).decode()
        reader = _Reader()
        value = reader.read(text)
        if text.count("[") + text.count("{") > _MAX_DEPTH and _is_deep(value):
            raise _malformed(f"is nested more than {_MAX_DEPTH} levels deep")
        suspect = reader.is_suspect or _ESCAPED.search(text) is not None
        return Document(value, _findings(value) if suspect else ())
    except UnicodeDecodeError as error:
        raise _malformed(f"holds bytes that are no UTF-8, at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"{error.msg}: line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise _malformed(f"is nested more than {_MAX_DEPTH} levels deep") from None


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
        return self._wrong(
            "is a whole number beyond 64 bits", "send a smaller one, or a text if it is an id"
        )

    def _number(self, written: str) -> float | _Wrong:
        number = float(written)
        return number if math.isfinite(number) else self._not_finite()

    def _constant(self, _name: str) -> _Wrong:
        return self._not_finite()

    def _not_finite(self) -> _Wrong:
        return self._wrong("is not a finite number", "send a number of at most 1.7e308, or null")

    def _wrong(self, problem: str, fix: str) -> _Wrong:
        self.is_suspect = True
        return _Wrong(problem, fix)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        keys = [key for key, value in pairs if not _same(value, found[key])]
        if not keys:
            return found
        self.is_suspect = True
        return _Repeated(pairs, list(dict.fromkeys(keys)))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; 1, 1.0 and true are three."""
    return one is other or (bool(one == other) and _written(one) == _written(other))


def _written(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for one in level
            for child in (one.values() if isinstance(one, dict) else one)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: in another, under a name or a number."""

    within: _Place | None
    at: str | int

    def path(self) -> Path:
        parts: list[str | int] = []
        place: _Place | None = self
        while place is not None:
            parts.append(place.at)
            place = place.within
        return tuple(reversed(parts))


def _findings(value: Any) -> list[Finding]:
    """The first 50."""
    found: list[Finding] = []
    waiting: list[tuple[_Place | None, Any]] = [(None, value)]
    while waiting and len(found) < _MAX_FINDINGS:
        place, one = waiting.pop()
        found += _of(place, one)
        if isinstance(one, dict):
            waiting += reversed([(_Place(place, key), item) for key, item in one.items()])
        elif isinstance(one, list):
            waiting += reversed([(_Place(place, number), item) for number, item in enumerate(one)])
    return found[:_MAX_FINDINGS]


def _of(place: _Place | None, value: Any) -> Iterator[Finding]:
    """What is wrong with one value, those in it aside."""
    if isinstance(value, _Wrong):
        yield Finding(_path(place), value.problem, value.fix)
    elif isinstance(value, str):
        yield from _of_text(place, value, "holds")
    elif isinstance(value, dict):
        for key in value:
            yield from _of_text(_Place(place, key), key, "has a name that holds")
    if isinstance(value, _Repeated):
        for key in value.keys_given_twice:
            yield Finding(
                _Place(place, key).path(), "is given twice with different values", "give it once"
            )


def _of_text(place: _Place | None, text: str, holds: str) -> Iterator[Finding]:
    if _SURROGATE.search(text):
        yield Finding(
            _path(place),
            f"{holds} half of a surrogate pair, which is no character",
            "cut texts between characters, not inside of one",
        )


def _path(place: _Place | None) -> Path:
    return () if place is None else place.path()


def _malformed(problem: str) -> MalformedRequest:
    return MalformedRequest(
        "The body is not valid JSON.",
        details=[Detail("body", problem, "send well-formed UTF-8 JSON")],
    )
