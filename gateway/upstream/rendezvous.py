"""Rendezvous hashing: every gateway sends the same key to the same instance, without a table.

Each instance has a score for each key and the highest wins. If an instance leaves, only its own
keys move, and they spread over all others by weight; if one comes, it takes its share from each.
Weights follow Schindelhauer and Schomaker's logarithmic method, by which growing one instance's
weight moves keys to it only.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Final

_MASK: Final = (1 << 64) - 1
_MOST_SEEDS: Final = 4096


class Rendezvous:
    """Scores, with the hashes of the instances' names kept at hand."""

    def __init__(self) -> None:
        self._seeds: dict[str, int] = {}

    def seed(self, name: str) -> int:
        """What `score` takes for an instance of this name."""
        seed = self._seeds.get(name)
        if seed is None:
            if len(self._seeds) >= _MOST_SEEDS:  # names of long gone instances
                self._seeds.clear()
            seed = self._seeds[name] = hash_of(name)
        return seed


def hash_of(text: str) -> int:
    """64 bits that are the same in every process."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def score(key: int, seed: int, weight: float) -> float:
    """The instance with the highest score gets the key. `weight` is above 0."""
    mixed = key ^ seed  # mixed by the finaliser of splitmix64
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
    mixed ^= mixed >> 31
    # 52 bits and a half: exact in a float, and never 0 or 1, whose logarithms have no use here.
    return -weight / math.log(((mixed >> 12) + 0.5) / 2.0**52)
