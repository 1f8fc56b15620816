"""The number of gateway processes: while Redis is away each counts its part of the limits.

Each announces itself in the registry, by host, port and worker, so that one that is started again
counts once. At least as many as the settings say are reckoned with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog

_EVERY_S: Final = 2.0
_LAST_KNOWN_S: Final = 30.0
log = structlog.get_logger()


class Replicas:
    """The `number` of processes, at least the `least` of the settings."""

    def __init__(self, least: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._least = least
        self._clock = clock
        self._confirmed_at = clock()
        self.number = least

    def seen(self, found: int) -> bool:
        """Take note of how many the registry shows; whether that changes `number`.

        Fewer must be seen for 30 s: a Redis that restarted is empty until the next heartbeats, and
        may go away again before.
        """
        found, now = max(found, self._least), self._clock()
        if found < self.number and now - self._confirmed_at < _LAST_KNOWN_S:
            return False
        changed = found != self.number
        self.number, self._confirmed_at = found, now
        return changed

    async def follow_forever(self, read: Callable[[], int], use: Callable[[int], None]) -> None:
        """`read` what was found last (the same while Redis is away), and `use` what is new."""
        while True:
            if self.seen(read()):
                log.info("gateways that count limits together", number=self.number)
                use(self.number)
            await asyncio.sleep(_EVERY_S)
