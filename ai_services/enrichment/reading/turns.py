"""Transcripts: from the shapes in which they come to one canonical JSON array."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from ai_services.enrichment.reading.json_object import (
    Doubled,
    TooManyValues,
    WrittenNumber,
    load_json,
)
from ai_services.enrichment.validation.record import (
    MAX_MS,
    MAX_TRANSCRIPT_CHARS,
    MAX_TURNS,
    ROLES,
    Turn,
)
from ai_services.enrichment.validation.reject import Problem, excerpt

_decode: Final = msgspec.json.Decoder(list[Turn]).decode
_UNTIMED: Final = re.compile(rb'"at_ms"\s*:\s*null')
NOT_FINITE: Final = ("is not a finite number", "write a number within range, or null")
_encode: Final = msgspec.json.Encoder().encode


class Transcript(NamedTuple):
    """A JSON array of {"role","at_ms","text"} and the number of turns by the customer."""

    json: str
    customer_turns: int


@dataclass(frozen=True, slots=True)
class TurnShape:
    """How a foreign transcript spells its keys, its roles and the unit of its times."""

    role: str = "role"
    at_ms: str = "at_ms"
    text: str = "text"
    unit_ms: int = 1
    roles: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_canonical(self) -> bool:
        return self == TurnShape()


CANONICAL: Final = TurnShape()


def pack_turns(turns: list[Turn]) -> Transcript | Problem | None:
    """Count and encode turns that are already typed and free of NUL; none at all is None."""
    if not turns:
        return None
    if len(turns) > MAX_TURNS:
        return _turns_problem(
            f"{len(turns)} turns", f"has {len(turns):,} turns", f"keep at most {MAX_TURNS:,}"
        )
    encoded = _encode(turns)
    if len(encoded) > MAX_TRANSCRIPT_CHARS:
        chars = sum(len(turn.text) for turn in turns)
        if chars > MAX_TRANSCRIPT_CHARS:
            return _turns_problem(
                f"{chars} characters",
                f"has {chars:,} characters of text",
                f"keep at most {MAX_TRANSCRIPT_CHARS:,}",
            )
    # A list, not a generator: this runs for every call of an import.
    customer_turns = [turn.role for turn in turns].count("customer")
    return Transcript(encoded.decode(), customer_turns)


def keys_stand_once(line: bytes, turns: list[Turn]) -> bool:
    """False where a key of these turns may stand twice in the JSON that they were read from."""
    if line.count(b'"role"') != len(turns) or line.count(b'"text"') != len(turns):
        return False
    timed = sum([turn.at_ms is not None for turn in turns])  # a list: this runs for every call
    times = line.count(b'"at_ms"')
    return times == timed or (times <= len(turns) and times == timed + len(_UNTIMED.findall(line)))


def parse_turns_text(text: str, shape: TurnShape = CANONICAL) -> Transcript | Problem | None:
    """A transcript that stands as JSON in a cell of a table."""
    if shape.is_canonical and "\\u00" not in text:
        try:
            turns = _decode(text)
            if keys_stand_once(text.encode(), turns):
                return pack_turns(turns)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass  # told below, with the place and the fix
    try:
        value = load_json(text)
    except TooManyValues as error:
        return _turns_problem(text, str(error), f"keep at most {MAX_TURNS:,} turns")
    except (ValueError, RecursionError) as error:
        return _turns_problem(
            text, f"is not JSON ({error})", 'write [{"role": "customer", "at_ms": 0, "text": "…"}]'
        )
    return parse_turns(value, shape)


def parse_turns(value: object, shape: TurnShape = CANONICAL) -> Transcript | Problem | None:
    """A transcript as decoded JSON (or text holding it), of any shape, checked turn by turn."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return parse_turns_text(value, shape)
    if not isinstance(value, list):
        return _turns_problem(str(value), f"is {_kind(value)}", "write a list of turns")
    turns: list[Turn] = []
    for index, item in enumerate(value[: MAX_TURNS + 1]):
        turn = _parse_turn(item, f"turns[{index}]", shape)
        if isinstance(turn, Problem):
            return turn
        turns.append(turn)
    if len(value) > MAX_TURNS:
        return _turns_problem(
            f"{len(value)} turns", f"has {len(value):,} turns", f"keep at most {MAX_TURNS:,}"
        )
    return pack_turns(turns)


def _parse_turn(item: Any, place: str, shape: TurnShape) -> Turn | Problem:
    if not isinstance(item, dict):
        return _turns_problem(
            str(item), f"{place} is {_kind(item)}", "write an object with role, at_ms and text"
        )
    if isinstance(item, Doubled):
        return _turns_problem(
            str(item[item.key]),
            f"{place}.{excerpt(item.key, chars=40)} stands twice, with different values",
            "keep one of them",
        )
    role = item.get(shape.role)
    role = shape.roles.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        return _turns_problem(
            str(role),
            f"{place}.{shape.role} is {_show(role)}",
            "write customer or agent, or map it under [values.role] in the column map",
        )
    offset = item.get(shape.at_ms)
    if isinstance(offset, WrittenNumber) and not offset.is_finite:
        problem, fix = NOT_FINITE
        return _turns_problem(offset.text, f"{place}.{shape.at_ms} {problem}", fix)
    at_ms = _parse_offset(offset, shape.unit_ms)
    if at_ms is not None and not 0 <= at_ms <= MAX_MS:
        return _turns_problem(
            str(item[shape.at_ms]),
            f"{place}.{shape.at_ms} is {_show(item[shape.at_ms])}",
            f"write whole milliseconds from the call's start, 0 to {MAX_MS:,}, or null",
        )
    text = item.get(shape.text)
    if not isinstance(text, str):
        return _turns_problem(
            str(text), f"{place}.{shape.text} is {_kind(text)}", "write what was said as a string"
        )
    if flaw := text_flaw(text):
        return _turns_problem(text, f"{place}.{shape.text} {flaw[0]}", flaw[1])
    return Turn(role="customer" if role == "customer" else "agent", at_ms=at_ms, text=text)


def text_flaw(text: str) -> tuple[str, str] | None:
    """What no store can keep, and how to be rid of it."""
    if "\0" in text:
        return "contains a NUL character (U+0000)", "remove it"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        return (
            f"contains half of a surrogate pair (U+{code:04X})",
            "remove it, or write the whole character as UTF-8",
        )
    return None


def _parse_offset(value: object, unit_ms: int) -> int | None:
    """Milliseconds; -1 for what is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return -1
    try:
        at_ms = round(value * unit_ms)
    except (ValueError, OverflowError):
        return -1
    whole = unit_ms != 1 or at_ms == value
    return at_ms if whole else -1


def _turns_problem(value: str, problem: str, fix: str) -> Problem:
    return Problem("turns", excerpt(value).encode(errors="replace").decode(), problem, fix)


def _show(value: object) -> str:
    return "missing" if value is None else excerpt(repr(value), chars=60)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value is None:
        return "missing"
    return names.get(type(value), "a number")
