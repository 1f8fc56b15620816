"""A rolling window: counts of a few kinds of events in the last seconds, in constant space."""

from __future__ import annotations

from math import floor


class RollingCounts:
    """`totals[kind]` counts the events of the current bucket and of the `buckets - 1` before it.

    The window is thus between `seconds - seconds / buckets` and `seconds` long. Adding is O(1); a
    pause costs one pass over the buckets. A clock that goes back counts into the newest bucket.
    """

    def __init__(self, kinds: int, seconds: float, buckets: int = 10) -> None:
        self._width = seconds / buckets
        self._buckets = [[0] * kinds for _ in range(buckets)]
        self._at = 0  # which bucket is the newest, counted since the clock's beginning
        self._newest = self._buckets[0]
        self._ends = self._width  # when the newest bucket does
        self.totals = [0] * kinds

    def add(self, kind: int, now: float) -> None:
        """Count one event; `totals` is up to date afterwards."""
        if now >= self._ends:
            self.advance(now)
        self._newest[kind] += 1
        self.totals[kind] += 1

    def advance(self, now: float) -> None:
        """Forget what is too old; `totals` is up to date afterwards."""
        at = floor(now / self._width)
        if at <= self._at:
            return
        buckets, totals = self._buckets, self.totals
        for step in range(1, min(at - self._at, len(buckets)) + 1):
            bucket = buckets[(self._at + step) % len(buckets)]
            for kind, count in enumerate(bucket):
                totals[kind] -= count
                bucket[kind] = 0
        self._at = at
        self._newest = buckets[at % len(buckets)]
        self._ends = (at + 1) * self._width

    def clear(self) -> None:
        for bucket in (*self._buckets, self.totals):
            bucket[:] = [0] * len(bucket)
