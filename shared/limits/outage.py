"""A shared count that may be away: asked within a budget, left alone while it doesn't answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from shared.errors import StoreError, StoreUnavailable
from shared.serving.background import end
from shared.telemetry.metrics import Gauge

T = TypeVar("T")
_FIRST_PROBE_S: Final = 0.1
_LAST_PROBE_S: Final = 2.0
log = structlog.get_logger()


class Outage:
    """Whether the count is `away`: from a question that it fails until a probe that it answers.

    `degraded` is 1 meanwhile, and the log has one line for its begin and one for its end. `close`
    at the end.
    """

    def __init__(
        self, what: str, degraded: Gauge, probe: Callable[[], Awaitable[None]], budget_s: float
    ) -> None:
        self.away = False
        self._what = what
        self._degraded = degraded
        self._probe = probe
        self._when_back: list[Callable[[], Awaitable[None]]] = []
        self._budget_s = budget_s
        self._tasks: set[asyncio.Task[Any]] = set()

    async def within(self, asking: Coroutine[Any, Any, T], late: Callable[[T], None]) -> T:
        """What `asking` is answered within the budget; StoreError, and away from now on, if nothing.

        It is not broken off after that: `late` has the answer that comes all the same.
        """
        task = self._begin(asking)
        try:
            async with asyncio.timeout(self._budget_s):
                return await asyncio.shield(task)
        except TimeoutError as error:
            task.add_done_callback(lambda done: _hand_over(done, late))
            self._lost("slower than the budget")
            raise self.unavailable() from error
        except StoreError as error:
            self._lost(error.message)
            raise

    def unavailable(self) -> StoreUnavailable:
        return StoreUnavailable(f"The shared count of {self._what} is away or slow.")

    def when_back(self, call: Callable[[], Awaitable[None]]) -> None:
        """Have `call` made at the end of each outage."""
        self._when_back.append(call)

    async def close(self) -> None:
        """Stop probing, and waiting for what is late."""
        await end(self._tasks)

    def _begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits for it any more

    def _lost(self, reason: str) -> None:
        if self.away:
            return
        self.away = True
        self._degraded.set(1)
        log.warning("limits are counted by each process alone", of=self._what, reason=reason)
        self._begin(self._probe_until_back())

    async def _probe_until_back(self) -> None:
        """One small question at a time."""
        delay = _FIRST_PROBE_S
        while self.away:
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311 - spreads replicas, guards nothing
            try:
                async with asyncio.timeout(self._budget_s):
                    await self._probe()
            except (StoreError, TimeoutError):
                delay = min(delay * 2, _LAST_PROBE_S)
            else:
                self.away = False
        self._degraded.set(0)
        log.info("limits are counted together again", of=self._what)
        for call in self._when_back:
            await call()


def _hand_over(done: asyncio.Task[T], late: Callable[[T], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        late(done.result())
