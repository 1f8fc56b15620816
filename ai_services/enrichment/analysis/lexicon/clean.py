"""Undoes what typing, scanning and speech recognition do to words, and remembers where.

"terrrrible" and "horible", 我 要 投 诉, a soft hyphen or a line end within a word: the words are
read as they were meant, and every place in the result knows its place in what was written.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

_INVISIBLE: Final = "\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff"
_UNSEEN: Final = re.compile(f"[{_INVISIBLE}]+")
_HAN_GAP: Final = re.compile(rf"[ \t\n\-·.*_]{{1,2}}(?=[{_HAN}])")
_HAN_RUN: Final = re.compile(f"[{_HAN}]+")
_LETTER_GAP: Final = re.compile(r"-[ \n]?(?=[a-z])")
_LINE_END: Final = re.compile(r"\n(?=[a-z])")
_SPELT: Final = re.compile(r"(?<![a-z'])[a-z](?: [a-z]){3,}(?![a-z'])")
_SINGLE_LETTERS: Final = re.compile(" [a-z] [a-z] ")
_LETTERS_BEFORE: Final = re.compile(r"[a-z]+$")
_LETTERS: Final = re.compile(r"[a-z]+")
_LONGEST_PART: Final = 14
_Edit = tuple[int, int, str]


class Words(Protocol):
    """What cleaning asks of a vocabulary."""

    @property
    def weighty(self) -> Collection[str]: ...

    def slips(self, text: str) -> dict[str, str]: ...


@dataclass(slots=True)
class Cleaned:
    """A text after cleaning; `cased` is as long as `text`, and `origin` leads back."""

    text: str
    cased: str
    _places: list[int] = field(default_factory=list)
    _origins: list[int] = field(default_factory=list)

    @property
    def is_changed(self) -> bool:
        return bool(self._places)

    def origin(self, place: int) -> int:
        """Offset in what was written."""
        if not self._places:
            return place
        i = bisect_right(self._places, place) - 1
        return place if i < 0 else self._origins[i] + place - self._places[i]

    def place(self, origin: int) -> int:
        """Offset in the cleaned text of a character that was kept."""
        if not self._places:
            return origin
        i = bisect_right(self._origins, origin) - 1
        return origin if i < 0 else self._places[i] + origin - self._origins[i]


def clean(text: str, cased: str, turn_starts: Sequence[int], words: Words) -> Cleaned:
    """`text` is normalised and as long as `cased`. Turn borders are never removed."""
    edits = _slips(text, words)
    if not text.isascii():
        edits += [(*match.span(), "") for match in _UNSEEN.finditer(text)]
        edits += _split_characters(text, turn_starts, words)
    edits += _split_letters(text, cased, turn_starts, words)
    if not edits:
        return Cleaned(text, cased)
    edits.sort()
    cleaned = Cleaned("", "")
    parts: list[str] = []
    cased_parts: list[str] = []
    position = length = 0
    for start, end, meant in edits:
        if start < position:
            continue  # two tears in one place: the first is mended
        parts += (text[position:start], meant)
        shown = meant.upper() if cased[start:end].isupper() else meant
        cased_parts += (cased[position:start], shown)
        length += start - position
        cleaned._places.append(length)  # noqa: SLF001 - built here
        cleaned._origins.append(start)  # noqa: SLF001
        length += len(meant)
        position = end
        cleaned._places.append(length)  # noqa: SLF001
        cleaned._origins.append(end)  # noqa: SLF001
    parts.append(text[position:])
    cased_parts.append(cased[position:])
    cleaned.text, cleaned.cased = "".join(parts), "".join(cased_parts)
    return cleaned


def _slips(text: str, words: Words) -> list[_Edit]:
    """Stretched and misspelt words, mended."""
    slips = words.slips(text)
    if not slips:
        return []
    pattern = re.compile(rf"(?<![a-z])(?:{'|'.join(slips)})(?![a-z])")
    return [(*match.span(), slips[match.group()]) for match in pattern.finditer(text)]


def _split_characters(text: str, turn_starts: Sequence[int], words: Words) -> list[_Edit]:
    """Gaps between characters that stand alone, or within a word of the vocabulary."""
    edits = []
    borders = frozenset(turn_starts)
    for match in _HAN_GAP.finditer(text):
        start, end = match.span()
        if start == 0 or not _HAN_RUN.match(text, start - 1) or end in borders:
            continue
        left = _run_before(text, start)
        right = (_HAN_RUN.match(text, end) or match)[0]
        if (len(left) == 1 and len(right) == 1) or _crossed(left, right, words.weighty):
            edits.append((start, end, ""))
    return edits


def _run_before(text: str, end: int) -> str:
    start = end
    while start > 0 and end - start < _LONGEST_PART and _HAN_RUN.match(text, start - 1):
        start -= 1
    return text[start:end]


def _crossed(left: str, right: str, weighty: Collection[str]) -> bool:
    return any(
        left[-i:] + right[:j] in weighty
        for i in range(1, min(3, len(left)) + 1)
        for j in range(1, min(3, len(right)) + 1)
        if left[-i] != "好"
    )


def _split_letters(text: str, cased: str, turn_starts: Sequence[int], words: Words) -> list[_Edit]:
    gaps = list(_LETTER_GAP.finditer(text)) if "-" in text else []
    if text.count("\n") >= len(turn_starts):  # more than the borders of turns
        borders = frozenset(turn_starts)
        gaps += [gap for gap in _LINE_END.finditer(text) if gap.end() not in borders]
    if "\u00a0" in cased:
        gaps += [gap for gap in re.finditer(" (?=[a-z])", text) if cased[gap.start()] == "\u00a0"]
    edits: list[_Edit] = []
    for gap in gaps:
        left = _LETTERS_BEFORE.search(text, max(0, gap.start() - _LONGEST_PART), gap.start())
        right = _LETTERS.match(text, gap.end(), gap.end() + _LONGEST_PART)
        if left and right and left[0] + right[0] in words.weighty:
            edits.append((*gap.span(), ""))
    if _SINGLE_LETTERS.search(text):
        spelt = ((*match.span(), match[0].replace(" ", "")) for match in _SPELT.finditer(text))
        edits += [edit for edit in spelt if edit[2] in words.weighty]
    return edits
