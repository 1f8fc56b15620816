"""The words that somebody meant who mistyped them: "horible", "dissapointed", "greaaat".

Only words that weigh something are meant, and only where what was typed is no word of its own:
"compliant" is not a slip of "complaint". A word is recognised by its letters without doubling, or,
if it is long, by one letter more, less, other or swapped; its first letter is always right.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Final

_DOUBLED: Final = re.compile(r"([a-z])\1+")
_STRETCH: Final = re.compile(r"([a-z])\1{2,}")
_WORD: Final = re.compile("[a-z]{3,}")
_MEMORY: Final = 1 << 16  # pieces of text between blanks
_LONG: Final = 7  # letters from which one wrong letter is forgiven
_SHORTEST: Final = 6
_LONGEST: Final = 40
_ENDINGS: Final = ("s", "es", "ed", "d", "ing", "ly", "er", "ers", "ness", "r")


class Speller:
    """Knows words that weigh something, and ordinary words that look like them."""

    def __init__(self, weighty: Collection[str], known: Collection[str]) -> None:
        self._known = frozenset(known) | frozenset(weighty)
        self._sound: set[str] = set()  # pieces of text that were found to hold no slip
        self._plain: dict[str, str] = {}  # letters without doubling → word
        self._near: dict[str, str] = {}  # word less one letter → word
        for word in sorted(weighty, key=lambda word: (len(word), word)):
            if len(word) >= _SHORTEST - 1:
                self._plain.setdefault(_undoubled(word), word)
            if len(word) >= _LONG:
                for shorter in _shorter(word):
                    self._near.setdefault(shorter, word)

    def slips(self, text: str) -> dict[str, str]:
        """The misspelt words of a normalised text → the words that were meant."""
        unseen = set(text.split()) - self._sound
        if not unseen:
            return {}
        found: dict[str, str] = {}
        for piece in unseen:
            words = _WORD.findall(piece)
            slips = {word: meant for word in words if (meant := self.meant(word)) != word}
            if slips:
                found |= slips
            elif len(self._sound) < _MEMORY:
                self._sound.add(piece)
        return found

    def meant(self, typed: str) -> str:
        """The word meant, in lower case; `typed` itself if that is no slip."""
        if typed in self._known or len(typed) > _LONGEST:
            return typed
        word = typed
        if _STRETCH.search(typed):
            for length in (2, 1):
                word = _STRETCH.sub(r"\1" * length, typed)
                if word in self._known:
                    return word
        if len(word) < _SHORTEST or self._is_inflected(word):
            return word
        if (meant := self._plain.get(_undoubled(word))) and meant[0] == word[0]:
            return meant
        if len(word) >= _LONG:
            for meant in self._candidates(word):
                if (
                    meant[0] == word[0]
                    and abs(len(meant) - len(word)) <= 1
                    and _one_off(word, meant)
                ):
                    return meant
        return word

    def _candidates(self, word: str) -> Iterator[str]:
        for key in (word, *_shorter(word)):
            if (meant := self._near.get(key)) is not None:
                yield meant
        for shorter in _shorter(word):
            if shorter in self._known and len(shorter) >= _LONG:
                yield shorter

    def _is_inflected(self, word: str) -> bool:
        return any(
            word.endswith(ending) and word[: -len(ending)] in self._known for ending in _ENDINGS
        )


def _undoubled(word: str) -> str:
    return _DOUBLED.sub(r"\1", word)


def _shorter(word: str) -> Iterable[str]:
    return (word[:i] + word[i + 1 :] for i in range(1, len(word)))


def _one_off(typed: str, meant: str) -> bool:
    """One letter added, left out, mistaken or two neighbours swapped."""
    i = 0
    while i < min(len(typed), len(meant)) and typed[i] == meant[i]:
        i += 1
    a, b = typed[i:], meant[i:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[1::-1] == b[:2] and a[2:] == b[2:])
