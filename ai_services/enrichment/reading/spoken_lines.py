"""Transcripts that are written as text, a line for each turn: `客服：您好` ⏎ `客户：我要投诉`.

A time may stand before or behind who speaks: `[00:05] Agent: hello`, `客户(00:01:05)：喂`. A line that
names nobody goes on with what was said before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ai_services.enrichment.reading.roles import NAMES, side_of
from ai_services.enrichment.validation.duration import read_duration

_CLOCK: Final = r"(?:[0-9]{1,2}:)?[0-9]{1,3}:[0-9]{2}(?:[.,][0-9]{1,6})?"
_DATED: Final = (
    r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}[ T][0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?:[.,][0-9]{1,6})?"
)
_TIME: Final = (
    rf"[\[(（【]?\s*+(?:{_DATED}|(?P<WHEN>{_CLOCK})(?:\s*+[-–~]++>?\s*+{_CLOCK})?)\s*+[\])）】]?"
)
_BEFORE: Final = _TIME.replace("WHEN", "before")
_BEHIND: Final = _TIME.replace("WHEN", "behind")
_WHO: Final = r"[^\W\d_](?:[^:：\n\[(（【]{0,28}?)"
_LINE: Final = re.compile(
    rf"[-*>•]?\s*+(?:{_BEFORE}[\s,;|-]*+)?(?:[\[【](?P<boxed>{_WHO})[\]】]|(?P<who>{_WHO}"
    rf"(?:[(（\[【](?!\s*[0-9:：.]+\s*[)）\]】])[^)）\]】\n]{{0,30}}[)）\]】])?))\s*+(?:{_BEHIND}\s*+)?"
    r"(?(boxed)[:：]?\s*+|[:：]\s?)(?P<text>.*)",
    re.DOTALL,
)
# As chats are copied: who and when in one line, what was said below it.
_HEADING: Final = re.compile(rf"(?P<who>{_WHO})\s++{_BEHIND}|{_BEFORE}(?P<named>{_WHO})")
_BREAKS: Final = re.compile(r"\r\n?|\n|\u2028|\\r\\n|\\n|<br\s*/?>", re.IGNORECASE)
# In one line: who speaks stands at its start, or after a blank or the end of a sentence.
_INLINE: Final = re.compile(
    rf"(?:(?<=^)|(?<=[\s;；|,，。.！!？?]))(?=(?:{NAMES})\s?[0-9]{{0,4}}\s?[:：])", re.IGNORECASE
)


class Spoken(NamedTuple):
    """A turn: who spoke, as it is written, when, and what."""

    who: str
    at_ms: int | None
    text: str


class NotSpoken(ValueError):
    """Why a text is no transcript, in words that follow it."""


def read_lines(text: str, mapped: Mapping[str, str]) -> Sequence[Spoken]:
    """The turns of a text. Raises NotSpoken where it doesn't say who speaks."""
    turns: list[tuple[Spoken, list[str]]] = []
    for line in map(str.strip, _lines(text)):
        turn = _turn(line, mapped)
        if turn is not None:
            turns.append((turn, [turn.text]))
        elif turns:
            turns[-1][1].append(line)
        else:
            raise NotSpoken("doesn't say who speaks")
    return [turn._replace(text="\n".join(said).lstrip()) for turn, said in turns]


def _lines(text: str) -> list[str]:
    lines = [line for line in _BREAKS.split(text) if line.strip()]
    if len(lines) == 1:
        lines = [part for part in _INLINE.split(lines[0]) if part.strip(" ;；|")]
        return [part.rstrip(" ;；|\t") for part in lines]
    return lines


def _turn(line: str, mapped: Mapping[str, str]) -> Spoken | None:
    """None for a line that names nobody: `他说：好` is what somebody says."""
    if found := _HEADING.fullmatch(line):
        who, text = found["who"] or found["named"], ""
    elif found := _LINE.fullmatch(line):
        who, text = found["boxed"] or found["who"], found["text"].strip()
    else:
        return None
    if side_of(who.strip(), mapped) is None:
        return None
    clock = found["before"] or found["behind"]
    return Spoken(who.strip(), None if clock is None else read_duration(clock, "s"), text)
