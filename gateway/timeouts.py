"""How long the gateway waits for others, and how a wait is ended fairly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, TypeVar

T = TypeVar("T")
_STALLED_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. How long an answer may take to begin is a matter of its route."""

    connect: float = 2.0  # to reach an instance
    idle: float = 60.0  # between two parts of an answer, and for a client to take one
    stream_idle: float = 3600.0  # the same on routes with `stream = true`
    head: float = 10.0  # for a request's head, from its first byte; the first one, from accepting
    keep_alive: float = 75.0  # for the next request
    stall: float = 60.0  # between two parts of a client's body
    grace: float = 5.0  # of waiting for a body, before it must come at
    rate: float = 500.0  # bytes per second, on the average
    registry: float = 2.0  # between two readings of the registry
    recheck: float = 5.0  # between two checks of who holds a WebSocket open
    linger: float = 2.0  # for the rest of a refused body, so that the refusal can be read


class StallGuard:
    """Keeps this process's own stalls from being held against those it waits for.

    A check of deadlines that comes late tells that the process, or its machine, was stopped. What
    came meanwhile is still unread and wasn't late: such a check is put off until that has been read.
    """

    def __init__(self) -> None:
        self._put_off = False

    def counts(self, late: float) -> bool:
        """Whether a check so many seconds after its time counts.

        After one that didn't, any does.
        """
        self._put_off = late > _STALLED_S and not self._put_off
        return not self._put_off


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` comes to; TimeoutError after `seconds`.

    For compiled code, which can't have `async with` (docs/decisions/0012-compiled-hot-path.md).
    Unlike asyncio.wait_for it makes no task, and never takes a cancellation for an answer.
    """
    async with asyncio.timeout(seconds):
        return await work
