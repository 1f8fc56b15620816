"""What one process holds of shared rates: units taken off the count and not given out yet.

A bucket is asked for a lease along with what a request needs, 1 % of a minute's allowance for all
processes together, and what an attempt didn't use stays here up to that. So most requests of large
limits are paid from what is held, without a round trip; of limits below 100 a minute nothing is held.
Leases are taken off first: over any time no more is given out than the limit allows, and 1 % at most
is refused that would have been free elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from ai_services.llm.asking.rate import Rate, name
from shared.limits.counts import Key

_MINUTE_S: Final = 60.0
_LEASES: Final = 100  # of a minute's allowance, divided among the processes
_ROUNDING: Final = 1 + 1e-9  # a sum of intervals may end a few bits beyond their product
_SIZE: Final = 20_000  # of more, those asked for longest ago are forgotten, and what they hold


class Bucket:
    """A rate's bucket, GCRA's numbers of it, and the units `held` here."""

    __slots__ = ("counts_tokens", "held", "interval", "most", "name", "per_minute", "room")

    def __init__(self, rate: Rate) -> None:
        self.name = name(rate)
        self.per_minute = rate.per_minute
        self.counts_tokens = rate.unit == "tokens"
        self.interval = _MINUTE_S / rate.per_minute
        self.room = _MINUTE_S * _ROUNDING
        self.most = _most(self.interval, self.room)
        self.held = 0.0

    def shared(self, replicas: int) -> Key:
        """As all count it together, with what this one of `replicas` would like to hold besides."""
        missing = int(self._lease(replicas) - self.held)
        return Key(self.name, self.interval, self.room, max(0, missing))

    def alone(self, replicas: int) -> Key:
        """As this one of `replicas` counts it alone: its part, which holds one unit at least."""
        interval = self.interval * replicas
        return Key(self.name, interval, max(_MINUTE_S, interval) * _ROUNDING)

    def most_alone(self, replicas: int) -> float:
        key = self.alone(replicas)
        return _most(key.interval, key.room)

    def give(self, cost: float) -> float:
        """Pay `cost` from what is held; how much of it that was."""
        given = min(self.held, cost)
        self.held -= given
        return given

    def put(self, units: float, replicas: int) -> float:
        """Keep units that weren't used, or (below 0) that were used besides; the count is told of
        the rest.
        """
        held = self.held + units
        self.held = min(max(held, 0.0), max(float(self._lease(replicas)), self.held))
        return held - self.held

    def _lease(self, replicas: int) -> int:
        return self.per_minute // (_LEASES * replicas)


def _most(interval: float, room: float) -> float:
    """Units in a full bucket."""
    return room / _ROUNDING / interval


class Buckets:
    """Those of the rates that were asked for."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[Rate, Bucket] = OrderedDict()

    def of(self, rates: Sequence[Rate]) -> list[Bucket]:
        return [self._of(rate) for rate in rates]

    def forget(self) -> None:
        """Nothing is held any more: the count may have begun anew."""
        for bucket in self._buckets.values():
            bucket.held = 0.0

    def _of(self, rate: Rate) -> Bucket:
        bucket = self._buckets.get(rate)
        if bucket is None:
            bucket = self._buckets[rate] = Bucket(rate)
            if len(self._buckets) > _SIZE:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(rate)
        return bucket
