"""Outlier ejection: takes instances that fail in a row out of a pool for a while, as Envoy does.

An instance that fails several times in a row is ejected for `base_s` times how often that happened
(`longest_s` at most); each `base_s` without an ejection takes one time off again. At most
`max_ejected` of a pool are out, at least one may be in a pool of two, never all. When fewer than
`panic` of the pool are left, ejections and health checks are ignored: they then say more about a
shared cause than about single instances, and the few that are left would be crushed.

A failure that an instance answers with is told apart by who saw it: a caller whom another instance
failed as well in the last minute says something of its requests, not of this instance. Where no
answer came, it matters not who asked.

What counts are consecutive 5xx and gateway failures, as in Envoy's outlier detection. Those that
active health checks call ill are left out as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from gateway.resilience.outcome import Outcome
from gateway.resilience.witnesses import EVERYBODY, FailureRow, RollingWitnesses, Witness

K = TypeVar("K", bound=Hashable)
_REMEMBERED_S: Final = 60.0  # whom a member failed: longer than a first ejection


@dataclass(frozen=True, slots=True)
class OutlierPolicy:
    errors: int | None = 5  # failures of any kind in a row; None: not judged
    gateway_errors: int | None = 5  # the same, without the errors that services make themselves
    max_ejected: float = 0.5
    base_s: float = 30.0
    longest_s: float = 300.0
    panic: float = 0.5

    def ejectable(self, size: int) -> int:
        """How many of a pool of `size` may be out at a time."""
        return min(max(int(size * self.max_ejected), 1), size - 1) if size > 1 else 0


@dataclass(frozen=True, slots=True)
class MemberSnapshot:
    """A member as an operator sees it."""

    healthy: bool  # the verdict of health checks
    ejected_for: float  # seconds that are left; 0 if it is not ejected


@dataclass(slots=True)
class _Member:
    healthy: bool = True
    errors: int = 0
    gateway_errors: int = 0
    until: float = float("-inf")
    times: int = 0
    row: FailureRow = field(default_factory=FailureRow)  # the same errors, by who saw them
    failed: RollingWitnesses = field(default_factory=lambda: RollingWitnesses(_REMEMBERED_S))

    def forget_row(self) -> None:
        self.errors = self.gateway_errors = 0
        self.row.clear()


class Outliers(Generic[K]):
    """The instances of one service. `eligible` is cached between changes."""

    def __init__(
        self,
        policy: OutlierPolicy = OutlierPolicy(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._members: dict[K, _Member] = {}
        self._eligible: tuple[K, ...] = ()
        self._panicking = False
        self._valid_until = float("inf")

    def keep(self, members: Iterable[K]) -> None:
        """The pool consists of `members` from now on; those who stay keep their state."""
        known = self._members
        self._members = {one: known.get(one) or _Member() for one in members}
        self._readmit()
        self._recompute()

    def record(self, member: K, outcome: Outcome, witness: Witness = EVERYBODY) -> bool:
        """Take note of how a try ended; whether this ejected the member.

        `witness` is who was answered with a failure, EVERYBODY where no answer came. What comes from
        a member that is gone or ejected already changes nothing.
        """
        one = self._members.get(member)
        if one is None or outcome is Outcome.CANCELLED:
            return False
        if not outcome.failed:
            one.forget_row()
            return False
        now = self._clock()
        if witness is not None:
            one.failed.add(witness, now)
        if one.until > now:
            return False
        one.row.add(witness)
        one.errors += 1
        one.gateway_errors = one.gateway_errors + 1 if outcome is Outcome.GATEWAY_ERROR else 0
        return self._is_outlier(one, now) and self._eject(one, now)

    def succeeded(self, member: K) -> None:
        """`record` for a try that went well."""
        one = self._members.get(member)
        if one is not None and one.errors:
            one.forget_row()

    def mark(self, member: K, *, healthy: bool) -> None:
        """The verdict of health checks."""
        one = self._members.get(member)
        if one is not None and one.healthy is not healthy:
            one.healthy = healthy
            self._recompute()

    def healthy(self, member: K) -> bool:
        """The last verdict; True for those that nobody has judged."""
        one = self._members.get(member)
        return one is None or one.healthy

    def ejection(self, member: K) -> tuple[float, int]:
        """Until when it is or was ejected (0.0: never), and how often in a row."""
        one = self._members.get(member)
        return (one.until, one.times) if one is not None and one.times else (0.0, 0)

    def pardon(self, member: K) -> bool:
        """Forget what it did, as if it were new; whether that ended an ejection."""
        one = self._members.get(member)
        if one is None:
            return False
        ejected = one.until > self._clock()
        one.until, one.times = float("-inf"), 0
        one.forget_row()
        if ejected:
            self._recompute()
        return ejected

    def follow(self, member: K, until: float, times: int) -> None:
        """Eject it until then, as another process did, or pardon it if that is 0."""
        one = self._members.get(member)
        if one is None:
            return
        if until <= 0.0:
            self.pardon(member)
            return
        one.until = min(until, self._clock() + self._policy.longest_s)
        one.times = times
        one.forget_row()
        self._readmit()  # others may have ejected others: all processes drop the same ones
        self._recompute()

    def eligible(self) -> tuple[K, ...]:
        """Those to pick from, in the order given to `keep`; all of them in a panic."""
        if self._valid_until != float("inf") and self._clock() >= self._valid_until:
            self._recompute()
        return self._eligible

    @property
    def panicking(self) -> bool:
        self.eligible()
        return self._panicking

    def snapshot(self) -> dict[K, MemberSnapshot]:
        now = self._clock()
        return {
            key: MemberSnapshot(one.healthy, max(0.0, one.until - now))
            for key, one in self._members.items()
        }

    def _is_outlier(self, one: _Member, now: float) -> bool:
        return self._too_many(one, 0) and self._too_many(one, self._failed_elsewhere(one, now))

    def _too_many(self, one: _Member, excused: int) -> bool:
        errors, gateway_errors = self._policy.errors, self._policy.gateway_errors
        return (errors is not None and one.errors - excused >= errors) or (
            gateway_errors is not None and one.gateway_errors - excused >= gateway_errors
        )

    def _failed_elsewhere(self, one: _Member, now: float) -> int:
        """How many of its failures were seen by callers whom others failed as well."""
        others = [other.failed for other in self._members.values() if other is not one]
        return sum(
            count
            for who, count in one.row.items()
            if any(failed.saw(who, now) for failed in others)
        )

    def _eject(self, one: _Member, now: float) -> bool:
        policy = self._policy
        if len(self._ejected(now)) >= policy.ejectable(len(self._members)):
            return False
        if one.times:
            one.times = max(0, one.times - int((now - one.until) / policy.base_s))
        one.times += 1
        one.until = now + min(policy.base_s * one.times, policy.longest_s)
        one.forget_row()
        self._recompute()
        return True

    def _readmit(self) -> None:
        """A pool that has shrunk may have too many ejected: who is nearest to its end returns."""
        now = self._clock()
        ejected = sorted(self._ejected(now), key=lambda one: one.until)
        for one in ejected[: max(0, len(ejected) - self._policy.ejectable(len(self._members)))]:
            one.until = now

    def _ejected(self, now: float) -> list[_Member]:
        return [one for one in self._members.values() if one.until > now]

    def _recompute(self) -> None:
        now = self._clock()
        sound = tuple(key for key, one in self._members.items() if one.healthy and one.until <= now)
        self._panicking = len(sound) < self._policy.panic * len(self._members)
        self._eligible = tuple(self._members) if self._panicking else sound
        self._valid_until = min((one.until for one in self._ejected(now)), default=float("inf"))
