"""Asking others without waiting for those that hang."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from shared.errors import UpstreamTimeout
from shared.serving.background import end

T = TypeVar("T")


class Patience:
    """Waits `seconds` for each answer. `close` at the end."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._asked: set[asyncio.Task[Any]] = set()

    async def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises; UpstreamTimeout if that takes too long.

        It is cancelled then, and not waited for: giving a connection back may hang as well.
        """
        task = asyncio.create_task(work)
        self._asked.add(task)
        task.add_done_callback(self._ended)
        try:
            done, _ = await asyncio.wait({task}, timeout=self.seconds)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if not done:
            task.cancel()
            raise UpstreamTimeout(f"no answer within {self.seconds:g} s")
        return task.result()

    async def close(self) -> None:
        await end(self._asked)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits for it any more
