"""Which transcripts share a request: as many as its tokens, and those of its answer, allow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ai_services.enrichment.analysis.chain.rules import Requests
from ai_services.enrichment.analysis.chain.transcript import Item

_PER_ITEM: Final = 40  # tokens of the marks
_PER_VERDICT: Final = 250  # tokens of an answer about one transcript


@dataclass(frozen=True, slots=True)
class Pack:
    """What one request holds, in its order; `name` is the same for the same contents."""

    items: tuple[Item, ...]

    @property
    def name(self) -> bytes:
        return hashlib.sha256(b"".join(item.digest for item in self.items)).digest()

    @property
    def digests(self) -> list[bytes]:
        return [item.digest for item in self.items]

    def halves(self) -> tuple[Pack, Pack]:
        """Of one that has two items or more."""
        middle = len(self.items) // 2
        return Pack(self.items[:middle]), Pack(self.items[middle:])


def packed(items: Iterable[Item], requests: Requests) -> list[Pack]:
    """In their order, each pack as full as it goes."""
    most = min(requests.batch, max(1, requests.answer_tokens // _PER_VERDICT))
    packs: list[Pack] = []
    now: list[Item] = []
    tokens = 0
    for item in items:
        weight = item.tokens + _PER_ITEM
        if now and (len(now) >= most or tokens + weight > requests.request_tokens):
            packs.append(Pack(tuple(now)))
            now, tokens = [], 0
        now.append(item)
        tokens += weight
    if now:
        packs.append(Pack(tuple(now)))
    return packs


@dataclass(frozen=True, slots=True)
class Planned:
    """`again` were under way when a process died; `new` are to be written down first."""

    again: list[Pack]
    new: list[Pack]


def planned(
    items: Mapping[bytes, Item], left_behind: Sequence[Sequence[bytes]], requests: Requests
) -> Planned:
    """Ask again what was under way as it was, and the rest in packs.

    What was left behind and can't be put together any more, as some of it is known or gone, is
    packed anew.
    """
    rest = dict(items)
    again = [
        Pack(tuple(rest.pop(digest) for digest in digests))
        for digests in left_behind
        if all(digest in rest for digest in digests)
    ]
    return Planned(again, packed(rest.values(), requests))
