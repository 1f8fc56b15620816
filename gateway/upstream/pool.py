"""The pool of one service: its members, and everything that decides which of them is asked.

The one place where balancing, breakers, ejection, health checks and canary shares meet. What
happens to a request that fails is told in attempts.py; how processes agree on what is decided here,
in workers/state_sync.py.
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
from gateway.upstream.balancer import BALANCERS, NOTHING_TRIED
from gateway.upstream.discovery import Discovery
from gateway.upstream.instance import Instance
from gateway.upstream.member import Member
from gateway.upstream.policy import ServicePolicy
from shared.errors import UpstreamError, UpstreamUnavailable
from shared.serving.access_log import LineBudget

_SUCCESS: Final = Outcome.SUCCESS  # once: see docs/decisions/0012-compiled-hot-path.md
log = structlog.get_logger()


class Pool:
    """One service as the gateway asks it. Everything but `policy` outlives a change of members."""

    def __init__(
        self,
        service: str,
        policy: ServicePolicy,
        known: Callable[[], tuple[Instance, ...]],
        circuits: BreakerPolicy,
        changed: Callable[[Pool, Member], None],
        returned: Callable[[Instance], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`circuits` is this process's part of the service's.

        `changed` is told what this process decided of a member, `returned` which instance can be
        connected to again.
        """
        self.service = service
        self.policy = policy
        self._known = known
        self._circuits = circuits
        self._tell = changed
        self._back = returned
        self._clock = clock
        self._seen: tuple[Instance, ...] | None = None
        self._members: dict[Instance, Member] = {}
        self._all: tuple[Member, ...] = ()
        self._returned: set[Member] = set()  # could be connected to again, not yet checked
        self._balancer = BALANCERS[policy.balance]()
        self._outliers: Outliers[Member] = Outliers(policy.outliers, clock)
        self.retries = Retries(policy.retry, RetryBudget(policy.budget))
        self.shedder = Shedder(service, policy.shedding)
        self.streams = Shedder(service, policy.streams)
        self.retried = 0
        self.hedged = 0
        self.ejections = 0
        self._lines = LineBudget(clock=clock)

    def members(self) -> tuple[Member, ...]:
        """All known instances, those that get no requests now included."""
        known = self._known()
        if known is not self._seen:
            self._take(known)
        return self._all

    def pick(
        self, tried: Container[object] = NOTHING_TRIED, key: str | None = None
    ) -> Member | None:
        """Who gets the next try; None if nobody may."""
        self.members()
        eligible = self._outliers.eligible()
        if len(eligible) == 1:
            only = eligible[0]
            return only if only not in tried and only.admits() else None
        return self._balancer.pick(self._warm(eligible), tried, key)

    def acquire(self, member: Member, asker: Witness = EVERYBODY) -> Ticket:
        return member.breaker.acquire(asker)

    def witness_of_late(self, member: Member, asker: Witness) -> Witness:
        """Who sees that an answer is late.

        While its active checks are answered, one caller's requests may just be slow ones.
        """
        sound = self.policy.health is not None and self._outliers.healthy(member)
        return asker if sound else EVERYBODY

    def ended(
        self,
        member: Member,
        ticket: Ticket,
        outcome: Outcome,
        seconds: float,
        asker: Witness = EVERYBODY,
        witness: Witness = EVERYBODY,
    ) -> None:
        """Take note of how a try of `asker` ended; `seconds` until its head.

        `witness` is who saw a failure, EVERYBODY where no answer came.
        """
        member.breaker.release(ticket, outcome, asker, witness)
        if outcome is _SUCCESS:
            member.latency.record(seconds)
            self.retries.budget.answered()
            self._outliers.succeeded(member)
            return
        if outcome is not Outcome.CANCELLED:
            failed = outcome.failed or outcome is Outcome.UNAVAILABLE
            member.latency.record(seconds, failed=failed)
        if outcome.answered:
            self.retries.budget.answered()
        if self._outliers.record(member, outcome, witness):
            self._ejected(member)

    def broke_off(self, member: Member) -> None:
        """An answer whose head was good ended too early."""
        ticket = member.breaker.acquire()
        if ticket:
            member.breaker.release(ticket, Outcome.GATEWAY_ERROR)
        if self._outliers.record(member, Outcome.GATEWAY_ERROR):
            self._ejected(member)

    def mark(self, member: Member, healthy: bool) -> None:
        """The verdict of active checks."""
        log.info("instance health", upstream=self.service, instance=member.name, healthy=healthy)
        self._outliers.mark(member, healthy=healthy)
        if healthy:
            member.slow_start.begin()
        self._tell(self, member)

    def healthy(self, member: Member) -> bool:
        """The last verdict of active checks, made here or told by another worker."""
        return self._outliers.healthy(member)

    def came_back(self, instance: Instance) -> None:
        """Connecting failed, and now it didn't: what its breaker learnt meanwhile is void."""
        member = self._members.get(instance)
        if member is not None:
            member.breaker = self._breaker(member)
            self._returned.add(member)
            self._tell(self, member)

    def passed(self, member: Member) -> None:
        """An active check was answered well. Who had gone and came back isn't held to the past."""
        member.breaker.vouch()
        if member in self._returned:
            self._returned.discard(member)
            if self._outliers.pardon(member):
                log.info("instance is back", upstream=self.service, instance=member.name)
                self._tell(self, member)

    def tell_again(self, member: Member, failure: UpstreamError | int) -> None:
        """Log that a request is sent to another instance: what its answer doesn't show."""
        more = self._lines.take()
        if more is not None:
            why = f"status {failure}" if isinstance(failure, int) else failure.message
            log.info("asked again", upstream=self.service, instance=member.url, reason=why, **more)

    def ejection(self, member: Member) -> tuple[float, int]:
        """Until when it is or was ejected (0.0: never), and how often in a row."""
        return self._outliers.ejection(member)

    def follow_circuit(
        self, member: Member, until: float, opened: int, *, unanswered: bool, gone: bool
    ) -> None:
        """Open or close its circuit as another worker did; `gone`: that one could not connect."""
        member.breaker.follow(until, opened, unanswered=unanswered)
        instance = member.instance
        instance.believe(unreachable=until > 0.0 and (gone or instance.unreachable))

    def follow_ejection(self, member: Member, until: float, times: int, *, gone: bool) -> None:
        """Eject or pardon as another worker did; `gone`: that one could not connect."""
        if until > 0.0:
            self._returned.discard(member)
            if gone:
                member.instance.believe(unreachable=True)
        self._outliers.follow(member, until, times)

    def follow_health(self, member: Member, *, healthy: bool) -> None:
        """Take over the verdict of the worker that makes the checks."""
        if self.policy.health is not None and self._outliers.healthy(member) is not healthy:
            self._outliers.mark(member, healthy=healthy)
            if healthy:
                member.slow_start.begin()

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

    def _ejected(self, member: Member) -> None:
        self.ejections += 1
        self._returned.discard(member)
        log.warning("instance ejected", upstream=self.service, instance=member.name)
        self._tell(self, member)

    def _breaker(self, member: Member) -> Breaker:
        told = partial(self._tell, self, member)
        return Breaker(self._circuits, self._clock, random.random, told)

    def _warm(self, eligible: Sequence[Member]) -> Sequence[Member]:
        """Without those that could not be connected to a moment ago, if that leaves any."""
        for one in eligible:
            if one.instance.unreachable:
                now = asyncio.get_running_loop().time()
                return [one for one in eligible if not one.instance.cooling(now)] or eligible
        return eligible

    def _take(self, known: tuple[Instance, ...]) -> None:
        before, self._seen = self._members, known
        self._members = {one: before.get(one) or self._new(one) for one in known}
        members = self._all = tuple(self._members.values())
        self._returned.intersection_update(members)
        self._outliers.keep(self._routed(members))

    def _new(self, instance: Instance) -> Member:
        member = Member(instance, Breaker(self._circuits), SlowStart(self.policy.slow_start))
        member.breaker = self._breaker(member)
        instance.when_back(self._back)
        return member

    def _routed(self, members: tuple[Member, ...]) -> tuple[Member, ...]:
        """Those that get requests, with their weights: by the shares of their versions."""
        shares = self.policy.versions
        if not shares:
            return members
        replicas = Counter(one.instance.version for one in members)
        for one in members:
            version = one.instance.version
            one.base_weight = shares.get(version, 0.0) / replicas[version]
        routed = tuple(one for one in members if one.base_weight > 0)
        if routed:
            return routed
        for one in members:  # versions that nobody runs leave their share to those there are
            one.base_weight = 1.0
        return members


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
        self._watcher: Callable[[Pool, Member], None] | None = None

    def on_change(self, tell: Callable[[Pool, Member], None]) -> None:
        """From now on, `tell` what this process decides: circuits, ejections, verdicts."""
        self._watcher = tell

    def of(self, service: str, policy: ServicePolicy | None = None) -> Pool:
        """The pool of a service; another `policy` than the last one makes a new pool."""
        wanted = policy or self._default
        pool = self._pools.get(service)
        if pool is not None and pool.policy == wanted:
            return pool
        circuits = wanted.breaker
        if self._share is not None:
            circuits = replace(circuits, probes=self._share(circuits.probes))
        known, back = partial(self._discovery.of, service), partial(self._returned, service)
        new = self._pools[service] = Pool(
            service, wanted, known, circuits, self._tell, back, self._clock
        )
        if pool is not None:
            for member in new.members():  # whatever had been decided of it is void
                self._tell(new, member)
        return new

    def all(self) -> tuple[Pool, ...]:
        return tuple(self._pools[name] for name in sorted(self._pools))

    def _tell(self, pool: Pool, member: Member) -> None:
        if self._watcher is not None and self._pools.get(pool.service) is pool:
            self._watcher(pool, member)

    def _returned(self, service: str, instance: Instance) -> None:
        self._pools[service].came_back(instance)


def _instance(one: Member, state: Any) -> dict[str, Any]:
    breaker = one.breaker.snapshot()
    return {
        "id": one.name,
        "url": one.url,
        "version": one.instance.version,
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
