"""The corpus: requests as bytes, and what must become of each. One TOML file per family.

A case is a string, or a table with `send` and whatever differs from the file's defaults:

    status     of the answer, or a list of them when `send` holds several requests
    then       "closed" or "open": the fate of the connection, seen by a further request on it
    forwarded  what reaches the service: {target, method, body, has, lacks}, or a list of such;
               nothing does if this isn't given

Characters up to U+00FF stand for bytes. In `send`, `${text*3}` repeats (with `#` counting) and
`${name}` is a credential.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REPEAT = re.compile(r"\$\{([^{}]*)\*(\d+)\}", re.DOTALL)
_NAMED = re.compile(r"\$\{([^{}*]+)\}")
_KEYS = {"send", "status", "then", "forwarded"}


@dataclass(frozen=True)
class Forwarded:
    """What the service must have got."""

    target: str
    method: str
    body: bytes
    has: Mapping[str, bytes]
    lacks: frozenset[str]


@dataclass(frozen=True)
class Case:
    family: str
    name: str
    send: str
    statuses: tuple[int, ...]
    open: bool
    forwarded: tuple[Forwarded, ...]

    def __str__(self) -> str:
        return f"{self.family}: {self.name}"

    def raw(self, credential: Callable[[str], str]) -> bytes:
        text = _REPEAT.sub(_repeated, self.send)
        return _NAMED.sub(lambda match: credential(match[1]), text).encode("latin-1")


@dataclass(frozen=True)
class ServiceAnswer:
    """What a service sends, and what the client gets; 502 stands for none of it."""

    name: str
    raw: bytes
    status: int
    body: bytes


def service_answers() -> list[ServiceAnswer]:
    """The corpus of the other direction, good answers and bad ones."""
    path = Path(__file__).parent / "upstream" / "answers.toml"
    return [_service_answer(*item) for item in tomllib.loads(path.read_text())["cases"].items()]


def _service_answer(name: str, given: Any) -> ServiceAnswer:
    fields = {"status": 502, "body": "", **({"send": given} if isinstance(given, str) else given)}
    raw = _REPEAT.sub(_repeated, fields["send"]).encode("latin-1")
    return ServiceAnswer(name, raw, fields["status"], fields["body"].encode())


def corpus() -> list[Case]:
    return [case for path in sorted(Path(__file__).parent.glob("*.toml")) for case in _family(path)]


def _family(path: Path) -> list[Case]:
    document = tomllib.loads(path.read_text("utf-8"))
    defaults = document.get("defaults", {})
    return [_case(path.stem, name, defaults, given) for name, given in document["cases"].items()]


def _case(family: str, name: str, defaults: dict[str, Any], given: Any) -> Case:
    fields = {**defaults, **({"send": given} if isinstance(given, str) else given)}
    assert set(fields) <= _KEYS, f"{family}: {name}: {fields}"
    status, forwarded = fields["status"], fields.get("forwarded", [])
    return Case(
        family,
        name,
        fields["send"],
        tuple(status) if isinstance(status, list) else (status,),
        {"open": True, "closed": False}[fields["then"]],
        tuple(_forwarded(x) for x in (forwarded if isinstance(forwarded, list) else [forwarded])),
    )


def _forwarded(given: dict[str, Any]) -> Forwarded:
    assert set(given) <= {"target", "method", "body", "has", "lacks"}, given
    body = _REPEAT.sub(_repeated, given.get("body", "")).encode("latin-1")
    return Forwarded(
        _REPEAT.sub(_repeated, given["target"]),
        given.get("method", "POST" if body else "GET"),
        body,
        {name: value.encode("latin-1") for name, value in given.get("has", {}).items()},
        frozenset(given.get("lacks", ())),
    )


def _repeated(match: re.Match[str]) -> str:
    return "".join(match[1].replace("#", str(n)) for n in range(int(match[2])))
