"""A time limit for compiled code, which can't have `async with` (docs/decisions/0012)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """What `work` comes to; TimeoutError after `seconds`.

    Unlike asyncio.wait_for it makes no task, and never takes a cancellation for an answer.
    """
    async with asyncio.timeout(seconds):
        return await work
