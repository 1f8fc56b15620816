"""How much is asked of models per minute and at once, counted over all replicas.

Rates are GCRA with requests and tokens as costs: a bucket holds a minute's allowance, all of which
may be taken at once. Before an attempt the tokens of its worst case are taken, after it
`Limits.correct` gives back what it didn't use. Places are held under leases.

While Redis is away or slow each replica counts alone, its part of each limit;
`llm_limits_degraded` is 1 meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from prometheus_client import CollectorRegistry

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
_MINUTE_S: Final = 60.0
_FULL_RETRY_S: Final = 1.0  # when a place becomes free nobody knows
_LINGER_S: Final = 0.02  # corrections wait for a request to go along with
_SHORTEST_RETRY_S: Final = 1e-3
_ROUNDING: Final = 1 + 1e-9  # a sum of intervals may end a few bits beyond their product

Scope = Literal["provider", "organisation", "key", "purpose"]


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_minute` (1 or more) units of `unit`, for what `of` names of its scope.

    All that give the same scope, unit and `of` are counted together.
    """

    scope: Scope
    of: str  # 'openai', an organisation's id, 'key:<uuid>', 'summary'
    unit: Literal["requests", "tokens"]
    per_minute: int

    @property
    def text(self) -> str:
        return f"{self.per_minute} {self.unit} per minute for each {self.scope}"


@dataclass(frozen=True, slots=True)
class Places:
    """`number` requests at once, for what `of` names of its scope."""

    scope: Scope
    of: str
    number: int

    @property
    def unit(self) -> Literal["concurrency"]:
        return "concurrency"

    @property
    def text(self) -> str:
        return f"{self.number} requests at once for each {self.scope}"


@dataclass(frozen=True, slots=True)
class Over:
    """The limit that keeps a request longest, and the seconds after which to try again."""

    limit: Rate | Places
    retry_after: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request has taken of its rates: `correct` it once, or `give_back`."""

    rates: tuple[Rate, ...]
    costs: tuple[float, ...]  # one for each rate
    replicas: int | None  # among which the rates were divided; None: counted together


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be taken of each key, or corrected."""

    keys: tuple[Key, ...]
    costs: tuple[float, ...]
    correction: bool = False


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
        counts = RedisGcra(cache)
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
        self._outage = Outage("models", degraded, counts.probe, budget_s)
        self._together = Gathering[_Asked, Count](
            self._outage, partial(_ask, counts), _undo, linger_s=_LINGER_S
        )
        self._places = HeldPlaces(RedisSemaphore(cache), self._outage, lease_s)

    @property
    def degraded(self) -> bool:
        """Whether this process counts alone."""
        return self._outage.away

    async def take(self, rates: Sequence[Rate], tokens: int, requests: int = 1) -> Taken | Over:
        """Take `tokens` and `requests` from all `rates`, in one round trip, or nothing of any.

        More than a minute's allowance is all of it: such a request waits for a full bucket.
        """
        if not rates:
            return Taken((), (), None)
        try:
            return await self._take(rates, tokens, requests, None)
        except StoreError:  # said by the log and the gauge
            return await self._take(rates, tokens, requests, max(1, self._replicas()))

    async def correct(self, taken: Taken, tokens: int) -> None:
        """Give back, or take besides, the difference to the true `tokens` of the attempt.

        Redis is told with the next request, or soon after, and not waited for. While it is away what it counted stays as it is,
        until a minute has healed that.
        """
        costs = [
            min(tokens, _most(_key(rate, taken.replicas))) if rate.unit == "tokens" else cost
            for rate, cost in zip(taken.rates, taken.costs, strict=True)
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
        async with self._places.hold(_name(places), places.number, alone) as held:
            yield None if held else self._over(places, _FULL_RETRY_S)

    async def close(self) -> None:
        await self._places.close()
        await self._together.close()
        await self._outage.close()

    async def _take(
        self, rates: Sequence[Rate], tokens: int, requests: int, replicas: int | None
    ) -> Taken | Over:
        keys = [_key(rate, replicas) for rate in rates]
        wanted = {"tokens": tokens, "requests": requests}
        costs = [min(wanted[rate.unit], _most(key)) for rate, key in zip(rates, keys, strict=True)]
        asked = _Asked(tuple(keys), tuple(costs))
        if replicas is None:
            count = await self._together.ask(asked)
        else:
            (count,) = await _ask(self._alone, [asked])
        if count.allowed[0]:
            return Taken(tuple(rates), tuple(costs), replicas)
        waits = [
            ahead + cost * key.interval - key.room
            for (ahead, _), key, cost in zip(count.keys, keys, costs, strict=True)
        ]
        longest = max(waits)
        return self._over(rates[waits.index(longest)], max(longest, _SHORTEST_RETRY_S))

    async def _change(self, taken: Taken, costs: Sequence[float]) -> None:
        changes = tuple([now - before for now, before in zip(costs, taken.costs, strict=True)])
        if not any(changes):
            return
        keys = tuple([_key(rate, taken.replicas) for rate in taken.rates])
        asked = _Asked(keys, changes, correction=True)
        if taken.replicas is None:
            self._together.tell(asked)
        else:
            await _ask(self._alone, [asked])

    def _over(self, limit: Rate | Places, retry_after: float) -> Over:
        self._limited.labels(limit.scope, limit.unit).inc()
        return Over(limit, retry_after)


def _name(limit: Rate | Places) -> str:
    return f"llm:limit:{limit.unit}:{limit.scope}:{limit.of}"


def _key(rate: Rate, replicas: int | None) -> Key:
    """Its bucket, or this process's part of it, which holds one unit at least."""
    interval = _MINUTE_S / rate.per_minute * (replicas or 1)
    return Key(_name(rate), interval, max(_MINUTE_S, interval) * _ROUNDING)


def _most(key: Key) -> float:
    """Units in a full bucket."""
    return key.room / _ROUNDING / key.interval


async def _ask(counts: Counts, several: Sequence[_Asked]) -> list[Count]:
    """The answers to several at once; corrections are made before anything is taken."""
    keys = {key.name: key for asked in several for key in asked.keys}
    numbers = {name: number for number, name in enumerate(keys, 1)}
    requests, corrections = list[list[float]](), list[float]()
    for asked in several:
        parts = [
            part
            for key, cost in zip(asked.keys, asked.costs, strict=True)
            for part in (numbers[key.name], cost)
        ]
        if asked.correction:
            corrections += parts
        else:
            requests.append(parts)
    count = await counts.take(list(keys.values()), requests, corrections)
    states, decided = dict(zip(keys, count.keys, strict=True)), iter(count.allowed)
    return [
        Count(
            count.at,
            tuple([states[key.name] for key in asked.keys]),
            (asked.correction or next(decided),),
        )
        for asked in several
    ]


def _undo(asked: _Asked, count: Count) -> _Asked | None:
    if asked.correction or not count.allowed[0]:
        return None
    return _Asked(asked.keys, tuple([-cost for cost in asked.costs]), correction=True)
