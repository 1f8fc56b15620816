"""Load balancing: which of the eligible instances gets the next attempt.

    LeastRequest   of two drawn by weight, the one with less in flight per weight (the default)
    LeastLatency   of two drawn by weight, the one with less waiting work by its peak EWMA latency
    ByWeight       one drawn by weight: canaries
    ByKey          the same one for the same key (a user), unless it is much busier than its share

All leave out instances that were tried already or whose breaker refuses. With equal loads, the
first one drawn wins, so that an idle pool is used exactly by weight. Two choices instead of the
minimum of all: many gateways that see the same minimum would all run to it (Mitzenmacher 2001).
The cost is one pass over the pool.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Container, Mapping, Sequence
from itertools import accumulate
from typing import Final, Protocol, TypeVar

from gateway.upstream.peak_ewma import PeakEwma
from gateway.upstream.rendezvous import Rendezvous, hash_of, score


class Pickable(Protocol):
    """What picking reads of an instance."""

    @property
    def url(self) -> str: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def weight(self) -> float:
        """Above 0: its static weight times its slow start's factor."""
        ...

    def admits(self) -> bool:
        """Whether its breaker would admit a request now."""
        ...


class Timed(Pickable, Protocol):
    @property
    def latency(self) -> PeakEwma: ...


P = TypeVar("P", bound=Pickable)
T = TypeVar("T", bound=Timed)
NOTHING_TRIED: Final[Container[object]] = ()


class Balancer(Protocol):
    def pick(
        self,
        eligible: Sequence[T],
        tried: Container[object] = NOTHING_TRIED,
        key: str | None = None,
    ) -> T | None:
        """None if there is nobody to ask. The key matters to ByKey only."""
        ...


def open_to(eligible: Sequence[P], tried: Container[object] = NOTHING_TRIED) -> list[P]:
    """Those that may be picked."""
    return [one for one in eligible if one not in tried and one.admits()]


class _Drawn(ABC):
    """What is left to chance; `chance` is uniform in [0, 1)."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._random = chance

    def pick(
        self,
        eligible: Sequence[T],
        tried: Container[object] = NOTHING_TRIED,
        key: str | None = None,  # noqa: ARG002 - all policies are called alike
    ) -> T | None:
        candidates = open_to(eligible, tried)
        return self._one_of(candidates) if candidates else None

    @abstractmethod
    def _one_of(self, candidates: list[T]) -> T:
        """One of those that may be picked, of which there is at least one."""


class LeastRequest(_Drawn):
    def _one_of(self, candidates: list[T]) -> T:
        return min(_two(candidates, self._random), key=_requests)


class LeastLatency(_Drawn):
    def _one_of(self, candidates: list[T]) -> T:
        return min(_two(candidates, self._random), key=_waiting_work)


class ByWeight(_Drawn):
    def _one_of(self, candidates: list[T]) -> T:
        summed = list(accumulate(one.weight for one in candidates))
        return candidates[_place(summed, self._random() * summed[-1])]


class ByKey:
    """Rendezvous hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2018).

    An instance takes at most `bound` (1 or more) times its share, by weight, of what is in flight,
    rounded up; a key whose instance is full goes to the next in its own order, and back when there
    is room.
    A request without a key goes to the less busy of two.
    """

    def __init__(self, bound: float = 2.0, without_key: LeastRequest | None = None) -> None:
        self._bound = bound
        self._without_key = without_key or LeastRequest()
        self._hashes = Rendezvous()

    def pick(
        self,
        eligible: Sequence[T],
        tried: Container[object] = NOTHING_TRIED,
        key: str | None = None,
    ) -> T | None:
        if key is None:
            return self._without_key.pick(eligible, tried)
        candidates = open_to(eligible, tried)
        if not candidates:
            return None
        hashed, seed = hash_of(key), self._hashes.seed
        in_flight = sum(one.in_flight for one in candidates) + 1
        share = self._bound * in_flight / sum(one.weight for one in candidates)
        # Never empty: were all full, more would be in flight than there is.
        roomy = [one for one in candidates if one.in_flight < math.ceil(share * one.weight)]
        return max(roomy, key=lambda one: score(hashed, seed(one.url), one.weight))


# By the name that a service's policy gives it.
BALANCERS: Final[Mapping[str, Callable[[], Balancer]]] = {
    "least_request": LeastRequest,
    "ewma": LeastLatency,
    "hash": ByKey,
    "weighted": ByWeight,
}


def _two(candidates: list[P], chance: Callable[[], float]) -> list[P]:
    """Two different ones, drawn by weight one after the other (all, if there are fewer)."""
    if len(candidates) < 2:
        return candidates
    summed = list(accumulate(one.weight for one in candidates))
    first = _place(summed, chance() * summed[-1])
    before = summed[first - 1] if first else 0.0
    weight = summed[first] - before
    point = chance() * (summed[-1] - weight)
    second = _place(summed, point if point < before else point + weight)
    if second == first:  # by a rounding at the border of two
        second = first - 1 if first else 1
    return [candidates[first], candidates[second]]


def _place(summed: Sequence[float], point: float) -> int:
    return min(bisect_right(summed, point), len(summed) - 1)


def _requests(one: Pickable) -> float:
    return one.in_flight / one.weight


def _waiting_work(one: Timed) -> float:
    return one.latency.load(one.in_flight) / one.weight
