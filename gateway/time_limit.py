"""Time limits: one for compiled code, which can't have `async with` (docs/decisions/0012)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

T = TypeVar("T")
_STOOD_STILL_S: Final = 0.1


class Looks:
    """Which looks at the clock count for deadlines.

    One that comes late tells of this process: it was stopped, or its machine was. What came
    meanwhile is read before the next look, and wasn't late.
    """

    def __init__(self) -> None:
        self._put_off = False

    def count(self, late: float) -> bool:
        """Whether a look so many seconds after its time counts. After one that didn't, any does."""
        self._put_off = late > _STOOD_STILL_S and not self._put_off
        return not self._put_off


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` comes to; TimeoutError after `seconds`.

    Unlike asyncio.wait_for it makes no task, and never takes a cancellation for an answer.
    """
    async with asyncio.timeout(seconds):
        return await work
