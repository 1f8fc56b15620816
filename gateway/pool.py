"""The instances of one service with everything that decides which of them is asked.

The one place where balancing, breakers, ejection, health checks and canary shares meet. What
happens to a request that fails is told in tries.py.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import Any

import structlog

from gateway.breaker import Breaker, CircuitState, Ticket
from gateway.discovery import Discovery
from gateway.outcome import Outcome
from gateway.outliers import Outliers
from gateway.peak_ewma import PeakEwma
from gateway.pick import NOTHING_TRIED, POLICIES
from gateway.retries import Retries, RetryBudget
from gateway.service_policy import BALANCE, ServicePolicy
from gateway.shedding import Shedder
from gateway.slow_start import SlowStart
from gateway.upstream import Upstream
from shared.errors import UpstreamUnavailable

log = structlog.get_logger()


class Pool:
    """One service as the gateway asks it. Everything but `policy` outlives a change of members."""

    def __init__(
        self, service: str, policy: ServicePolicy, known: Callable[[], tuple[Upstream, ...]]
    ) -> None:
        self.service = service
        self.policy = policy
        self._known = known
        self._seen: tuple[Upstream, ...] | None = None
        self._picker = POLICIES[BALANCE[policy.balance]]()
        self._outliers: Outliers[Upstream] = Outliers(policy.outliers)
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

    def acquire(self, upstream: Upstream) -> Ticket:
        return upstream.breaker.acquire()

    def ended(self, upstream: Upstream, ticket: Ticket, outcome: Outcome, seconds: float) -> None:
        """Take note of how a try ended; `seconds` until its head."""
        upstream.breaker.release(ticket, outcome)
        if outcome is not Outcome.CANCELLED:
            upstream.latency.record(seconds, failed=outcome.failed)
        if outcome.answered:
            self.retries.budget.answered()
        if self._outliers.record(upstream, outcome):
            self.ejections += 1
            log.warning("instance ejected", service=self.service, instance=upstream.name)

    def broke_off(self, upstream: Upstream) -> None:
        """An answer whose head was good ended too early."""
        ticket = upstream.breaker.acquire()
        if ticket:
            upstream.breaker.release(ticket, Outcome.GATEWAY_ERROR)
        if self._outliers.record(upstream, Outcome.GATEWAY_ERROR):
            self.ejections += 1

    def mark(self, upstream: Upstream, healthy: bool) -> None:
        """The verdict of active checks."""
        log.info("instance health", service=self.service, instance=upstream.name, healthy=healthy)
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
        return UpstreamUnavailable(
            f"No replica of the service {self.service!r} can be reached. Try again in a moment."
        )

    def snapshot(self) -> dict[str, Any]:
        """The pool as an operator sees it."""
        members, states = self.members(), self._outliers.snapshot()
        shed = self.shedder.snapshot()
        return {
            "service": self.service,
            "balance": self.policy.balance,
            "versions": dict(self.policy.versions),
            "panicking": self._outliers.panicking if members else False,
            "in_flight": shed.in_flight,
            "limit": shed.limit,
            "shed": {one.name.lower(): count for one, count in shed.shed.items()},
            "retried": self.retried,
            "hedged": self.hedged,
            "ejections": self.ejections,
            "instances": [_instance(one, states.get(one)) for one in members],
        }

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
        for one in known:
            if one.run_by is not policy:
                one.run_by = policy
                one.new_breaker = lambda: Breaker(policy.breaker)
                one.breaker = one.new_breaker()
                one.latency = PeakEwma()
                one.slow_start = SlowStart(policy.slow_start)
        self._outliers.keep(routed)


class Pools:
    """The pools of all services, made when they are first asked for."""

    def __init__(self, discovery: Discovery, default: ServicePolicy) -> None:
        self._discovery = discovery
        self._default = default
        self._pools: dict[str, Pool] = {}

    def of(self, service: str, policy: ServicePolicy | None = None) -> Pool:
        """The pool of a service; another `policy` than the last one makes a new pool."""
        wanted = policy or self._default
        pool = self._pools.get(service)
        if pool is None or pool.policy != wanted:
            pool = Pool(service, wanted, lambda: self._discovery.of(service))
            self._pools[service] = pool
        return pool

    def all(self) -> tuple[Pool, ...]:
        return tuple(self._pools[name] for name in sorted(self._pools))


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
