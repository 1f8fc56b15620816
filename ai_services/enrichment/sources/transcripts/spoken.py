"""What dialers keep of what was said, as the turns of a transcript.

Either one row for each turn, with a column that says who spoke, or texts: a JSON list of turns, or
lines that begin with the speaker. A line without one belongs to the speaker before it; before the
first, to `speaker`: what a recogniser wrote down is what the customer said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

Speaker = Literal["customer", "agent"]
_SPEAKERS: Final[Mapping[str, Speaker]] = {
    **dict.fromkeys(("customer", "client", "user", "caller", "callee", "客户", "用户", "顾客",
                     "主叫", "被叫"), "customer"),
    **dict.fromkeys(("agent", "robot", "bot", "ai", "assistant", "system", "机器人", "坐席", "客服",
                     "系统", "话术"), "agent"),
}  # fmt: skip
_MARKED: Final = re.compile(r"\s*[\[【]?\s*([^\W\d_]{2,9})\s*[\]】]?\s*[:：]\s*(.*)", re.DOTALL)
_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class SpokenColumns:
    """The columns of a table, or the fields of a document, that hold what was said.

    `key` holds the callid; `order` is what a call's rows are sorted by. `speakers` says what the
    values of `role` mean, beside those that are known.
    """

    key: str = "callid"
    text: str = "text"
    role: str | None = None
    at_ms: str | None = None
    order: str | None = None
    speaker: Speaker = "customer"
    speakers: Mapping[str, Speaker] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [self.key, self.text, *(one for one in (self.role, self.at_ms) if one)]


def turns_of(rows: Iterable[Sequence[str | None]], how: SpokenColumns) -> str | None:
    """One call's rows, each as `how.names` without the key, as a JSON list of turns; None if nothing
    was said. A text that is a JSON list already is passed on as it is, if it is all there is.
    """
    turns: list[dict[str, Any]] = []
    for row in rows:
        text = (row[0] or "").strip()
        if not text:
            continue
        if how.role is None and text.startswith("[{"):
            if not turns:
                return text
            turns.append(_turn("customer", None, text))
            continue
        rest = list(row[1:])
        role = rest.pop(0) if how.role else None
        at_ms = _whole(rest.pop(0)) if how.at_ms else None
        if how.role:
            turns.append(_turn(_speaker(role, how) or str(role), at_ms, text))
        else:
            turns += _lines(text, how, at_ms)
    return _encode(turns).decode() if turns else None


def _lines(text: str, how: SpokenColumns, at_ms: int | None) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    speaker: str = how.speaker
    for line in text.splitlines():
        marked = _MARKED.fullmatch(line)
        who = _speaker(marked[1], how) if marked else None
        said = (marked[2] if marked and who else line).strip()
        speaker = who or speaker
        if said:
            turns.append(_turn(speaker, at_ms if not turns else None, said))
    return turns


def _speaker(word: str | None, how: SpokenColumns) -> str | None:
    if word is None:
        return how.speaker
    known = how.speakers.get(word)
    return known or _SPEAKERS.get(word.strip().casefold())


def _turn(role: str, at_ms: int | None, text: str) -> dict[str, Any]:
    return {"role": role, "at_ms": at_ms, "text": text.replace("\0", "")}


def _whole(text: str | None) -> int | None:
    try:
        return None if text is None else max(0, round(float(text)))
    except (ValueError, OverflowError):
        return None
