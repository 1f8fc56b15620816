"""Active health checks with rise and fall thresholds: when to probe, and what the answers say.

An instance counts as healthy from the start: it has just announced itself. `fall` failed probes in
a row make it unhealthy, `rise` passed ones healthy again. First probes are spread over a whole
interval, later ones differ by `jitter`, so that gateways don't knock in step. One that gets no
requests now, or is unhealthy, is asked every `urgent_s`: its outage ends when it does, not later.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

from shared.errors import UpstreamError

K = TypeVar("K", bound=Hashable)
_TICK_S: Final = 1.0  # how soon, at the latest, a change of the members is noticed


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    interval_s: float = 2.0
    urgent_s: float = 0.5  # the interval for an instance whose return is waited for
    jitter: float = 0.25  # share of the interval by which a pause may be longer or shorter
    timeout_s: float = 1.5
    rise: int = 2
    fall: int = 3
    concurrency: int = 16

    def pause(self, chance: float, *, urgent: bool = False) -> float:
        """Seconds between two probes; `chance` is uniform in [0, 1)."""
        interval = min(self.urgent_s, self.interval_s) if urgent else self.interval_s
        return interval * (1.0 + self.jitter * (2.0 * chance - 1.0))


@dataclass(slots=True)
class Verdict:
    """What the probes of one instance say."""

    healthy: bool = True
    against: int = 0  # probes in a row that contradict `healthy`

    def take(self, policy: HealthPolicy, *, passed: bool) -> bool:
        """Whether this probe changed the verdict."""
        if passed is self.healthy:
            self.against = 0
            return False
        self.against += 1
        if self.against < (policy.rise if passed else policy.fall):
            return False
        self.healthy, self.against = passed, 0
        return True


class ProbeSchedule(Generic[K]):
    """Whose turn it is. `due` hands a member out; it has no turn until `done` takes it back."""

    def __init__(self, policy: HealthPolicy, chance: Callable[[], float] = random.random) -> None:
        self._policy = policy
        self._random = chance
        self._numbers = count()
        self._turns: list[tuple[float, int, K]] = []
        self._current: dict[K, int] = {}  # the number of each member's valid turn
        self._planned: dict[K, float] = {}  # when those have their turn that wait for it

    def keep(self, members: Iterable[K], now: float) -> None:
        """From now on, `members` are probed and no others."""
        wanted = dict.fromkeys(members)
        for gone in [one for one in self._current if one not in wanted]:
            del self._current[gone]
            self._planned.pop(gone, None)
        for new in wanted:
            if new not in self._current:
                self._plan(new, now + self._policy.interval_s * self._random())

    def due(self, now: float) -> K | None:
        """The member that has waited longest for its turn, if any has."""
        if self.wait(now) > 0.0:
            return None
        member = heappop(self._turns)[2]
        del self._planned[member]
        return member

    def done(self, member: K, now: float, *, urgent: bool = False) -> None:
        if member in self._current:
            self._plan(member, now + self._policy.pause(self._random(), urgent=urgent))

    def hurry(self, member: K, now: float) -> None:
        """Its turn comes within `urgent_s`, if it waits for a later one."""
        at = now + self._policy.pause(self._random(), urgent=True)
        if self._planned.get(member, 0.0) > at:
            self._plan(member, at)

    def wait(self, now: float) -> float:
        """Seconds until somebody is due; infinite if nobody waits."""
        turns = self._turns
        while turns and self._current.get(turns[0][2]) != turns[0][1]:
            heappop(turns)  # of a member that is gone
        return max(0.0, turns[0][0] - now) if turns else float("inf")

    def _plan(self, member: K, at: float) -> None:
        self._current[member] = number = next(self._numbers)
        self._planned[member] = at
        heappush(self._turns, (at, number, member))


class HealthChecks(Generic[K]):
    """Probes `members()`, read again at least every second, and tells `changed` the verdicts.

    A probe passes by returning True; False, an UpstreamError or no answer within the timeout fails.
    Any other error is a defect and ends `run_forever`.
    """

    def __init__(
        self,
        members: Callable[[], Iterable[K]],
        probe: Callable[[K], Awaitable[bool]],
        changed: Callable[[K, bool], None],
        policy: HealthPolicy = HealthPolicy(),
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        known: Callable[[K], bool] | None = None,
        missed: Callable[[K], bool] = lambda _: False,
    ) -> None:
        """`known` is the verdict that a new member begins with; healthy without it.

        `missed` says whose return is waited for, besides those who are unhealthy.
        """
        self._known = known
        self._missed = missed
        self._members = members
        self._probe = probe
        self._tell = changed
        self._policy = policy
        self._clock = clock
        self._random = chance
        self._verdicts: dict[K, Verdict] = {}

    def healthy(self, member: K) -> bool:
        verdict = self._verdicts.get(member)
        return verdict is None or verdict.healthy

    async def run_forever(self) -> None:
        """Until cancelled; its probes end with it."""
        schedule = ProbeSchedule[K](self._policy, self._random)
        slots = asyncio.Semaphore(self._policy.concurrency)
        # A probe that ends while this sleeps plans its next one at half an interval or later.
        tick = min(_TICK_S, self._policy.interval_s / 2.0, self._policy.urgent_s)
        async with asyncio.TaskGroup() as probes:
            while True:
                self._keep(schedule)
                while (member := schedule.due(self._clock())) is not None:
                    await slots.acquire()
                    probes.create_task(self._check(member, schedule, slots))
                await asyncio.sleep(min(tick, schedule.wait(self._clock())))

    def _keep(self, schedule: ProbeSchedule[K]) -> None:
        members = tuple(self._members())
        now = self._clock()
        schedule.keep(members, now)
        self._verdicts = {one: self._verdicts.get(one) or self._first(one) for one in members}
        for one in members:
            if self._urgent(one):
                schedule.hurry(one, now)

    def _urgent(self, member: K) -> bool:
        return not self.healthy(member) or self._missed(member)

    def _first(self, member: K) -> Verdict:
        return Verdict() if self._known is None else Verdict(self._known(member))

    async def _check(self, member: K, schedule: ProbeSchedule[K], slots: asyncio.Semaphore) -> None:
        try:
            passed = await self._ask(member)
        finally:
            slots.release()
        verdict = self._verdicts.get(member)
        if verdict is not None and verdict.take(self._policy, passed=passed):
            self._tell(member, passed)
        schedule.done(member, self._clock(), urgent=self._urgent(member))

    async def _ask(self, member: K) -> bool:
        try:
            async with asyncio.timeout(self._policy.timeout_s):
                return await self._probe(member)
        except (UpstreamError, TimeoutError):
            return False
