"""How a search goes back through time in bounded steps.

An inverted index knows which documents hold the terms of a query, but not which of them are the
newest: to find those it would fetch and sort every match. So each document also carries a mark for
the span of time that it lies in, at each of `WIDTHS`, and a search asks for the matches of one
span after another, newest first: narrow spans while matches are many, wider ones while they are
few. No step fetches more than a few pages of matches, whatever a word's frequency.

Where a step goes next depends only on how many matches the step before had. What is found does
not depend on it at all: the spans of a walk follow on each other without gap or overlap.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Protocol

from shared.data_access.search.query import ALWAYS, Position

# Powers of two in microseconds: 67 s, 9 min, 72 min, 9.5 h, 3.2 days, 25 days, 204 days, 4.5 years.
WIDTHS: Final = tuple(range(26, 50, 3))
EVER: Final = len(WIDTHS)  # the level of the one span that holds every time
_GROWTH: Final = 8  # how many spans of a level make one of the next


@dataclass(frozen=True, slots=True)
class Span:
    """The times [start, end) with `number` = time >> width; all times at level EVER."""

    level: int
    number: int

    @classmethod
    def around(cls, at: int, level: int) -> Span:
        return cls(level, 0 if level == EVER else at >> WIDTHS[level])

    @property
    def start(self) -> int:
        return -(2**63) if self.level == EVER else self.number << WIDTHS[self.level]


def marks(at: int) -> Iterator[str]:
    """The marks of the spans that `at` lies in, narrowest first; EVER has none."""
    return (mark(Span(level, at >> width)) for level, width in enumerate(WIDTHS))


def mark(span: Span) -> str:
    return f"{'abcdefgh'[span.level]}{span.number}"


def level_of(duration: int) -> int:
    """The level of the narrowest spans that are as long as `duration` microseconds."""
    for level, width in enumerate(WIDTHS):
        if duration <= 1 << width:
            return level
    return EVER


@dataclass(frozen=True, slots=True)
class Pace:
    """How much one step may do, and one page. The defaults are measured: docs/decisions/0015."""

    near: int = 512  # about so many documents lie in the first span; no page ends within them
    crowd: int = 200  # so many matches of one span are too many to sort: it is divided
    last_crowd: int = 4000  # the same for the narrowest spans, which can't be divided
    slow_step: float = 0.005  # seconds; after such a step the next is no wider
    patience: float = 0.03  # seconds; a page that took longer ends where it has come to,
    first_steps: int = 12  # but not before so many steps


DEFAULT: Final = Pace()


@dataclass(frozen=True, slots=True)
class Near:
    """Of the `documents` newest ones up to some time: the newest and the oldest time."""

    documents: int
    newest: int
    oldest: int


class Source(Protocol):
    """The documents that a walk goes over, and which of them match."""

    async def near(self, at: int, most: int) -> Near:
        """About the `most` newest documents, matches or not, that are not newer than `at`."""
        ...

    async def matches(self, span: Span, most: int) -> list[Position]:
        """The matches of a span in no order; any `most` of them if there are more."""
        ...

    async def in_order(self, span: Span, after: Position, most: int) -> list[Position]:
        """The first `most` matches of a span after a position, in order."""
        ...


async def page(
    source: Source, position: Position | None, limit: int, pace: Pace = DEFAULT
) -> tuple[list[Position], Position | None]:
    """At most `limit` matches after `position`, and where the next page begins, None at the end.

    A page with fewer hits may have a next one: it took too long to find more.
    """
    position = position or Position(ALWAYS, "")
    near = await source.near(position.at, pace.near)
    if not near.documents:
        return [], None
    if near.newest < position.at:
        position = Position(near.newest, "")
    walk = _Walk(source, position, level_of(near.newest - near.oldest), limit, pace)
    end = near.oldest if near.documents < pace.near else None
    while not walk.ended and len(walk.found) <= limit:
        await walk.step()
        walk.ended = walk.ended or (end is not None and walk.position.at < end)
        if walk.tired and walk.position.at < near.oldest:
            break
    found = walk.found[:limit]
    if len(walk.found) > limit:
        return found, found[-1]
    return found, None if walk.ended else walk.position


_order = attrgetter("order")


class _Walk:
    """Back from `position`, one span a step, at first at `level`."""

    def __init__(
        self, source: Source, position: Position, level: int, limit: int, pace: Pace
    ) -> None:
        self.position = position
        self.found: list[Position] = []
        self.ended = False
        self._source = source
        self._span = Span.around(position.at, level)
        self._level = level
        self._limit = limit
        self._pace = pace
        self._crowd = max(pace.crowd, 4 * limit)
        self._crowded: Span | None = None
        self._steps = 0
        self._started = time.monotonic()

    @property
    def tired(self) -> bool:
        pace = self._pace
        return self._steps >= pace.first_steps and time.monotonic() - self._started > pace.patience

    async def step(self) -> None:
        """Look at a span; go on to an older one if all of its matches are found."""
        self._steps += 1
        started = time.monotonic()
        most = self._crowd if self._span.level else max(self._crowd, self._pace.last_crowd)
        matches = await self._source.matches(self._span, most)
        if len(matches) < most:
            self.found += sorted(filter(self.position.before, matches), key=_order)
        elif self._span.level:
            self._crowded = self._span
            self._span = Span.around(self.position.at, self._span.level - 1)
            return
        else:
            wanted = self._limit + 1 - len(self.found)
            rest = await self._source.in_order(self._span, self.position, wanted)
            self.found += rest
            if len(rest) == wanted:
                return
        slow = time.monotonic() - started > self._pace.slow_step
        await self._go_on(len(matches), widen=not slow or self._span.level <= self._level + 1)

    async def _go_on(self, matches: int, *, widen: bool) -> None:
        level = self._span.level
        if level == EVER:
            self.ended = True
            return
        self.position = Position(self._span.start - 1, "")
        wider = Span.around(self.position.at, level + 1)
        if widen and matches * _GROWTH < self._crowd and wider != self._crowded:
            self._span = wider
            return
        if not matches:
            await self._skip_gap()
        self._span = Span.around(self.position.at, level)

    async def _skip_gap(self) -> None:
        """Go on where the next document is, for spans of this width may hold none for ages."""
        near = await self._source.near(self.position.at, 1)
        self.ended = near.documents == 0
        self.position = Position(near.newest, "")
