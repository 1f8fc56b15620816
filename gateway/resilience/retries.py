"""Retries: which failed attempts are made again, after which pause, within the service's budget.

A try may be repeated if nothing of it was sent, or if repeating does no harm (an idempotent method,
or an Idempotency-Key) and its failure is one that another instance may not have; never when the
request's body is gone. Nobody asks here once an answer has begun.

The budget of a service keeps retries from multiplying an outage. Two conditions hold together:

- in the rolling window, retries stay below `ratio` of the requests (`least` are always allowed);
- each retry takes a token; an answered request earns `ratio` of one, up to `reserve` of them.

The window alone would let a service that was well a moment ago double the first requests of an
outage. An outage earns nothing, so that of its requests at most `reserve` are repeated: of any 100
or more, at most a fifth (docs/decisions/0009-retry-budget.md).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.resilience.rolling_window import RollingCounts
from shared.errors import UpstreamError, UpstreamUnavailable

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_REQUESTS, _RETRIES = 0, 1


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    retries: int = 1  # after the first try
    base_s: float = 0.025
    longest_s: float = 0.25
    statuses: frozenset[int] = frozenset({502, 503, 504})  # 502, 504: also no or no whole answer
    unconnected: bool = True  # repeat what reached nobody, whatever its method

    def backoff(self, tries: int, chance: float) -> float:
        """Seconds to wait after `tries` failed ones: full jitter, `chance` is uniform in [0, 1)."""
        return chance * min(self.base_s * 2.0 ** (tries - 1), self.longest_s)


@dataclass(frozen=True, slots=True)
class BudgetPolicy:
    ratio: float = 0.2
    least: int = 3
    window_s: float = 10.0
    reserve: float = 20.0


class Repeat:
    """What decides whether a request may be sent once more."""

    def __init__(self, method: str, *, keyed: bool, replayable: bool) -> None:
        self.method = method
        self.keyed = keyed  # it carries an Idempotency-Key
        self.replayable = replayable  # it has no body, or all of it is still at hand

    @property
    def harmless(self) -> bool:
        return self.keyed or self.method in _IDEMPOTENT


def retryable(policy: RetryPolicy, failure: UpstreamError | int, repeat: Repeat) -> bool:
    """`failure` is the error of the try or the status of its answer.

    UpstreamUnavailable means that nothing was sent.
    """
    if not repeat.replayable:
        return False
    if isinstance(failure, UpstreamUnavailable):
        return policy.unconnected
    status = failure.status if isinstance(failure, UpstreamError) else failure
    return repeat.harmless and status in policy.statuses


class RetryBudget:
    """How many retries one service may still be given."""

    __slots__ = ("_clock", "_counts", "_policy", "_tokens")

    def __init__(
        self,
        policy: BudgetPolicy = BudgetPolicy(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._counts = RollingCounts(2, policy.window_s)
        self._tokens = policy.reserve

    def began(self) -> None:
        """A client's request begins: its first try, not its retries."""
        self._counts.add(_REQUESTS, self._clock())

    def answered(self) -> None:
        """A try was answered, be it with the client's mistake."""
        self._tokens = min(self._tokens + self._policy.ratio, self._policy.reserve)

    def take(self) -> bool:
        """Whether one more try may be made; if so, it is taken from the budget."""
        now, policy = self._clock(), self._policy
        self._counts.advance(now)
        requests, retries = self._counts.totals
        # A retry is counted before it is compared: 20% of 14 requests are 2 retries, not 3.
        if retries + 1 > max(policy.least, policy.ratio * requests) or self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        self._counts.add(_RETRIES, now)
        return True


class Retries:
    """The retries of one service."""

    __slots__ = ("_policy", "_random", "budget")

    def __init__(
        self,
        policy: RetryPolicy = RetryPolicy(),
        budget: RetryBudget | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._random = chance
        self.budget = budget or RetryBudget()

    def again(
        self, failure: UpstreamError | int, repeat: Repeat, *, tries: int, left: float
    ) -> float | None:
        """Seconds to wait before the next try, or None: pass the failure on.

        `tries` have been made, `left` seconds are left for all of the request. A wait takes one
        retry from the budget.
        """
        if tries > self._policy.retries or not retryable(self._policy, failure, repeat):
            return None
        wait = self._policy.backoff(tries, self._random())
        return wait if wait < left and self.budget.take() else None
