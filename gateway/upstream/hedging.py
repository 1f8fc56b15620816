"""Hedged requests: a second instance is asked when the first is slow, and the first answer counts.

For the slowest few only (Dean and Barroso, The Tail at Scale, 2013). A hedge is a retry that doesn't
wait for a failure: it takes a token of the same budget, and needs an instance that was not tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from gateway.upstream.member import Member
from gateway.upstream.pool import Pool


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """When a route hedges."""

    delay_s: float  # without an answer's head, since the last try began; about the route's p95
    most: int = 1  # hedges of one request; 0: none

    def wait(self, method: str, *, has_body: bool, hedges: int) -> float | None:
        """Seconds to wait for an answer before the next hedge; None: no further one.

        Only a GET without a body is asked twice at once: an idempotent write may cost twice.
        """
        if method != "GET" or has_body or hedges >= self.most:
            return None
        return self.delay_s


class Closable(Protocol):
    """An answer whose head has come."""

    async def close(self) -> None: ...


A = TypeVar("A", bound=Closable)


class HedgedAttempts(Generic[A]):
    """`once` makes one try at an instance."""

    def __init__(
        self,
        once: Callable[[Member], Coroutine[Any, Any, A]],
        pool: Pool,
        key: str | None,
        policy: HedgePolicy,
    ) -> None:
        self._once = once
        self._pool = pool
        self._key = key
        self._policy = policy

    async def first(self, member: Member, method: str, has_body: bool) -> A:
        """The first answer of several tries, or the last failure; the others are given up."""
        asked = [member]
        running = {asyncio.create_task(self._once(member))}
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
