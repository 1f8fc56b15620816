"""The circuit breaker of one instance: stop asking what keeps failing, ask again with care.

    closed     opens after `consecutive` failures in a row, or when `ratio` of at least `requests`
               requests failed within `window_s`
    open       refuses everything for `open_s`, twice as long each time that it opens in a row,
               `longest_s` at most; the `jitter` share of that time is random, so that gateways
               don't probe in step
    half-open  admits `probes` requests at any time, one of each caller; `closing` answers close it,
               a failure re-opens. A probe that takes longer than `probe_s` gives its place back

No caller opens it for the others. A failure that the instance answers with (a 5xx) is told apart by
the organisation that saw it, and the one that saw most of them is left out of both counts: the rest
must be reason enough. Callers who have not signed in can't be told apart; what they are answered
doesn't count. Half-open, an answered failure gives its place back, and two organisations must see
one for it to re-open; whose probe failed or was slow comes last for a while. Where no answer came
(no connection, a late or broken answer), it matters not who asked: it always counts.

In the closed state, the client's errors, cancelled requests and an instance's own word that it
can't for a while don't count at all. An answered probe counts for closing even if it is one of
these: otherwise a service that is asked for the wrong things only would never come back. A cancelled
probe gives its place back. What opened for want of answers closes as soon as an active check is
answered well (`vouch`).

Several processes may ask the same instance: a breaker tells `changed` what it decided itself, and
`follow` and `credit` take over what another process's decided. How they agree is told in
workers/state_sync.py.

One event loop owns a breaker; no method waits, so that each is atomic. Requests are told apart by
tickets, which are integers: an outcome that comes after the state has changed is ignored, and so is
a ticket of the breaker that stood here before.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NewType
from uuid import UUID

from gateway.resilience.outcome import Outcome
from gateway.resilience.rolling_window import RollingCounts
from gateway.resilience.witnesses import ANYBODY, EVERYBODY, FailureRow, RollingWitnesses, Witness

Ticket = NewType("Ticket", int)
REFUSED: Final = Ticket(0)  # the only ticket that is false; a probe's is negative
_REQUESTS, _FAILURES = 0, 1
_DOUBLINGS: Final = 64
_BARRED: Final = 256  # callers that are told apart while half-open


class CircuitState(IntEnum):
    """The values of the metric `circuit_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


# Once: members of an enumeration are looked up by name (docs/decisions/0012-compiled-hot-path.md).
_CLOSED: Final = CircuitState.CLOSED
_SUCCESS: Final = Outcome.SUCCESS


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    consecutive: int = 5
    ratio: float = 0.5
    requests: int = 20
    window_s: float = 10.0
    open_s: float = 2.0
    longest_s: float = 30.0
    jitter: float = 0.5  # 0: always the whole time; 1: anything between nothing and all of it
    probes: int = 3
    probe_s: float = 5.0
    closing: int = 3

    def open_for(self, times: int, chance: float) -> float:
        """Seconds to stay open the `times`-th time in a row; `chance` is uniform in [0, 1)."""
        whole = self.open_s * 2.0 ** min(times - 1, _DOUBLINGS)
        return min(whole, self.longest_s) * (1.0 - self.jitter * chance)


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
        "_barred", "_changed", "_clock", "_counts", "_elsewhere", "_epoch", "_opened", "_passed",
        "_policy", "_probes", "_random", "_row", "_state", "_unanswered_at", "_until", "_witnesses",
        "unanswered",
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
        self._row = FailureRow()  # since the last success
        self._witnesses = RollingWitnesses(policy.window_s)
        self._opened = 0
        self._until = 0.0
        self._unanswered_at = -math.inf
        self.unanswered = False  # it opened, among others, for want of answers
        # In flight since when, `policy.probes` at most; and until when who isn't let in again.
        self._probes: list[tuple[Ticket, Witness, float]] = []
        self._barred: dict[UUID, float] = {}
        self._passed = 0
        self._elsewhere = 0  # probes of this half-open time that other processes saw answered

    @property
    def state(self) -> CircuitState:
        """Half-open as soon as a request would be a probe, whether or not one has come."""
        if self._state is CircuitState.OPEN and self._clock() >= self._until:
            return CircuitState.HALF_OPEN
        return self._state

    @property
    def closed(self) -> bool:
        return self._state is _CLOSED

    def admits(self) -> bool:
        """Whether `acquire` would admit somebody now."""
        if self._state is _CLOSED:
            return True
        if len(self._probes) >= self._policy.probes and not self._give_up_slow():
            return False
        return self._state is CircuitState.HALF_OPEN or self._clock() >= self._until

    def acquire(self, asker: Witness = EVERYBODY) -> Ticket:
        """REFUSED, or a ticket that must be released; `asker` is whose request it is for."""
        if self._state is _CLOSED:
            return Ticket(self._epoch)
        if not self.admits() or not self._may_probe(asker):
            return REFUSED
        if self._state is CircuitState.OPEN:
            self._enter(CircuitState.HALF_OPEN)
        probe = Ticket(-self._epoch)
        self._probes.append((probe, asker, self._clock()))
        return probe

    def release(
        self,
        ticket: Ticket,
        outcome: Outcome,
        asker: Witness = EVERYBODY,
        witness: Witness = EVERYBODY,
    ) -> None:
        """`asker` as in `acquire`; `witness` is who saw a failure, EVERYBODY if none answered it."""
        if ticket < 0:
            for index, (probe, prober, _) in enumerate(self._probes):
                if probe == ticket and prober == asker:
                    del self._probes[index]  # of an earlier state, too: it was in flight until now
                    break
            if ticket == -self._epoch:
                self._probed(outcome, witness)
        elif ticket == self._epoch:
            self._count(outcome, witness)

    def vouch(self) -> None:
        """An active check was answered well: who didn't answer for a while does so again."""
        if self._state is not CircuitState.CLOSED and self.unanswered:
            self._close()
            self._tell()

    def snapshot(self) -> BreakerSnapshot:
        now = self._clock()
        self._counts.advance(now)
        requests, failures = self._counts.totals
        opened = self._state is CircuitState.OPEN
        return BreakerSnapshot(
            state=self.state,
            requests=requests,
            failures=failures,
            consecutive=self._row.total if self._state is _CLOSED else 0,
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

    def follow(self, until: float, opened: int, *, unanswered: bool = False) -> None:
        """Be open until then, or closed if that is 0, as another process's breaker decided."""
        self._elsewhere = 0
        if until > 0.0:
            self._opened = opened
            self.unanswered = unanswered
            self._until = min(until, self._clock() + self._policy.longest_s)
            self._enter(CircuitState.OPEN)
        elif self._state is not CircuitState.CLOSED:
            self._close()

    def credit(self, passed: int) -> None:
        """So many probes of this half-open time were answered elsewhere, in all."""
        self._elsewhere = passed
        if self._state is not CircuitState.CLOSED and self._passed_enough():
            self._close()

    def _count(self, outcome: Outcome, witness: Witness) -> None:
        row, policy, counts, now = self._row, self._policy, self._counts, self._clock()
        if outcome is _SUCCESS:
            if row.total:
                row.clear()
            counts.add(_REQUESTS, now)
        elif outcome.failed and witness != ANYBODY:
            counts.add(_REQUESTS, now)
            counts.add(_FAILURES, now)
            self._saw(witness, now)
            if row.of_several >= policy.consecutive:
                self._open()
                return
        else:
            return
        requests, failures = counts.totals
        if requests >= policy.requests and failures >= policy.ratio * requests:
            most = self._witnesses.most(now)
            requests, failures = requests - most, failures - most
            if requests >= policy.requests and failures >= policy.ratio * requests:
                self._open()

    def _saw(self, witness: Witness, now: float) -> None:
        self._row.add(witness)
        if witness is None:
            self._unanswered_at = now
        else:
            self._witnesses.add(witness, now)

    def _probed(self, outcome: Outcome, witness: Witness) -> None:
        if outcome.failed:
            if witness is not None:
                self._bar(witness)
            if witness == ANYBODY:
                return
            self._saw(witness, self._clock())
            if witness is None or self._row.witnesses > 1:
                self._open()
        elif outcome is not Outcome.CANCELLED:
            self._passed += 1
            if self._passed_enough():
                self._close()
            self._tell()

    def _may_probe(self, asker: Witness) -> bool:
        if asker is None:
            return True
        if self._barred.get(asker, 0.0) > self._clock():
            return False
        return all(one != asker for _, one, _ in self._probes)

    def _give_up_slow(self) -> bool:
        """Take their places from probes that are slow; whether there were any."""
        since = self._clock() - self._policy.probe_s
        slow = [probe for probe in self._probes if probe[2] < since]
        for probe in slow:
            self._probes.remove(probe)
            if probe[1] is not None:
                self._bar(probe[1])
        return bool(slow)

    def _bar(self, who: UUID) -> None:
        if len(self._barred) < _BARRED:
            self._barred[who] = self._clock() + self._policy.open_s

    def _passed_enough(self) -> bool:
        return self._passed + self._elsewhere >= self._policy.closing

    def _close(self) -> None:
        self._opened = self._elsewhere = 0
        self._enter(CircuitState.CLOSED)

    def _open(self) -> None:
        now = self._clock()
        self.unanswered = now - self._unanswered_at <= self._policy.window_s
        self._opened += 1
        self._elsewhere = 0
        self._until = now + self._policy.open_for(self._opened, self._random())
        self._enter(CircuitState.OPEN)
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed()

    def _enter(self, state: CircuitState) -> None:
        self._state = state
        self._epoch += 1
        self._passed = 0
        self._row.clear()
        self._counts.clear()
        self._witnesses.clear()
        self._barred.clear()
