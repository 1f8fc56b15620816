"""Text to search terms, the same for every search adapter.

A run of characters of a script without spaces (Chinese, Japanese, Korean, Thai) becomes its
overlapping pairs and its last character; any other word becomes its lower-case form, English
words their Snowball stem. Traditional Chinese characters become simplified ones, so 投诉 finds
投訴. Why pairs and not a dictionary: docs/decisions/0001-search-terms.md.
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from snowballstemmer.english_stemmer import EnglishStemmer

from shared.data_access.search.han import simplified

MAX_TERMS = 50_000  # of one text; what comes after isn't found
_MAX_WORD = 64  # characters; longer ones are cut, in texts and queries alike

_UNSPACED = (
    "\u0e00-\u0e7f"  # Thai
    "\u3040-\u30ff\u31f0-\u31ff"  # Japanese kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\uac00-\ud7af"  # Korean
)
_SYMBOLS = "\u2600-\u27bf\U0001f000-\U0001faff"
_PIECE = re.compile(
    rf"(?P<run>[{_UNSPACED}]+)"
    rf"|(?P<word>[^\W_{_UNSPACED}]+(?:['’][^\W_{_UNSPACED}]+)*)"
    rf"|(?P<symbol>[{_SYMBOLS}])"
)


_ONE_UNSPACED = re.compile(f"[{_UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Token:
    """A term and where in the text (as `normal` returned it) it stands."""

    term: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of a query: `terms` must all occur, or a term that starts with `prefix`.

    `literal` is the piece as the text would show it in simplified characters, if it reads the
    same there.
    """

    terms: tuple[str, ...]
    prefix: str | None = None
    literal: str | None = None


def normal(text: str) -> str:
    """`text` with each character in its composed form, so that é is one character."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def tokens(text: str) -> Iterator[Token]:
    """The terms of a normal text, in order."""
    for piece in _PIECE.finditer(text):
        start, end = piece.span()
        if piece.lastgroup == "run":
            run = _fold(piece[0])
            if len(run) != end - start:  # folding made it longer: keep it as one
                yield Token(run[:_MAX_WORD], start, end)
                continue
            for offset in range(len(run) - 1):
                yield Token(run[offset : offset + 2], start + offset, start + offset + 2)
            yield Token(run[-1], end - 1, end)
        else:
            yield Token(_term(piece[0]), start, end)


def terms(text: str) -> list[str]:
    """The terms of a text, in order, at most MAX_TERMS."""
    found: list[str] = []
    for piece in _PIECE.finditer(normal(text)):
        if piece.lastgroup != "run":
            found.append(_term(piece[0]))
            continue
        run = _fold(piece[0])
        if len(run) == len(piece[0]):
            found += map(operator.add, run, run[1:])  # the pairs: half the time of slices
            found.append(run[-1])
        else:
            found.append(run[:_MAX_WORD])
        if len(found) >= MAX_TERMS:
            break
    return found[:MAX_TERMS]


def words(query: str) -> list[Word]:
    """The pieces of a query, each once."""
    found: dict[Word, None] = {}
    for piece in _PIECE.finditer(normal(query)):
        if piece.lastgroup != "run":
            found[Word((_term(piece[0]),))] = None
            continue
        run = _fold(piece[0])
        if len(run) == 1:
            # A single character begins a pair wherever it isn't the last of its run.
            found[Word((), prefix=run)] = None
        else:
            pairs = dict.fromkeys(run[offset : offset + 2] for offset in range(len(run) - 1))
            found[Word(tuple(pairs), literal=simplified(piece[0]))] = None
    return list(found)


@lru_cache(maxsize=1 << 16)
def is_unspaced(character: str) -> bool:
    """Whether this character is of a script without spaces, and so begins pairs."""
    return _ONE_UNSPACED.fullmatch(character) is not None


@lru_cache(maxsize=1 << 16)
def _term(word: str) -> str:
    folded = _fold(word).replace("’", "'").removesuffix("'s").replace("'", "")
    folded = folded[:_MAX_WORD]
    # A stemmer has state, so each call has its own.
    return str(EnglishStemmer().stemWord(folded)) if folded.isascii() else folded


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    # Some characters stand for several words: ﷺ for four.
    return simplified("".join(unicodedata.normalize("NFKC", text).casefold().split()))
