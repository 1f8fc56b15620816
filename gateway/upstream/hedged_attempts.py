"""A request asked of a second instance when the first one is slow: the first answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from gateway.upstream.hedging import HedgePolicy
from gateway.upstream.instance import Upstream
from gateway.upstream.pool import Pool


class Closable(Protocol):
    """An answer whose head has come."""

    async def close(self) -> None: ...


A = TypeVar("A", bound=Closable)


class HedgedTries(Generic[A]):
    """`once` makes one try at an instance."""

    def __init__(
        self,
        once: Callable[[Upstream], Coroutine[Any, Any, A]],
        pool: Pool,
        key: str | None,
        policy: HedgePolicy,
    ) -> None:
        self._once = once
        self._pool = pool
        self._key = key
        self._policy = policy

    async def first(self, upstream: Upstream, method: str, has_body: bool) -> A:
        """The first answer of several tries, or the last failure; the others are given up."""
        asked = [upstream]
        running = {asyncio.create_task(self._once(upstream))}
        failed: BaseException | None = None
        won: A | None = None
        hedging = True
        try:
            while running:
                wait: float | None = None
                if hedging:
                    wait = self._policy.wait(method, has_body=has_body, hedges=len(asked) - 1)
                done, running = await asyncio.wait(
                    running, timeout=wait, return_when=asyncio.FIRST_COMPLETED
                )
                for one in done:
                    failed = one.exception()
                    if failed is None:
                        # Of two that came at once, one is enough.
                        running |= done - {one}
                        won = one.result()
                        return won
                if done or wait is None:
                    continue
                other = self._pool.pick(asked, self._key)
                if other is None or not self._pool.retries.budget.take():
                    hedging = False
                    continue
                self._pool.hedged += 1
                asked.append(other)
                running.add(asyncio.create_task(self._once(other)))
        finally:
            try:
                await _give_up(running)
            except BaseException:
                if won is not None:
                    await won.close()
                raise
        assert failed is not None
        raise failed


async def _give_up(running: set[asyncio.Task[A]]) -> None:
    """End what still runs, whatever happens meanwhile; answers that came after all are closed."""
    cancelled: asyncio.CancelledError | None = None
    for one in running:
        one.cancel()
    while left := {one for one in running if not one.done()}:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            cancelled = error
    for one in running:
        if not one.cancelled() and one.exception() is None:
            await one.result().close()
    if cancelled is not None:
        raise cancelled
