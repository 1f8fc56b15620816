"""Busy polling: the event loop stays awake a moment longer while events come fast.

A process that waits gives its core away. Getting it back takes tens of microseconds, in a virtual
machine more, as the core is offered to others in between. HAProxy (`busy-polling`) and Linux
(`haltpoll`) therefore go on looking for a while. Here the event loop does so only after many
events that each came soon after the one before, such as those of a client that asks again as soon
as it is answered: where they come at random, sleeping costs less than looking in vain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

STREAK: Final = 16  # waits that were short, one after the other, before the next is taken for short


class BusyPoll:
    """`note` every event; while they come fast, the loop stays awake for `longest` s after each."""

    def __init__(self, longest: float, clock: Callable[[], float] = perf_counter) -> None:
        self._longest = longest  # 0: never
        self._clock = clock
        self._short_waits = 0
        self._noted = False
        self._last = 0.0
        self.awake = False

    def note(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.awake:
            self._noted = True
        elif self._longest:
            now = self._clock()
            self._short_waits = self._short_waits + 1 if now - self._last < self._longest else 0
            self._last = now
            if self._short_waits >= STREAK:
                self.awake = True
                loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Once in each turn of the loop, which doesn't sleep while there is something to call."""
        now = self._clock()
        if self._noted:
            self._noted = False
            self._last = now
        elif now - self._last >= self._longest:
            self._short_waits = 0
            self.awake = False
            return
        loop.call_soon(self._turn, loop)
