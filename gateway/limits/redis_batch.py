"""Batches the limiter's questions to Redis: one round trip at a time, none while Redis is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextvars import copy_context
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from gateway.limits.gcra import Bucket
from shared.data_access.ports import Cache
from shared.errors import StoreError
from shared.limits.counts import Key
from shared.limits.redis_gcra import RedisGcra
from shared.serving.background import end
from shared.telemetry.metrics import Counter, Gauge

_BATCH: Final = 128  # requests per script call: a fraction of a millisecond of Redis's time
_FIRST_PROBE_S: Final = 0.1
_LAST_PROBE_S: Final = 2.0
log = structlog.get_logger()


class LimitedRequest:
    """A request that leases don't pay for, with its buckets, until it is decided."""

    __slots__ = ("asked", "buckets", "cost", "taken", "told")

    def __init__(self, buckets: list[Bucket], cost: int) -> None:
        self.buckets = buckets
        self.cost = cost
        self.taken: list[Bucket] = []  # paid from leases
        self.asked: list[Bucket] = []  # to be asked for
        self.told: asyncio.Future[bool | None] | None = None

    def cost_of(self, bucket: Bucket) -> int:
        """What it takes of a bucket: at most the burst, so that no request is refused for ever."""
        return min(self.cost, bucket.rule.burst)

    def refusing(self, now: float) -> bool:
        """Whether it is refused without asking Redis."""
        return any(bucket.refusing(now, self.cost_of(bucket)) for bucket in self.buckets)

    def take_leases(self) -> bool:
        """Pay from leases what can be; whether that was all."""
        for bucket in self.buckets:
            cost = self.cost_of(bucket)
            if bucket.leased >= cost:
                bucket.leased -= cost
                self.taken.append(bucket)
            else:
                self.asked.append(bucket)
        return not self.asked

    def give_back(self) -> None:
        """Undo `take_leases`."""
        for bucket in self.taken:
            bucket.leased += self.cost_of(bucket)
        self.taken.clear()
        self.asked.clear()

    def decide(self, allowed: bool | None) -> None:
        """Tell who waits for it; None: Redis can't be asked."""
        if self.told is not None and not self.told.done():
            self.told.set_result(allowed)


class RedisBatch:
    """`ask` decides a request; `close` at the end. No answer takes longer than two `budget`s."""

    def __init__(
        self,
        cache: Cache,
        registry: CollectorRegistry,
        budget: float,
        clock: Callable[[], float],
    ) -> None:
        self._counts = RedisGcra(cache)
        self._budget = budget
        self._clock = clock
        # Its tasks speak for all requests: their log lines name none, not the one that began them.
        self._nobody = copy_context()
        self._waiting: list[LimitedRequest] = []
        self._asking: asyncio.Task[None] | None = None
        self._probing: asyncio.Task[None] | None = None
        self.away = False
        self._degraded = Gauge(
            "rate_limit_degraded",
            "1 while this process counts rate limits alone",
            registry=registry,
        )
        self._trips = Counter(
            "rate_limit_round_trips", "Questions to the shared counts", registry=registry
        )

    async def ask(self, request: LimitedRequest) -> bool | None:
        """Whether the shared counts allow `request`; None if they can't be asked."""
        if self.away:
            return None
        loop = asyncio.get_running_loop()
        request.told = loop.create_future()
        self._waiting.append(request)
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._ask_all(), context=self._nobody)
        return await request.told

    async def close(self) -> None:
        await end(task for task in (self._asking, self._probing) if task is not None)

    async def _ask_all(self) -> None:
        while batch := self._next_batch():
            try:
                await self._count(batch)
            finally:
                for request in batch:
                    request.decide(None)  # those without an answer

    def _next_batch(self) -> list[LimitedRequest]:
        """The requests to ask for; the last answer may have decided some without."""
        batch: list[LimitedRequest] = []
        now = self._clock()
        while self._waiting and len(batch) < _BATCH:
            several, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
            for request in several:
                if request.told is None or request.told.done():
                    continue  # its client has gone
                if self.away:
                    request.decide(None)
                elif request.refusing(now):
                    request.decide(False)
                elif request.take_leases():
                    request.decide(True)
                else:
                    batch.append(request)
        return batch

    async def _count(self, batch: list[LimitedRequest]) -> None:
        self._trips.inc()
        buckets, requests = _questions(batch)
        keys = [_key(bucket) for bucket in buckets.values()]
        sent = self._clock()
        try:
            async with asyncio.timeout(self._budget):
                count = await self._counts.take(keys, requests)
        except (StoreError, TimeoutError) as error:
            for request in batch:
                request.give_back()
            self._lost(error)
            return
        for bucket, (ahead, lease) in zip(buckets.values(), count.keys, strict=True):
            bucket.learn(sent, ahead, lease)
        for request, allowed in zip(batch, count.allowed, strict=True):
            if not allowed:
                request.give_back()
            request.decide(allowed)

    def _lost(self, error: StoreError | TimeoutError) -> None:
        reason = error.message if isinstance(error, StoreError) else "slower than the budget"
        log.warning("rate limits are counted by each gateway alone", reason=reason)
        self.away = True
        self._degraded.set(1)
        self._probing = asyncio.get_running_loop().create_task(self._probe(), context=self._nobody)

    async def _probe(self) -> None:
        """Find out when Redis is back, by one small question at a time."""
        delay = _FIRST_PROBE_S
        while self.away:
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311 - spreads replicas, guards nothing
            try:
                async with asyncio.timeout(self._budget):
                    await self._counts.probe()
            except (StoreError, TimeoutError):
                delay = min(delay * 2, _LAST_PROBE_S)
            else:
                self.away = False
                self._degraded.set(0)
                log.info("rate limits are counted together again")


def _questions(batch: list[LimitedRequest]) -> tuple[dict[str, Bucket], list[list[int]]]:
    """What is asked about, and the requests as RedisGcra takes them."""
    buckets: dict[str, Bucket] = {}
    numbers: dict[str, int] = {}
    requests = []
    for request in batch:
        parts: list[int] = []
        for bucket in request.asked:
            buckets[bucket.key] = bucket
            number = numbers.setdefault(bucket.key, len(numbers) + 1)
            parts += (number, request.cost_of(bucket))
        requests.append(parts)
    return buckets, requests


def _key(bucket: Bucket) -> Key:
    rule = bucket.rule
    return Key(bucket.key, rule.interval, rule.room, max(0, rule.lease - bucket.leased))
