"""One client's request as a row of tries: the first, its retries, its hedges.

    pick an instance → its breaker's ticket → send → outcome → answer, or again

An instance that can't be connected to was sent nothing: the next one is asked at once, outside the
budget. Everything else that is repeated takes from the service's retry budget and waits its
backoff; nothing is repeated once a byte of an answer went to the client.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from gateway.breaker import Ticket
from gateway.connection import Connection
from gateway.deadline import Deadline, TimeLimits, TryTime
from gateway.hedging import HedgePolicy
from gateway.outcome import Outcome, outcome_of_error, outcome_of_status
from gateway.pool import Pool
from gateway.retries import Repeat
from gateway.upstream import Exchange, Upstream
from shared.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable

_CONNECTS: Final = 3
_RETRIED_HEAD_S: Final = 0.05  # for the rest of an answer that nobody will see


@dataclass(slots=True)
class Answered:
    """A try whose answer's head has come."""

    pool: Pool
    upstream: Upstream
    connection: Connection

    async def close(self) -> None:
        await self.upstream.close(self.connection)


@dataclass(slots=True)  # not frozen: that makes every field dearer, on every request
class Patience:
    """What a request may take. `deadline` None: its body is still coming, only tries are timed."""

    limits: TimeLimits
    deadline: Deadline | None
    tell: bool = True  # pass the time that is left on to the service

    def next_try(self) -> TryTime:
        if self.deadline is None:
            limits = self.limits
            whole = limits.total if limits.per_try is None else min(limits.total, limits.per_try)
            return TryTime(whole, cut_short=False)
        return self.limits.try_time(self.deadline, time.monotonic())

    def left(self) -> float:
        if self.deadline is None:
            return self.limits.total
        return self.deadline.left(time.monotonic())


async def ask(
    pool: Pool,
    exchange: Exchange,
    patience: Patience,
    repeat: Repeat,
    *,
    key: str | None = None,
    hedge: HedgePolicy | None = None,
) -> Answered:
    """The answer that the client gets; its caller closes it.

    Raises UpstreamUnavailable, UpstreamTimeout or UpstreamError as the last try did, or whatever
    reading the request's body raised.
    """
    pool.retries.budget.began()
    tried: list[Upstream] = []
    tries = connects = 0
    while True:
        upstream = _next(pool, tried, key)
        answered: Answered | None = None
        failure: UpstreamError | int
        try:
            if hedge is None:
                answered = await _once(pool, upstream, exchange, patience)
            else:
                answered = await _hedged(pool, upstream, exchange, patience, key, hedge)
            failure = answered.connection.status
            if failure < 500:
                return answered
        except UpstreamUnavailable:
            connects += 1
            tried.append(upstream)
            if connects >= _CONNECTS or patience.left() <= 0 or _nobody_else(pool, tried, key):
                raise
            continue
        except UpstreamError as error:
            failure = error
        tries += 1
        tried.append(upstream)
        wait = pool.retries.again(failure, repeat, tries=tries, left=patience.left())
        if wait is None:
            if answered is not None:
                return answered
            assert isinstance(failure, UpstreamError)
            raise failure
        pool.retried += 1
        if answered is not None:
            await _discard(answered)
        await asyncio.sleep(wait)


def _next(pool: Pool, tried: list[Upstream], key: str | None) -> Upstream:
    upstream = pool.pick(tried, key) if tried else pool.pick(key=key)
    if upstream is None and tried:
        upstream = pool.pick(key=key)  # nobody else is left: the same one once more
    if upstream is None:
        raise pool.nobody()
    return upstream


def _nobody_else(pool: Pool, tried: list[Upstream], key: str | None) -> bool:
    return pool.pick(tried, key) is None


async def _once(pool: Pool, upstream: Upstream, exchange: Exchange, patience: Patience) -> Answered:
    time_left = patience.next_try()
    if time_left.seconds <= 0:
        raise UpstreamTimeout(
            "The request's deadline has passed. Allow more time, or ask for less."
        )
    ticket = pool.acquire(upstream)
    if not ticket:  # its last probe was given away since it was picked
        raise pool.nobody()
    began = time.perf_counter()
    try:
        connection = await upstream.open(exchange, time_left.seconds, tell=patience.tell)
    except BaseException as error:
        outcome = outcome_of_error(error)
        if time_left.cut_short and isinstance(error, UpstreamTimeout):
            outcome = Outcome.CANCELLED
        pool.ended(upstream, ticket, outcome, time.perf_counter() - began)
        raise
    _note(pool, upstream, ticket, connection.status, time.perf_counter() - began, time_left)
    return Answered(pool, upstream, connection)


def _note(
    pool: Pool, upstream: Upstream, ticket: Ticket, status: int, seconds: float, given: TryTime
) -> None:
    outcome = outcome_of_status(status)
    if status == 504 and given.cut_short:  # the service itself refused for want of time
        outcome = Outcome.CANCELLED
    pool.ended(upstream, ticket, outcome, seconds)


async def _hedged(
    pool: Pool,
    upstream: Upstream,
    exchange: Exchange,
    patience: Patience,
    key: str | None,
    hedge: HedgePolicy,
) -> Answered:
    """The first answer of several tries; the others are given up."""
    asked = [upstream]
    running = {asyncio.create_task(_once(pool, upstream, exchange, patience))}
    failed: BaseException | None = None
    try:
        while running:
            wait = hedge.wait(
                exchange.method, has_body=exchange.body is not None, hedges=len(asked) - 1
            )
            done, running = await asyncio.wait(
                running, timeout=wait, return_when=asyncio.FIRST_COMPLETED
            )
            for one in done:
                failed = one.exception()
                if failed is None:
                    # Of two that came at once, one is enough.
                    running |= done - {one}
                    return one.result()
            if done or wait is None:
                continue
            other = pool.pick(asked, key)
            if other is None or not pool.retries.budget.take():
                hedge = HedgePolicy(hedge.delay_s, 0)
                continue
            pool.hedged += 1
            asked.append(other)
            running.add(asyncio.create_task(_once(pool, other, exchange, patience)))
    finally:
        await _give_up(running)
    assert failed is not None
    raise failed


async def _give_up(running: set[asyncio.Task[Answered]]) -> None:
    for one in running:
        one.cancel()
    for ended in await asyncio.gather(*running, return_exceptions=True):
        if isinstance(ended, Answered):
            await ended.close()


async def _discard(answered: Answered) -> None:
    """Read the little that an error's answer holds, so that its connection can be kept."""
    connection = answered.connection
    try:
        while not connection.exhausted:
            if not await connection.read(_RETRIED_HEAD_S):
                break
    except UpstreamError:
        pass  # the connection ends with it; the answer was not wanted
    await answered.close()
