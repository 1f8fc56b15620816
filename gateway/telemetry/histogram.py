"""A histogram that costs a request one search in a short list, without locks or labels."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence


class LocalHistogram:
    """Counts of values by upper bound, as Prometheus has them. One event loop owns it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many values were not above it), the last for all of them."""
        found, total = list[tuple[str, float]](), 0
        for bound, number in zip(
            (*map(str, map(float, self._bounds)), "+Inf"), self._counts, strict=True
        ):
            total += number
            found.append((bound, float(total)))
        return found
