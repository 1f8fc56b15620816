"""How much is asked of models per minute and at once, counted over all replicas.

Rates are GCRA with requests and tokens as costs: a bucket holds a minute's allowance, all of which
may be taken at once. Before an attempt the tokens of its worst case are taken, after it
`Limits.correct` gives back what it didn't use; most of both is done with units that this process
holds (buckets.py). Places are held under leases.

While Redis is away or slow each replica counts alone, its part of each limit;
`llm_limits_degraded` is 1 meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from ai_services.llm.asking.buckets import Bucket, Buckets
from ai_services.llm.asking.rate import Places, Rate, name
from shared.data_access.ports import Cache
from shared.errors import StoreError
from shared.limits.counts import Count, Counts, Key
from shared.limits.gathering import Gathering
from shared.limits.held_places import HeldPlaces
from shared.limits.local_gcra import LocalGcra
from shared.limits.outage import Outage
from shared.limits.redis_gcra import RedisGcra
from shared.limits.semaphore import RedisSemaphore
from shared.telemetry.metrics import Counter, Gauge

BUDGET_S: Final = 1.0  # paid once in an outage; to be wrong about one costs more
LEASE_S: Final = 30.0
_FULL_RETRY_S: Final = 1.0  # when a place becomes free nobody knows
_LINGER_S: Final = 0.02  # corrections wait for a request to go along with
_SHORTEST_RETRY_S: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Over:
    """The limit that keeps a request longest, and the seconds after which to try again."""

    limit: Rate | Places
    retry_after: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request has taken of its rates: `correct` it once, or `give_back`."""

    buckets: Sequence[Bucket]
    costs: Sequence[float]  # one for each bucket
    replicas: int | None  # among which the rates were divided; None: counted together


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be taken of each bucket, or corrected."""

    buckets: Sequence[Bucket]
    costs: Sequence[float]
    correction: bool = False


_NOTHING: Final = Taken((), (), None)


class Limits:
    """`take` and `correct` for rates, `place` for what is asked at once; `close` at the end.

    `replicas` tells among how many processes the limits are divided while Redis is away. `lease_s`
    is how long the place of a process that died stays taken.
    """

    def __init__(
        self,
        cache: Cache,
        registry: CollectorRegistry,
        *,
        replicas: Callable[[], int] = lambda: 1,
        budget_s: float = BUDGET_S,
        lease_s: float = LEASE_S,
    ) -> None:
        self._shared = RedisGcra(cache)
        self._buckets = Buckets()
        self._alone = LocalGcra()
        self._replicas = replicas
        degraded = Gauge(
            "llm_limits_degraded",
            "1 while this process counts the limits of models alone",
            registry=registry,
        )
        self._limited = Counter(
            "llm_limited", "Requests over a limit of models", ("scope", "unit"), registry=registry
        )
        self._outage = Outage("models", degraded, self._shared.probe, budget_s)
        self._together = Gathering[_Asked, Count](
            self._outage, self._ask_shared, _undo, linger_s=_LINGER_S
        )
        self._places = HeldPlaces(RedisSemaphore(cache), self._outage, lease_s)

    @property
    def degraded(self) -> bool:
        """Whether this process counts alone."""
        return self._outage.away

    async def take(self, rates: Sequence[Rate], tokens: int, requests: int = 1) -> Taken | Over:
        """Take `tokens` and `requests` from all `rates`, in one round trip at most, or nothing of any.

        More than a minute's allowance is all of it: such a request waits for a full bucket.
        """
        if not rates:
            return _NOTHING
        buckets = self._buckets.of(rates)
        wanted = [tokens if bucket.counts_tokens else requests for bucket in buckets]
        if not self._outage.away:
            costs = [min(cost, one.most) for cost, one in zip(wanted, buckets, strict=True)]
            try:
                over = await self._take(rates, buckets, costs)
            except StoreError:  # said by the log and the gauge
                self._buckets.forget()
            else:
                return over or Taken(buckets, costs, None)
        return await self._take_alone(rates, buckets, wanted)

    async def correct(self, taken: Taken, tokens: int) -> None:
        """Give back, or take besides, the difference to the true `tokens` of the attempt.

        What Redis is to know of it goes with the next request, or soon after, and isn't waited for.
        While it is away what it counted stays as it is, until a minute has healed that.
        """
        replicas = taken.replicas
        costs = [
            min(tokens, one.most if replicas is None else one.most_alone(replicas))
            if one.counts_tokens
            else cost
            for one, cost in zip(taken.buckets, taken.costs, strict=True)
        ]
        await self._change(taken, costs)

    async def give_back(self, taken: Taken) -> None:
        """Nothing was asked of a model: give back all of it."""
        await self._change(taken, [0.0] * len(taken.costs))

    @asynccontextmanager
    async def place(self, places: Places | None) -> AsyncIterator[Over | None]:
        """Hold one of `places` for the time of the block; Over if all are taken, and nothing held.

        Without a limit (None) there is always one.
        """
        if places is None:
            yield None
            return
        alone = max(1, places.number // max(1, self._replicas()))
        async with self._places.hold(name(places), places.number, alone) as held:
            yield None if held else self._over(places, _FULL_RETRY_S)

    async def close(self) -> None:
        await self._places.close()
        await self._together.close()
        await self._outage.close()

    async def _take(
        self, rates: Sequence[Rate], buckets: Sequence[Bucket], costs: Sequence[float]
    ) -> Over | None:
        """From what is held, and what is missing then from Redis."""
        given = [one.give(cost) for one, cost in zip(buckets, costs, strict=True)]
        missing = [cost - part for cost, part in zip(costs, given, strict=True)]
        if not any(missing):
            return None
        try:
            count = await self._together.ask(_Asked(buckets, missing))
            if count.allowed[0]:
                return None
        except BaseException:
            _put_back(buckets, given)
            raise
        _put_back(buckets, given)
        keys = [bucket.shared(1) for bucket in buckets]
        return self._longest(rates, keys, missing, count)

    async def _take_alone(
        self, rates: Sequence[Rate], buckets: Sequence[Bucket], wanted: Sequence[float]
    ) -> Taken | Over:
        replicas = max(1, self._replicas())
        costs = [
            min(cost, one.most_alone(replicas)) for cost, one in zip(wanted, buckets, strict=True)
        ]
        keys = {one.name: one.alone(replicas) for one in buckets}
        (count,) = await _ask(self._alone, keys, [_Asked(buckets, costs)])
        if count.allowed[0]:
            return Taken(buckets, costs, replicas)
        return self._longest(rates, list(keys.values()), costs, count)

    async def _ask_shared(self, several: Sequence[_Asked]) -> list[Count]:
        """In one round trip, with leases for what is taken from."""
        replicas = max(1, self._replicas())
        buckets = {one.name: one for asked in several for one in asked.buckets}
        keys = {one.name: one.shared(replicas) for one in buckets.values()}
        leased: dict[str, int] = {}
        counts = await _ask(self._shared, keys, several, leased)
        for of, units in leased.items():
            buckets[of].held += units
        return counts

    async def _change(self, taken: Taken, costs: Sequence[float]) -> None:
        buckets = taken.buckets
        changes = [now - before for now, before in zip(costs, taken.costs, strict=True)]
        if taken.replicas is not None:
            keys = {one.name: one.alone(taken.replicas) for one in buckets}
            await _ask(self._alone, keys, [_Asked(buckets, changes, correction=True)])
            return
        replicas = max(1, self._replicas())
        told = [-one.put(-change, replicas) for one, change in zip(buckets, changes, strict=True)]
        if any(told):
            self._together.tell(_Asked(buckets, told, correction=True))

    def _longest(
        self, rates: Sequence[Rate], keys: Sequence[Key], costs: Sequence[float], count: Count
    ) -> Over:
        """The limit that keeps a request longest which `count` has refused."""
        waits = [
            ahead + cost * key.interval - key.room
            for (ahead, _), key, cost in zip(count.keys, keys, costs, strict=True)
        ]
        longest = max(waits)
        return self._over(rates[waits.index(longest)], max(longest, _SHORTEST_RETRY_S))

    def _over(self, limit: Rate | Places, retry_after: float) -> Over:
        self._limited.labels(limit.scope, limit.unit).inc()
        return Over(limit, retry_after)


def _put_back(buckets: Sequence[Bucket], given: Sequence[float]) -> None:
    for bucket, units in zip(buckets, given, strict=True):
        bucket.held += units


async def _ask(
    counts: Counts,
    keys: Mapping[str, Key],
    several: Sequence[_Asked],
    leased: dict[str, int] | None = None,
) -> list[Count]:
    """The answers to several at once; corrections are made before anything is taken.

    `keys` by their names; what is `leased` of each is noted.
    """
    numbers = {of: number for number, of in enumerate(keys, 1)}
    requests, corrections = list[list[float]](), list[float]()
    for asked in several:
        parts = [
            part
            for bucket, cost in zip(asked.buckets, asked.costs, strict=True)
            for part in (numbers[bucket.name], cost)
        ]
        if asked.correction:
            corrections += parts
        else:
            requests.append(parts)
    count = await counts.take(list(keys.values()), requests, corrections)
    states, decided = dict(zip(keys, count.keys, strict=True)), iter(count.allowed)
    if leased is not None:
        leased.update({of: units for of, (_, units) in states.items() if units})
    return [
        Count(
            count.at,
            tuple([states[bucket.name] for bucket in asked.buckets]),
            (asked.correction or next(decided),),
        )
        for asked in several
    ]


def _undo(asked: _Asked, count: Count) -> _Asked | None:
    if asked.correction or not count.allowed[0]:
        return None
    return _Asked(asked.buckets, [-cost for cost in asked.costs], correction=True)
