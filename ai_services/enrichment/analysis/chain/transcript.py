"""A transcript as a model reads it, what tells it from others, and the parts of a long one."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.analysis.local import Turn

# Blanks, and what is not seen: controls, marks of direction, lone surrogates.
_UNSEEN: Final = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+"
)
_PER_TURN: Final = 12  # tokens of what stands around its words


@dataclass(frozen=True, slots=True)
class Said:
    """Words of one turn, `number` in the transcript from 0."""

    number: int
    role: str
    text: str

    @property
    def tokens(self) -> int:
        """About how many, rather more: a token for each three bytes."""
        return len(self.text.encode()) // 3 + _PER_TURN


@dataclass(frozen=True, slots=True)
class Item:
    """What is judged at a time: a transcript, or a window of a long one.

    `digest` names its words, whoever said them when: equal words are judged once.
    """

    digest: bytes
    said: tuple[Said, ...]
    tokens: int


def normalised(turns: Sequence[Turn]) -> tuple[Said, ...]:
    """The words in NFC with single blanks; turns without any are left out."""
    seen = (Said(number, turn.role, _normal(turn.text)) for number, turn in enumerate(turns))
    return tuple(said for said in seen if said.text)


def items_of(said: Sequence[Said], basis: bytes, most_tokens: int) -> list[Item]:
    """One item, or windows of at most `most_tokens`, cut between turns where that can be.

    `basis` stands for all else that a verdict depends on: the model, the prompt, the topics.
    """
    return [_item(window, basis) for window in _windows(said, most_tokens)]


def basis_of(analyzer: str, topics: Sequence[str]) -> bytes:
    digest = hashlib.sha256(analyzer.encode())
    for topic in topics:
        digest.update(b"\0" + topic.encode())
    return digest.digest()


def _normal(text: str) -> str:
    plain = text if text.isascii() else unicodedata.normalize("NFC", text)
    return _UNSEEN.sub(" ", plain).strip()


def _item(said: Sequence[Said], basis: bytes) -> Item:
    digest = hashlib.sha256(basis)
    for one in said:
        words = one.text.encode()
        digest.update(b"%c%d:" % (one.role[0].encode(), len(words)) + words)
    return Item(digest.digest(), tuple(said), sum(one.tokens for one in said))


def _windows(said: Sequence[Said], most_tokens: int) -> Iterator[list[Said]]:
    window: list[Said] = []
    tokens = 0
    for one in _cut(said, most_tokens):
        if window and tokens + one.tokens > most_tokens:
            yield window
            window, tokens = [], 0
        window.append(one)
        tokens += one.tokens
    if window:
        yield window


def _cut(said: Sequence[Said], most_tokens: int) -> Iterator[Said]:
    """Turns that are longer than a window by themselves come in pieces."""
    most = most_tokens - _PER_TURN  # characters have three bytes or fewer, but for rare ones
    for one in said:
        if one.tokens <= most_tokens:
            yield one
            continue
        for start in range(0, len(one.text), most * 3 // 4):
            yield Said(one.number, one.role, one.text[start : start + most * 3 // 4])
