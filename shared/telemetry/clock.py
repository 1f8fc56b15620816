"""The time of spans: wall-clock time that goes on by the monotonic clock.

A span lasts as long as it lasted, whatever is done to the wall clock meanwhile, and within one
process no span begins before its parent. Between processes the clocks of their machines differ: a
span may then begin before its parent in another process, and is told as it is. Nothing is moved,
reordered or dropped for it; who shows traces can correct that, which only works with true times.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

_STEP_NS: Final = 1_000_000_000


class Moment(NamedTuple):
    """When something began, in nanoseconds: since 1970, and by the monotonic clock."""

    wall: int
    monotonic: int


class Clock:
    """Wall-clock time as of its making, plus what the monotonic clock has counted since.

    Once the two are a second apart (the wall clock was set, or the machine has slept, which the
    monotonic clock doesn't count) what begins from then on goes by the new wall-clock time.
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> Moment:
        monotonic = self._monotonic()
        offset = self._wall() - monotonic
        if abs(offset - self._offset) > _STEP_NS:
            self._offset = offset
        return Moment(monotonic + self._offset, monotonic)

    def since(self, began: Moment) -> int:
        """The time now of something that began then: later by what the monotonic clock says."""
        return began.wall + self._monotonic() - began.monotonic
