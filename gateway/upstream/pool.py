"""The instances of one service with everything that decides which of them is asked.

The one place where balancing, breakers, ejection, health checks and canary shares meet. What
happens to a request that fails is told in tries.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import structlog

from gateway.resilience.breaker import Breaker, BreakerPolicy, CircuitState, Ticket
from gateway.resilience.outcome import Outcome
from gateway.resilience.outliers import Outliers
from gateway.resilience.retries import Retries, RetryBudget
from gateway.resilience.shedding import Shedder
from gateway.resilience.slow_start import SlowStart
from gateway.resilience.witnesses import EVERYBODY, Witness
from gateway.upstream.balancer import NOTHING_TRIED, POLICIES
from gateway.upstream.discovery import Discovery
from gateway.upstream.instance import Upstream
from gateway.upstream.peak_ewma import PeakEwma
from gateway.upstream.policy import BALANCE, ServicePolicy
from shared.errors import UpstreamUnavailable

_SUCCESS: Final = Outcome.SUCCESS  # members of an enumeration are dear to look up
log = structlog.get_logger()


class Pool:
    """One service as the gateway asks it. Everything but `policy` outlives a change of members."""

    def __init__(
        self,
        service: str,
        policy: ServicePolicy,
        known: Callable[[], tuple[Upstream, ...]],
        circuits: BreakerPolicy,
        tell: Callable[[Pool, Upstream], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`circuits` is this process's part of the service's; `tell` is called after changes."""
        self.service = service
        self.policy = policy
        self._known = known
        self._circuits = circuits
        self._tell = tell
        self._clock = clock
        self._seen: tuple[Upstream, ...] | None = None
        self._returned: set[Upstream] = set()  # could be connected to again, not yet checked
        self._picker = POLICIES[BALANCE[policy.balance]]()
        self._outliers: Outliers[Upstream] = Outliers(policy.outliers, clock)
        self.retries = Retries(policy.retry, RetryBudget(policy.budget))
        self.shedder = Shedder(service, policy.shedding)
        self.streams = Shedder(service, policy.streams)
        self.retried = 0
        self.hedged = 0
        self.ejections = 0

    def members(self) -> tuple[Upstream, ...]:
        """All known instances, those that get no requests now included."""
        known = self._known()
        if known is not self._seen:
            self._take(known)
        return known

    def pick(
        self, tried: Container[object] = NOTHING_TRIED, key: str | None = None
    ) -> Upstream | None:
        """Who gets the next try; None if nobody may."""
        self.members()
        eligible = self._outliers.eligible()
        if len(eligible) == 1:
            only = eligible[0]
            return only if only not in tried and only.admits() else None
        return self._picker.pick(self._warm(eligible), tried, key)

    def acquire(self, upstream: Upstream, asker: Witness = EVERYBODY) -> Ticket:
        return upstream.breaker.acquire(asker)

    def witness_of_late(self, upstream: Upstream, asker: Witness) -> Witness:
        """Who sees that an answer is late.

        While its active checks are answered, one caller's requests may just be slow ones.
        """
        sound = self.policy.health is not None and self._outliers.healthy(upstream)
        return asker if sound else EVERYBODY

    def ended(
        self,
        upstream: Upstream,
        ticket: Ticket,
        outcome: Outcome,
        seconds: float,
        asker: Witness = EVERYBODY,
        witness: Witness = EVERYBODY,
    ) -> None:
        """Take note of how a try of `asker` ended; `seconds` until its head.

        `witness` is who saw a failure, EVERYBODY where no answer came.
        """
        upstream.breaker.release(ticket, outcome, asker, witness)
        if outcome is _SUCCESS:
            upstream.latency.record(seconds)
            self.retries.budget.answered()
            self._outliers.succeeded(upstream)
            return
        if outcome is not Outcome.CANCELLED:
            failed = outcome.failed or outcome is Outcome.UNAVAILABLE
            upstream.latency.record(seconds, failed=failed)
        if outcome.answered:
            self.retries.budget.answered()
        if self._outliers.record(upstream, outcome, witness):
            self._ejected(upstream)

    def broke_off(self, upstream: Upstream) -> None:
        """An answer whose head was good ended too early."""
        ticket = upstream.breaker.acquire()
        if ticket:
            upstream.breaker.release(ticket, Outcome.GATEWAY_ERROR)
        if self._outliers.record(upstream, Outcome.GATEWAY_ERROR):
            self._ejected(upstream)

    def mark(self, upstream: Upstream, healthy: bool) -> None:
        """The verdict of active checks."""
        log.info("instance health", service=self.service, instance=upstream.name, healthy=healthy)
        self._outliers.mark(upstream, healthy=healthy)
        if healthy:
            upstream.slow_start.begin()
        self._tell(self, upstream)

    def healthy(self, upstream: Upstream) -> bool:
        """The last verdict of active checks, made here or told by another worker."""
        return self._outliers.healthy(upstream)

    def passed(self, upstream: Upstream) -> None:
        """An active check was answered well. Who had gone and came back isn't held to the past."""
        upstream.breaker.vouch()
        if upstream in self._returned:
            self._returned.discard(upstream)
            if self._outliers.pardon(upstream):
                log.info("instance is back", service=self.service, instance=upstream.name)
                self._tell(self, upstream)

    def ejection(self, upstream: Upstream) -> tuple[float, int]:
        """Until when it is or was ejected (0.0: never), and how often in a row."""
        return self._outliers.ejection(upstream)

    def follow_ejection(self, upstream: Upstream, until: float, times: int) -> None:
        """Eject or pardon as another worker did."""
        if until > 0.0:
            self._returned.discard(upstream)
        self._outliers.follow(upstream, until, times)

    def follow_health(self, upstream: Upstream, *, healthy: bool) -> None:
        """Take over the verdict of the worker that makes the checks."""
        if self.policy.health is not None and self._outliers.healthy(upstream) is not healthy:
            self._outliers.mark(upstream, healthy=healthy)
            if healthy:
                upstream.slow_start.begin()

    def nobody(self) -> UpstreamUnavailable:
        """Why `pick` has nobody, and when to come back."""
        members = self.members()
        waits = [one.breaker.snapshot().retry_in for one in members]
        if members and all(one.breaker.state is CircuitState.OPEN for one in members):
            return UpstreamUnavailable(
                f"The service {self.service!r} keeps failing and is given a pause. Try again later.",
                retry_after=max(1.0, min(waits)),
            )
        if any(one.breaker.state is CircuitState.HALF_OPEN for one in members):
            return UpstreamUnavailable(
                f"The service {self.service!r} was failing and is tried with a few requests at a "
                "time. Try again in a moment.",
                retry_after=1.0,
            )
        return UpstreamUnavailable(
            f"No replica of the service {self.service!r} can be reached. Try again in a moment."
        )

    def snapshot(self) -> dict[str, Any]:
        """The pool as an operator sees it."""
        members, states = self.members(), self._outliers.snapshot()
        shed, streams = self.shedder.snapshot(), self.streams.snapshot()
        return {
            "service": self.service,
            "balance": self.policy.balance,
            "versions": dict(self.policy.versions),
            "panicking": self._outliers.panicking if members else False,
            "in_flight": shed.in_flight,
            "limit": shed.limit,
            "streams": streams.in_flight,
            "streams_limit": streams.limit,
            "shed": {
                one.name.lower(): count + streams.shed[one] for one, count in shed.shed.items()
            },
            "retried": self.retried,
            "hedged": self.hedged,
            "ejections": self.ejections,
            "instances": [_instance(one, states.get(one)) for one in members],
        }

    def _ejected(self, upstream: Upstream) -> None:
        self.ejections += 1
        self._returned.discard(upstream)
        log.warning("instance ejected", service=self.service, instance=upstream.name)
        self._tell(self, upstream)

    def _breaker(self, upstream: Upstream) -> Breaker:
        told = partial(self._tell, self, upstream)
        return Breaker(self._circuits, self._clock, random.random, told)

    def _came_back(self, upstream: Upstream) -> Breaker:
        """Connecting failed, and now it didn't."""
        upstream.breaker = self._breaker(upstream)
        self._returned.add(upstream)
        self._tell(self, upstream)
        return upstream.breaker

    def _warm(self, eligible: Sequence[Upstream]) -> Sequence[Upstream]:
        """Without those that could not be connected to a moment ago, if that leaves any."""
        for one in eligible:
            if one.unreachable:
                now = asyncio.get_running_loop().time()
                return [one for one in eligible if not one.cooling(now)] or eligible
        return eligible

    def _take(self, known: tuple[Upstream, ...]) -> None:
        self._seen = known
        policy, routed = self.policy, known
        if policy.versions:
            replicas = Counter(one.version for one in known)
            for one in known:
                share = policy.versions.get(one.version, 0.0)
                one.base_weight = share / replicas[one.version]
            # Versions that nobody runs leave their share to those there are.
            routed = tuple(one for one in known if one.base_weight > 0) or known
        if not policy.versions or routed is known:
            for one in known:
                one.base_weight = 1.0
        self._outliers.keep(routed)
        self._returned.intersection_update(known)
        for one in known:
            if one.run_by is not policy:
                before, one.run_by = one.run_by, policy
                one.new_breaker = partial(self._came_back, one)
                one.breaker = self._breaker(one)
                one.latency = PeakEwma()
                one.slow_start = SlowStart(policy.slow_start)
                if before is not None:
                    self._tell(self, one)


class Pools:
    """The pools of all services, made when they are first asked for."""

    def __init__(
        self,
        discovery: Discovery,
        default: ServicePolicy,
        share: Callable[[int], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`share` is how many of the probes of a half-open circuit are this process's."""
        self._discovery = discovery
        self._default = default
        self._share = share
        self._clock = clock
        self._pools: dict[str, Pool] = {}
        # Called after what this process decided: circuits, ejections, verdicts.
        self.watcher: Callable[[Pool, Upstream], None] | None = None

    def of(self, service: str, policy: ServicePolicy | None = None) -> Pool:
        """The pool of a service; another `policy` than the last one makes a new pool."""
        wanted = policy or self._default
        pool = self._pools.get(service)
        if pool is None or pool.policy != wanted:
            circuits = wanted.breaker
            if self._share is not None:
                circuits = replace(circuits, probes=self._share(circuits.probes))
            known = partial(self._discovery.of, service)
            pool = Pool(service, wanted, known, circuits, self._tell, self._clock)
            self._pools[service] = pool
        return pool

    def all(self) -> tuple[Pool, ...]:
        return tuple(self._pools[name] for name in sorted(self._pools))

    def _tell(self, pool: Pool, upstream: Upstream) -> None:
        if self.watcher is not None and self._pools.get(pool.service) is pool:
            self.watcher(pool, upstream)


def _instance(one: Upstream, state: Any) -> dict[str, Any]:
    breaker = one.breaker.snapshot()
    return {
        "id": one.name,
        "url": one.url,
        "version": one.version,
        "weight": round(one.weight, 4),
        "in_flight": one.in_flight,
        "latency_ms": round(one.latency.seconds * 1000, 2),
        "routed": state is not None,
        "healthy": state.healthy if state is not None else None,
        "ejected_for_s": round(state.ejected_for, 1) if state is not None else 0.0,
        "circuit": {
            "state": breaker.state.name.lower(),
            "requests": breaker.requests,
            "failures": breaker.failures,
            "consecutive": breaker.consecutive,
            "opened": breaker.opened,
            "retry_in_s": round(breaker.retry_in, 1),
        },
    }
