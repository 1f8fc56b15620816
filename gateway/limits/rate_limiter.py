"""The rate limiter: counts each request against the limits of its route.

Three ways to an answer, the cheapest first (docs/decisions/0006-rate-limits.md has the figures):
 1. Known here. A process holds a small lease of units of large limits, and knows until when a
    limit that refused will go on to.
 2. Asked. Requests that come while a question to Redis is under way go together in the next one:
    one round trip at a time per process, whatever the load.
 3. Alone. While Redis is gone or slower than `budget`, a process counts by itself, its part of
    each limit; limits marked `closed` refuse instead. `rate_limit_degraded` is 1 meanwhile.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry

from gateway.auth.caller import Caller
from gateway.expiring_cache import push_out
from gateway.limits.gcra import Bucket, Rule
from gateway.limits.headers import Allowance
from gateway.limits.limit import Limit, Subject, key_of, subject_of
from gateway.limits.redis_batch import LimitedRequest, RedisBatch
from shared.data_access.ports import Cache
from shared.errors import StoreUnavailable, TooManyRequests
from shared.security import Principal
from shared.telemetry.metrics import Counter

BUDGET_S: Final = 0.05
_SIZE: Final = 200_000  # keys; 300 bytes each


class RateLimited(TooManyRequests):
    """429 with the headers of the limit that was hit."""

    def __init__(self, message: str, allowance: Allowance) -> None:
        super().__init__(message, retry_after=allowance.retry_after)
        self.allowance = allowance

    def headers(self) -> dict[str, str]:
        seconds = max(1, math.ceil(self.allowance.reset))
        return {**self.allowance.headers(), "Retry-After": str(seconds)}


class LimitedRoute:
    """The limits of one route, compiled: what requests are counted by."""

    def __init__(self, number: int, path: str, rules: tuple[Rule, ...], limited: Counter) -> None:
        limits = [rule.limit for rule in rules]
        self.number = number  # the same for those with the same rules
        self.rules = rules
        # Its buckets don't depend on where a request came from, only on who sent it.
        self.by_caller = all(limit.scope != "address" for limit in limits)
        self.policy = ", ".join(limit.policy for limit in limits).encode()
        self.limited = {limit.scope: limited.labels(path, limit.scope) for limit in limits}


class RateLimiter:
    """`compile` per route, `count` per request, `close` at the end.

    `replicas` is the number of gateway processes. Of `size` keys at most this process remembers
    anything.
    """

    def __init__(
        self,
        cache: Cache,
        registry: CollectorRegistry,
        *,
        replicas: int = 1,
        budget: float = BUDGET_S,
        size: int = _SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._questions = RedisBatch(cache, registry, budget, clock)
        self._size = size
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, Subject], Bucket] = OrderedDict()
        limited = Counter(
            "rate_limited", "Requests over a limit", ("route", "scope"), registry=registry
        )
        self._rules: dict[tuple[str, Limit, int], Rule] = {}
        self._numbers: dict[tuple[Rule, ...], int] = {}
        self.replicas = replicas  # another number counts for what is compiled from then on
        self._limited = limited

    def compile(self, method: str, path: str, limits: Sequence[Limit]) -> LimitedRoute:
        """What requests of a route with `limits` (one or more) are counted by.

        Compiled anew, it keeps the counts so far.
        """
        rules = tuple(
            [
                self._rule(limit, limit.name if limit.shared else f"{method} {path} {limit.name}")
                for limit in limits
            ]
        )
        number = self._numbers.setdefault(rules, len(self._numbers))
        return LimitedRoute(number, path, rules, self._limited)

    def _rule(self, limit: Limit, identity: str) -> Rule:
        """One for all routes that count by it, so that they share what is kept for a caller."""
        at = (identity, limit, self.replicas)
        if at not in self._rules:
            self._rules[at] = Rule(limit, identity, self.replicas)
        return self._rules[at]

    @property
    def degraded(self) -> bool:
        """Whether this process counts alone."""
        return self._questions.away

    async def close(self) -> None:
        """Stop asking Redis; requests that wait are counted alone."""
        await self._questions.close()

    async def count(
        self, route: LimitedRoute, caller: Caller, address: str, cost: int = 1
    ) -> Allowance:
        """Count a request (of `cost` units) of `caller`; what is left of the tightest limit.

        Raises RateLimited, or StoreUnavailable for a `closed` limit that can't be counted now.
        """
        # A coroutine although it seldom waits: compiled, that costs 20 ns of a request's 30 µs.
        buckets = self._buckets_for(route, caller, address)
        if not _pay_from_leases(buckets, cost):
            return await self._ask(route, buckets, cost)
        return _allowance(route, buckets, self._clock())

    async def count_stranger(self, route: LimitedRoute, address: str) -> None:
        """Count a request without a good credential: limits by address only. Raises as `count`."""
        buckets = self._buckets_of(route.rules, None, address)
        if buckets and not _pay_from_leases(buckets, 1):
            await self._ask(route, buckets, 1)

    def _buckets_for(self, route: LimitedRoute, caller: Caller, address: str) -> list[Bucket]:
        if not route.by_caller or caller.anonymous:
            return self._buckets_of(route.rules, caller.principal, address)
        buckets = caller.buckets(route.number)
        if buckets is not None and _still_count(buckets, route.rules):
            return buckets
        buckets = self._buckets_of(route.rules, caller.principal, address)
        caller.keep(route.number, buckets)
        return buckets

    async def _ask(self, route: LimitedRoute, buckets: list[Bucket], cost: int) -> Allowance:
        """Count a request that leases don't pay for."""
        now = self._clock()
        request = LimitedRequest(buckets, cost)
        if not self.degraded and request.refusing(now):
            raise _refused(route, request, now)
        allowed = await self._questions.ask(request)
        now = self._clock()
        if allowed is None:
            _count_alone(route, request, now)
        elif not allowed:
            raise _refused(route, request, now)
        return _allowance(route, buckets, now)

    def _buckets_of(
        self, rules: tuple[Rule, ...], principal: Principal | None, address: str
    ) -> list[Bucket]:
        return [
            self._bucket(rule, subject_of(rule.limit.scope, principal, address))
            for rule in rules
            if principal is not None or rule.limit.scope == "address"
        ]

    def _bucket(self, rule: Rule, subject: Subject) -> Bucket:
        at = (rule.id, subject)
        bucket = self._buckets.get(at)
        if bucket is None:
            bucket = self._buckets[at] = Bucket(rule, key_of(rule.id, subject))
            if len(self._buckets) > self._size:
                push_out(self._buckets, at).forgotten = True
        elif bucket.rule is not rule:
            bucket.follow(rule)
        bucket.used = True
        return bucket


def _still_count(buckets: list[Bucket], rules: tuple[Rule, ...]) -> bool:
    """Whether kept buckets are still what the rules count with; if so, they are marked as used."""
    for bucket, rule in zip(buckets, rules, strict=True):
        if bucket.forgotten or bucket.rule is not rule:
            return False
        bucket.used = True
    return True


def _pay_from_leases(buckets: list[Bucket], cost: int) -> bool:
    """Take `cost` from each, if each holds so much; whether they did."""
    for bucket in buckets:
        if bucket.leased < cost:
            return False
    for bucket in buckets:
        bucket.leased -= cost
    return True


def _count_alone(route: LimitedRoute, request: LimitedRequest, now: float) -> None:
    for bucket in request.buckets:
        if bucket.rule.limit.closed:
            raise StoreUnavailable(
                f"The limit {bucket.rule.limit.name!r} can't be counted now, and this route is "
                "not answered without. Try again."
            )
    if any(bucket.wait_alone(now, request.cost_of(bucket)) for bucket in request.buckets):
        raise _refused(route, request, now, alone=True)
    for bucket in request.buckets:
        bucket.spend_alone(now, request.cost_of(bucket))


def _refused(
    route: LimitedRoute, request: LimitedRequest, now: float, *, alone: bool = False
) -> RateLimited:
    """The error for the limit that lasts longest; counted."""

    def wait(bucket: Bucket) -> float:
        cost = request.cost_of(bucket)
        return bucket.wait_alone(now, cost) if alone else bucket.refusing(now, cost)

    bucket = max(request.buckets, key=wait)
    limit = bucket.rule.limit
    route.limited[limit.scope].inc()
    seconds = max(wait(bucket), 1e-3)  # Redis refused it, even if it would not any more
    allowance = Allowance(limit.name, route.policy, limit.burst, 0, seconds, seconds)
    return RateLimited(
        f"Over the limit {limit.name!r}: {limit.rate} per {limit.per_seconds} s, {limit.burst} at "
        f"once, for each {limit.scope}. Try again in {max(1, math.ceil(seconds))} s.",
        allowance,
    )


def _allowance(route: LimitedRoute, buckets: list[Bucket], now: float) -> Allowance:
    """Of the limit with the least left."""
    tightest, remaining = buckets[0], buckets[0].available(now)
    for bucket in buckets[1:]:
        left = bucket.available(now)
        if left < remaining:
            tightest, remaining = bucket, left
    limit = tightest.rule.limit
    reset = max(0.0, tightest.tat - now)
    return Allowance(limit.name, route.policy, limit.burst, remaining, reset)
