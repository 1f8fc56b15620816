"""One client's request as a series of attempts: the first, its retries, its hedges.

    pick an instance → its breaker's ticket → send → outcome → answer, or again

An instance that can't be connected to was sent nothing: the next one is asked at once, outside the
budget. Everything else that is repeated takes from the service's retry budget and waits its
backoff; nothing is repeated once a byte of an answer went to the client.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final

from gateway.resilience.deadline import TimeLimits, TryTime
from gateway.resilience.outcome import Outcome, outcome_of_error, outcome_of_status
from gateway.resilience.retries import Repeat
from gateway.resilience.witnesses import EVERYBODY
from gateway.upstream.connection import Connection
from gateway.upstream.hedging import HedgedAttempts, HedgePolicy
from gateway.upstream.instance import Exchange
from gateway.upstream.member import Member
from gateway.upstream.pool import Pool
from shared.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable

_CONNECTS: Final = 3
_NO_FAILURE: Final[BaseException | None] = None
_SUCCESS: Final = Outcome.SUCCESS  # once: see docs/decisions/0012-compiled-hot-path.md
_RETRIED_HEAD_S: Final = 0.05  # for the rest of an answer that nobody will see


class Answered:
    """A try whose answer's head has come."""

    def __init__(
        self, pool: Pool, member: Member, connection: Connection, outcome: Outcome
    ) -> None:
        self.outcome = outcome
        self.pool = pool
        self.member = member
        self.connection = connection

    async def close(self) -> None:
        """End the exchange, its request too where that is still being sent."""
        await self.member.instance.close(self.connection)

    def release(self) -> None:
        """`close` for an exchange whose request is sent as a whole."""
        self.member.instance.release(self.connection)


class Patience:
    """What a request may take. `deadline` None: its body is still coming, only tries are timed."""

    def __init__(self, limits: TimeLimits, deadline: float | None, *, tell: bool = True) -> None:
        self.limits = limits
        self.deadline = deadline  # by the monotonic clock
        self.tell = tell  # pass the time that is left on to the service

    def next_try(self) -> TryTime:
        if self.deadline is None:
            return TryTime(self.limits.longest_try, cut_short=False)
        return self.limits.try_time(self.deadline, time.monotonic())

    def left(self) -> float:
        if self.deadline is None:
            return self.limits.total
        return max(0.0, self.deadline - time.monotonic())


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
    tried: list[Member] = []
    tries = connects = 0
    while True:
        member = _next(pool, tried, key)
        answered: Answered | None = None
        failure: UpstreamError | int
        try:
            if hedge is None:
                answered = await _once(pool, member, exchange, patience)
            else:
                hedged = HedgedAttempts(
                    partial(_once, pool, exchange=exchange, patience=patience), pool, key, hedge
                )
                answered = await hedged.first(member, exchange.method, exchange.body is not None)
            failure = answered.connection.status
            if failure < 500:
                return answered
        except UpstreamUnavailable as error:
            connects += 1
            tried.append(member)
            if connects >= _CONNECTS or patience.left() <= 0 or _nobody_else(pool, tried, key):
                raise
            pool.tell_again(member, error)
            continue
        except UpstreamError as error:
            failure = error
        tries += 1
        tried.append(member)
        wait = pool.retries.again(failure, repeat, tries=tries, left=patience.left())
        if wait is None:
            if answered is not None:
                return answered
            assert isinstance(failure, UpstreamError)
            raise failure
        pool.retried += 1
        pool.tell_again(member, failure)
        if answered is not None:
            await _discard(answered)
        await asyncio.sleep(wait)


def _next(pool: Pool, tried: list[Member], key: str | None) -> Member:
    member = pool.pick(tried, key) if tried else pool.pick(key=key)
    if member is None and tried:
        member = pool.pick(key=key)  # nobody else is left: the same one once more
    if member is None:
        raise pool.nobody()
    return member


def _nobody_else(pool: Pool, tried: list[Member], key: str | None) -> bool:
    return pool.pick(tried, key) is None


async def _once(pool: Pool, member: Member, exchange: Exchange, patience: Patience) -> Answered:
    time_left = patience.next_try()
    if time_left.seconds <= 0:
        raise UpstreamTimeout(
            "The request's deadline has passed. Allow more time, or ask for less."
        )
    body = exchange.body
    if body is not None and not body.complete and not member.breaker.closed:
        raise pool.nobody()  # whoever sends slowly would hold a probe for as long
    ticket = pool.acquire(member, exchange.asker)
    if not ticket:  # its probes are given away, or one to this caller
        raise pool.nobody()
    began = time.monotonic()
    try:
        connection = await member.instance.open(exchange, time_left.seconds, tell=patience.tell)
    except BaseException as error:
        outcome = outcome_of_error(error)
        if time_left.cut_short and isinstance(error, UpstreamTimeout):
            outcome = Outcome.CANCELLED
        late = isinstance(error, UpstreamTimeout)
        witness = pool.witness_of_late(member, exchange.asker) if late else EVERYBODY
        pool.ended(member, ticket, outcome, time.monotonic() - began, exchange.asker, witness)
        raise
    status = connection.status
    if status < 400:
        outcome = _SUCCESS
    else:
        later = status == 503 and any(name == b"retry-after" for name, _ in connection.headers)
        outcome = outcome_of_status(status, retry_after=later)
        if status == 504 and time_left.cut_short:  # the service itself refused for want of time
            outcome = Outcome.CANCELLED
    asker = exchange.asker
    pool.ended(member, ticket, outcome, time.monotonic() - began, asker, asker)
    return Answered(pool, member, connection, outcome)


async def _discard(answered: Answered) -> None:
    """Read the little that an error's answer holds, so that its connection can be kept."""
    connection, failure = answered.connection, _NO_FAILURE
    try:
        while not connection.exhausted:
            if not await connection.read(_RETRIED_HEAD_S):
                break
    except UpstreamError:
        pass  # the connection ends with it; the answer was not wanted
    except BaseException as error:  # noqa: BLE001 - raised below
        failure = error  # decision 0012 allows no await here
    await answered.close()
    if failure is not None:
        raise failure
