"""What a trained model reads of a text: its n-grams, as 64-bit numbers.

Words, what stands beside what, what stands in one text with what, and parts of words; Chinese characters are words of their own, so that
their sequences are found, too. Numbers, not strings: a model holds no words that could be read from it.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
import snowballstemmer
from numpy.typing import NDArray

VERSION: Final = "ngrams/1"  # another number whenever a text has other n-grams

Hashes = NDArray[np.uint64]

_HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD: Final = re.compile(rf"[{_HAN}]|[^\W{_HAN}]+")
_RUN: Final = re.compile(r"\w+")
_APOSTROPHES: Final = re.compile(r"(?<=\w)['’](?=\w)")
_SHORTEST, _LONGEST = 2, 5  # characters
_FARTHEST: Final = 12  # words from each other
_MOST: Final = 20_000  # characters of a text that are read
_BESIDE: Final = np.uint64(0x9E3779B97F4A7C15)
_BEYOND: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_STEP: Final = np.uint64(0x100000001B3)
_FIRST, _LAST = 1, 2  # stand for the borders of a text


def words(text: str) -> Hashes:
    """Words by their stems, neighbours, and words with one between them; the borders count as words."""
    found = [_hash(word) for word in _WORD.findall(_plain(text))]
    if not found:
        return np.empty(0, np.uint64)
    line = np.array([_FIRST, *found, _LAST], np.uint64)
    return np.concatenate(
        (
            _mixed(line[1:-1], 1),
            _mixed(line[:-1] * _BESIDE + line[1:], 2),
            _mixed(line[:-2] * _BEYOND + line[2:], 3),
        )
    )


def pairs(text: str) -> Hashes:
    """Every two words with at most a dozen between them, whichever comes first."""
    found = [_hash(word) for word in _WORD.findall(_plain(text))]
    line = np.array(found, np.uint64)
    beside = []
    for distance in range(1, min(_FARTHEST, len(line) - 1) + 1):
        one, other = line[:-distance], line[distance:]
        apart = one != other
        first, second = np.minimum(one, other)[apart], np.maximum(one, other)[apart]
        beside.append(_mixed(first * _BESIDE + second, 4))
    return np.concatenate(beside) if beside else np.empty(0, np.uint64)


def parts(text: str) -> Hashes:
    """Two to five characters in a row, within words and their borders."""
    runs = _RUN.findall(_plain(text))
    if not runs:
        return np.empty(0, np.uint64)
    line = np.frombuffer(f" {' '.join(runs)} ".encode("utf-32-le"), np.uint32).astype(np.uint64)
    blanks = np.concatenate(([0], np.cumsum(line == ord(" "))))
    hashes = line
    found = []
    for length in range(2, _LONGEST + 1):
        hashes = hashes[:-1] * _STEP + line[length - 1 :]
        if length >= _SHORTEST:
            inner = blanks[length - 1 : len(line)] - blanks[1 : len(line) - length + 2]
            found.append(_mixed(hashes[inner == 0], 8 + length))
    return np.concatenate(found)


FAMILIES: Final[Mapping[str, Callable[[str], Hashes]]] = {
    "words": words,
    "pairs": pairs,
    "parts": parts,
}


def _plain(text: str) -> str:
    shown = unicodedata.normalize("NFKC", text[:_MOST]).casefold()
    return _APOSTROPHES.sub("", shown)


@lru_cache(1 << 16)
def _hash(word: str) -> int:
    stem = _stemmer().stemWord(word) if word.isascii() else word
    return int.from_bytes(hashlib.blake2b(stem.encode(), digest_size=8).digest())


@lru_cache(1)
def _stemmer() -> snowballstemmer.stemmer:
    return snowballstemmer.stemmer("english")


def _mixed(hashes: Hashes, salt: int) -> Hashes:
    """Spread evenly (the finaliser of splitmix64), and apart from those of another salt."""
    x = hashes + np.uint64(salt * int(_BESIDE) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = x ^ (x >> np.uint64(31))
    return mixed
