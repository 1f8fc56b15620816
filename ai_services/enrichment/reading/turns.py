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
from ai_services.enrichment.reading.roles import CUSTOMER, NOBODY, side_of
from ai_services.enrichment.reading.spoken_lines import NotSpoken, read_lines
from ai_services.enrichment.validation.record import (
    MAX_MS,
    MAX_TRANSCRIPT_CHARS,
    MAX_TURNS,
    Turn,
)
from ai_services.enrichment.validation.reject import Damage, Problem, excerpt

_decode: Final = msgspec.json.Decoder(list[Turn]).decode
_UNTIMED: Final = re.compile(rb'"at_ms"\s*:\s*null')
_JSON_BEGINS: Final = ("[", "{", '"')
_TIME_IN_BRACKETS: Final = re.compile(r"\s*\[\s*[0-9]+:")
_AT: Final = object()  # in a turn of lines: its time, in milliseconds already
NOT_FINITE: Final = ("is not a finite number", "write a number within range, or null")
_encode: Final = msgspec.json.Encoder().encode


class Transcript(NamedTuple):
    """A JSON array of {"role","at_ms","text"}, the number of turns by the customer, and how many
    turns of neither side (announcements, music) were left out.
    """

    json: str
    customer_turns: int
    left_out: int = 0


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
    if not text.lstrip().startswith(_JSON_BEGINS) or _TIME_IN_BRACKETS.match(text):
        return _parse_lines(text, shape)
    try:
        value = load_json(text)
    except TooManyValues as error:
        return _turns_problem(text, str(error), f"keep at most {MAX_TURNS:,} turns")
    except (ValueError, RecursionError) as error:
        spoken = _parse_lines(text, shape)
        if not isinstance(spoken, Problem):
            return spoken
        return _turns_problem(
            text, f"is not JSON ({error})", 'write [{"role": "customer", "at_ms": 0, "text": "…"}]'
        )
    return parse_turns(value, shape)


def _parse_lines(text: str, shape: TurnShape) -> Transcript | Problem | None:
    """A transcript as text, a line for each turn."""
    if flaw := text_flaw(text):
        return _damage(text, *flaw)
    try:
        spoken = read_lines(text, shape.roles)
    except NotSpoken as error:
        return _turns_problem(
            text,
            f"{error}, and is not JSON",
            'write a line for each turn, "客户：…" or "agent: …", or a list of turns as JSON',
        )
    turns = [
        {shape.role: one.who, shape.at_ms: None, shape.text: one.text, _AT: one.at_ms}
        for one in spoken
    ]
    return parse_turns(turns, shape)


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
        if turn is not None:
            turns.append(turn)
    if len(value) > MAX_TURNS:
        return _turns_problem(
            f"{len(value)} turns", f"has {len(value):,} turns", f"keep at most {MAX_TURNS:,}"
        )
    packed = pack_turns(turns)
    left_out = len(value) - len(turns)
    if left_out and packed is None:
        return _turns_problem(
            f"{left_out} turns", "has turns of neither side only", "nothing, if that is as meant"
        )
    if left_out and isinstance(packed, Transcript):
        return packed._replace(left_out=left_out)
    return packed


def left_out_of(transcript: Transcript) -> Problem:
    """What to say of a transcript some of whose turns were left out."""
    return _turns_problem(
        f"{transcript.left_out} turns",
        f"has {transcript.left_out:,} turns of neither side (system, IVR), which are left out",
        "nothing, if that is as meant; else map their roles under [values.role] in the column map",
    )


def _parse_turn(item: Any, place: str, shape: TurnShape) -> Turn | Problem | None:
    """None for a turn of neither side."""
    if not isinstance(item, dict):
        return _turns_problem(
            str(item), f"{place} is {_kind(item)}", "write an object with role, at_ms and text"
        )
    if isinstance(item, Doubled):
        return _damage(
            str(item[item.key]),
            f"{place}.{excerpt(item.key, chars=40)} stands twice, with different values",
            "keep one of them",
        )
    role = item.get(shape.role)
    side = side_of(role, shape.roles) if isinstance(role, str) else None
    if side is None:
        return _turns_problem(
            str(role),
            f"{place}.{shape.role} is {_show(role)}",
            "write customer or agent, or map it under [values.role] in the column map",
        )
    if side == NOBODY:
        return None
    offset = item.get(shape.at_ms)
    if isinstance(offset, WrittenNumber) and not offset.is_finite:
        problem, fix = NOT_FINITE
        return _damage(offset.text, f"{place}.{shape.at_ms} {problem}", fix)
    at_ms = item[_AT] if _AT in item else _parse_offset(offset, shape.unit_ms)
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
        return _damage(text, f"{place}.{shape.text} {flaw[0]}", flaw[1])
    return Turn(role="customer" if side == CUSTOMER else "agent", at_ms=at_ms, text=text)


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
    return Problem("turns", _shown(value), problem, fix)


def _damage(value: str, problem: str, fix: str) -> Damage:
    return Damage("turns", _shown(value), problem, fix)


def _shown(value: str) -> str:
    return excerpt(value).encode(errors="replace").decode()


def _show(value: object) -> str:
    return "missing" if value is None else excerpt(repr(value), chars=60)


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    if value is None:
        return "missing"
    return names.get(type(value), "a number")
