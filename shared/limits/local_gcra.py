"""GCRA in memory: what one process counts while it can't count together with the others."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from shared.limits.counts import Count, Key

_MICRO: Final = 1e6  # times are microseconds to a thousandth, as in Redis: both decide alike
_SIZE: Final = 100_000  # keys; 250 bytes each


class LocalGcra:
    """`take` decides requests by counts of its own.

    Of `size` keys at most anything is remembered. Of more, those that were taken from longest ago
    are forgotten, which fills their buckets.
    """

    def __init__(self, *, size: int = _SIZE, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._tats: OrderedDict[str, float] = OrderedDict()

    async def take(
        self,
        keys: Sequence[Key],
        requests: Sequence[Sequence[float]],
        corrections: Sequence[float] = (),
    ) -> Count:
        now = float(round(self._clock() * _MICRO))
        buckets = [_Bucket(key, self._tats.get(key.name, 0.0) - now) for key in keys]
        for number, cost in _parts(corrections):
            buckets[number].correct(cost)
        allowed = tuple(_decide(buckets, _parts(request)) for request in requests)
        leases = [bucket.take_lease() for bucket in buckets]
        for key, bucket in zip(keys, buckets, strict=True):
            if bucket.taken or bucket.changed:
                self._keep(key.name, round(now + bucket.ahead, 3))
        ahead = [bucket.ahead / _MICRO for bucket in buckets]
        return Count(now / _MICRO, tuple(zip(ahead, leases, strict=True)), allowed)

    def _keep(self, name: str, tat: float) -> None:
        self._tats[name] = tat
        self._tats.move_to_end(name)
        if len(self._tats) > self._size:
            self._tats.popitem(last=False)


class _Bucket:
    """A key's bucket while requests are decided, in microseconds."""

    def __init__(self, key: Key, ahead: float) -> None:
        self.interval = key.interval * _MICRO
        self.room = key.room * _MICRO
        self.lease = key.lease
        self.changed = ahead > self.room  # the limit was made smaller
        self.ahead = max(min(ahead, self.room), 0.0)
        self.taken = False

    def correct(self, cost: float) -> None:
        self.ahead = min(max(self.ahead + cost * self.interval, 0.0), self.room)
        self.changed = True

    def fits(self, cost: float) -> bool:
        return self.ahead + cost * self.interval <= self.room

    def take(self, cost: float) -> None:
        self.ahead = max(self.ahead + cost * self.interval, 0.0)
        self.taken = True

    def take_lease(self) -> int:
        if not self.taken or self.lease <= 0:
            return 0
        lease = max(0, min(self.lease, math.floor((self.room - self.ahead) / self.interval)))
        self.ahead += lease * self.interval
        return lease


def _parts(request: Sequence[float]) -> list[tuple[int, float]]:
    """(index, cost) of each key in it."""
    return [(int(request[at]) - 1, request[at + 1]) for at in range(0, len(request), 2)]


def _decide(buckets: Sequence[_Bucket], parts: Sequence[tuple[int, float]]) -> bool:
    if not all(buckets[number].fits(cost) for number, cost in parts):
        return False
    for number, cost in parts:
        buckets[number].take(cost)
    return True
