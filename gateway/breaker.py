"""The circuit breaker of one instance: stop asking what keeps failing, ask again with care.

    closed     opens after `consecutive` failures in a row, or when `ratio` of at least `requests`
               requests failed within `window_s`
    open       refuses everything for `open_s` times how often it opened in a row, `longest_s` at
               most; the `jitter` share of that time is random, so that gateways don't probe in step
    half-open  admits `probes` requests at any time; `closing` answers close it, a failure re-opens

In the closed state, the client's errors and cancelled requests don't count at all. An answered
probe counts for closing even if it is a 4xx: otherwise a service that is asked for the wrong things
only would never come back. A cancelled probe gives its place back.

Several processes may ask the same instance: a breaker tells `changed` what it decided itself, and
`follow` and `credit` take over what another process's decided. How they agree is told in gossip.py.

One event loop owns a breaker; no method waits, so that each is atomic. Requests are told apart by
tickets, which are integers: an outcome that comes after the state has changed is ignored, and so is
a ticket of the breaker that stood here before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NewType

from gateway.outcome import Outcome
from gateway.rolling_counts import RollingCounts

Ticket = NewType("Ticket", int)
REFUSED: Final = Ticket(0)  # the only ticket that is false; a probe's is negative
_REQUESTS, _FAILURES = 0, 1


class CircuitState(IntEnum):
    """The values of the metric `circuit_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


_CLOSED: Final = CircuitState.CLOSED  # members of an enumeration are dear to look up
_SUCCESS: Final = Outcome.SUCCESS


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    consecutive: int = 5
    ratio: float = 0.5
    requests: int = 20
    window_s: float = 10.0
    open_s: float = 30.0
    longest_s: float = 300.0
    jitter: float = 0.5  # 0: always the whole time; 1: anything between nothing and all of it
    probes: int = 3
    closing: int = 3

    def open_for(self, times: int, chance: float) -> float:
        """Seconds to stay open the `times`-th time in a row; `chance` is uniform in [0, 1)."""
        return min(self.open_s * times, self.longest_s) * (1.0 - self.jitter * chance)


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """A breaker as an operator sees it."""

    state: CircuitState
    requests: int  # within the window, while closed
    failures: int
    consecutive: int  # failures in a row, while closed
    opened: int  # how often in a row
    retry_in: float  # seconds until a request may be admitted; 0 unless open
    probes: int  # in flight
    passed: int  # answered probes of this half-open time


class Breaker:
    """`acquire` before a try, `release` with its outcome after it, once for every ticket."""

    __slots__ = (
        "_changed", "_clock", "_consecutive", "_counts", "_elsewhere", "_epoch", "_opened", "_passed",
        "_policy", "_probes", "_random", "_state", "_until",
    )  # fmt: skip

    def __init__(
        self,
        policy: BreakerPolicy = BreakerPolicy(),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        changed: Callable[[], None] | None = None,
    ) -> None:
        self._policy = policy
        self._changed = changed  # called after each change of state, each answered probe
        self._clock = clock
        self._random = chance
        self._counts = RollingCounts(2, policy.window_s)
        self._state = CircuitState.CLOSED
        # Counts the states: tickets of earlier ones are void. Where it begins is left to chance, so
        # that those of another breaker are, too.
        self._epoch = 1 + int(chance() * (1 << 40))
        self._consecutive = 0
        self._opened = 0
        self._until = 0.0
        self._probes: list[Ticket] = []  # in flight, `policy.probes` at most
        self._passed = 0
        self._elsewhere = 0  # probes of this half-open time that other processes saw answered

    @property
    def state(self) -> CircuitState:
        """Half-open as soon as a request would be a probe, whether or not one has come."""
        if self._state is CircuitState.OPEN and self._clock() >= self._until:
            return CircuitState.HALF_OPEN
        return self._state

    def admits(self) -> bool:
        """Whether `acquire` would admit now; changes nothing."""
        if self._state is _CLOSED:
            return True
        if len(self._probes) >= self._policy.probes:
            return False
        return self._state is CircuitState.HALF_OPEN or self._clock() >= self._until

    def acquire(self) -> Ticket:
        """REFUSED, or a ticket that must be released."""
        if self._state is _CLOSED:
            return Ticket(self._epoch)
        if not self.admits():
            return REFUSED
        if self._state is CircuitState.OPEN:
            self._enter(CircuitState.HALF_OPEN)
        probe = Ticket(-self._epoch)
        self._probes.append(probe)
        return probe

    def release(self, ticket: Ticket, outcome: Outcome) -> None:
        if ticket < 0:
            if ticket in self._probes:
                self._probes.remove(ticket)  # of an earlier state, too: it was in flight until now
                if ticket == -self._epoch:
                    self._probed(outcome)
        elif ticket == self._epoch:
            self._count(outcome)

    def snapshot(self) -> BreakerSnapshot:
        now = self._clock()
        self._counts.advance(now)
        requests, failures = self._counts.totals
        opened = self._state is CircuitState.OPEN
        return BreakerSnapshot(
            state=self.state,
            requests=requests,
            failures=failures,
            consecutive=self._consecutive,
            opened=self._opened,
            retry_in=max(0.0, self._until - now) if opened else 0.0,
            probes=len(self._probes),
            passed=self._passed,
        )

    def told(self) -> tuple[float, int, int]:
        """Open until when (0.0: closed), how often in a row, and how many probes were answered."""
        if self._state is CircuitState.CLOSED:
            return 0.0, 0, 0
        return self._until, self._opened, self._passed

    def follow(self, until: float, opened: int) -> None:
        """Be open until then, or closed if that is 0, as another process's breaker decided."""
        self._elsewhere = 0
        if until > 0.0:
            self._opened = opened
            self._until = min(until, self._clock() + self._policy.longest_s)
            self._enter(CircuitState.OPEN)
        elif self._state is not CircuitState.CLOSED:
            self._close()

    def credit(self, passed: int) -> None:
        """So many probes of this half-open time were answered elsewhere, in all."""
        self._elsewhere = passed
        if self._state is not CircuitState.CLOSED and self._passed_enough():
            self._close()

    def _count(self, outcome: Outcome) -> None:
        if outcome is _SUCCESS:
            self._consecutive = 0
        elif outcome.failed:
            self._consecutive += 1
        else:
            return
        policy, counts, now = self._policy, self._counts, self._clock()
        counts.add(_REQUESTS, now)
        if self._consecutive:
            counts.add(_FAILURES, now)
        requests, failures = counts.totals
        if self._consecutive >= policy.consecutive or (
            requests >= policy.requests and failures >= policy.ratio * requests
        ):
            self._open()

    def _probed(self, outcome: Outcome) -> None:
        if outcome.failed:
            self._open()
        elif outcome.answered:
            self._passed += 1
            if self._passed_enough():
                self._close()
            self._tell()

    def _passed_enough(self) -> bool:
        return self._passed + self._elsewhere >= self._policy.closing

    def _close(self) -> None:
        self._opened = self._elsewhere = 0
        self._enter(CircuitState.CLOSED)

    def _open(self) -> None:
        self._opened += 1
        self._elsewhere = 0
        self._until = self._clock() + self._policy.open_for(self._opened, self._random())
        self._enter(CircuitState.OPEN)
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._epoch += 1
        self._consecutive = 0
        self._passed = 0
        self._counts.clear()
