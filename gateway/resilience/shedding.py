"""Load shedding: the concurrency limit of a service, by priority and by caller.

A service has a limit of requests in flight. Batch work may use a share of it only and is refused as
soon as all classes together fill that share; interactive requests use all of it; health requests
have a small reserve above it. One organisation holds at most its share of what its class may use, so
that its slow requests leave room to the others; all who have not signed in are one. Nobody waits in
line: a refusal is immediate and says when to come back. Long-lived streams hold their slot; count
them in a limit of their own.

The limit is fixed, or adapts as TCP's window does (additive increase, multiplicative decrease):
one more for each full limit of answers while it is needed, less after a sign of overload. Latency
gradients are of no use here: the routes of one service differ in latency by three orders.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from gateway.resilience.outcome import Outcome, outcome_of_error
from gateway.resilience.witnesses import ANYBODY, EVERYBODY, Witness
from shared.errors import LoomaError, TooManyRequests, UpstreamUnavailable


class Priority(IntEnum):
    """Lower goes first."""

    HEALTH = 0
    INTERACTIVE = 1
    BATCH = 2


_SIGN_S: Final = 10.0  # so long a caller's failure supports another's
_COME_BACK_S: Final = {Priority.HEALTH: 1.0, Priority.INTERACTIVE: 1.0, Priority.BATCH: 5.0}


@dataclass(frozen=True, slots=True)
class SheddingPolicy:
    limit: int = 256  # requests in flight; where an adaptive limit begins
    batch_share: float = 0.5
    health_reserve: int = 4
    caller_share: float = 0.75  # of a class's requests in flight, for one organisation
    least: int = 8
    most: int | None = None  # None: the limit is fixed; otherwise how far it may grow
    shrink: float = 0.9
    pause_s: float = 1.0  # at least between two decreases: one burst of failures is one sign

    def ceiling(self, priority: Priority, limit: int) -> int:
        """How many may be in flight, of all classes, for one of this class to be admitted."""
        if priority is Priority.BATCH:
            return max(1, int(limit * self.batch_share))
        return limit + self.health_reserve if priority is Priority.HEALTH else limit

    def share(self, ceiling: int) -> int:
        """How many of these one organisation may have in flight."""
        return max(1, int(ceiling * self.caller_share))


@dataclass(frozen=True, slots=True)
class ShedderSnapshot:
    limit: int
    in_flight: int
    shed: dict[Priority, int]


class Slot:
    """One admitted request; a context manager that gives its place back exactly once.

    Set `outcome` when the request ended without raising; otherwise the error says what it was.
    """

    __slots__ = ("_shedder", "_who", "outcome")

    def __init__(self, shedder: Shedder, who: Witness) -> None:
        self._shedder: Shedder | None = shedder
        self._who = who
        self.outcome = Outcome.SUCCESS

    def release(self, outcome: Outcome) -> None:
        """Further calls do nothing."""
        shedder, self._shedder = self._shedder, None
        if shedder is not None:
            shedder._ended(self._who, outcome)  # noqa: SLF001 - two halves of one thing

    def moved(self) -> Slot:
        """The same place in other hands; this one gives nothing back any more."""
        shedder, self._shedder = self._shedder, None
        assert shedder is not None
        return Slot(shedder, self._who)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.release(self.outcome if error is None else outcome_of_error(error))


class Shedder:
    """The concurrency limit of one service, in one event loop."""

    def __init__(
        self,
        service: str,
        policy: SheddingPolicy = SheddingPolicy(),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._service = service
        self._policy = policy
        self._clock = clock
        self._random = chance
        self._limit = float(policy.limit)
        self._in_flight = 0
        self._by_caller: dict[UUID, int] = {}  # in flight, of those that have any
        self._shed = [0] * len(Priority)
        self._shrunk_at = float("-inf")
        self._sign: tuple[Witness, float] = (EVERYBODY, float("-inf"))  # the last failure's
        self._resize()

    def admit(self, priority: Priority, who: Witness = EVERYBODY) -> Slot:
        """A slot, to be used in a `with` at once; `who` is the organisation that it is for.

        UpstreamUnavailable with Retry-After if the service is full, TooManyRequests if `who` has
        its share.
        """
        if self._in_flight >= self._ceilings[priority]:
            self._shed[priority] += 1
            # Spread out, so that those refused together don't come back together.
            wait = _COME_BACK_S[priority] * (1.0 + self._random())
            raise UpstreamUnavailable(
                f"The service {self._service!r} is busy. Try again in a moment.",
                retry_after=wait,
            )
        if who is not None:
            held = self._by_caller.get(who, 0)
            if held >= self._shares[priority]:
                self._shed[priority] += 1
                raise self._over_share(priority, who, held)
            self._by_caller[who] = held + 1
        self._in_flight += 1
        return Slot(self, who)

    def _over_share(self, priority: Priority, who: Witness, held: int) -> LoomaError:
        wait = _COME_BACK_S[priority] * (1.0 + self._random())
        if who == ANYBODY:
            return UpstreamUnavailable(
                f"The service {self._service!r} is busy with callers who have not signed in. "
                "Try again in a moment.",
                retry_after=wait,
            )
        return TooManyRequests(
            f"Your organisation has {held} requests under way at the service "
            f"{self._service!r}, its share of what runs there at once. Wait for some to end.",
            retry_after=wait,
        )

    def snapshot(self) -> ShedderSnapshot:
        return ShedderSnapshot(
            int(self._limit),
            self._in_flight,
            dict(zip(Priority, self._shed, strict=True)),
        )

    def _ended(self, who: Witness, outcome: Outcome) -> None:
        if self._policy.most is not None:
            self._adapt(outcome, who, self._policy.most)
        self._in_flight -= 1
        if who is not None:
            held = self._by_caller[who] - 1
            if held:
                self._by_caller[who] = held
            else:
                del self._by_caller[who]

    def _adapt(self, outcome: Outcome, who: Witness, most: int) -> None:
        policy, limit = self._policy, self._limit
        if outcome.answered:
            if self._in_flight * 2 < limit:
                return  # more would not be used: nothing is known about whether they fit
            self._limit = min(limit + 1.0 / limit, float(most))
        elif outcome is Outcome.GATEWAY_ERROR:
            now = self._clock()
            if now - self._shrunk_at < policy.pause_s or not self._is_sign(who, now):
                return
            self._shrunk_at = now
            self._limit = max(limit * policy.shrink, float(policy.least))
        if int(self._limit) != int(limit):
            self._resize()

    def _is_sign(self, who: Witness, now: float) -> bool:
        """Whether a failure that `who` saw speaks of the service: another caller saw one lately,
        or nobody else asks anything of it.
        """
        before, at = self._sign
        self._sign = (who, now)
        alone = who is None or len(self._by_caller) <= 1
        return alone or (before != who and now - at <= _SIGN_S)

    def _resize(self) -> None:
        limit = int(self._limit)
        self._ceilings = [self._policy.ceiling(one, limit) for one in Priority]
        self._shares = [self._policy.share(ceiling) for ceiling in self._ceilings]
