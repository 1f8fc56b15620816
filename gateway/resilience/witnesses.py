"""Failures by who saw them, so that no caller alone opens a breaker or ejects an instance.

What a single caller is answered says more of its requests than of a service. Of the failures that an
instance answers with, those of the caller who saw most of them are left out wherever something is
decided for all callers. What never was answered (no connection, a broken or late answer) is nobody's
request in particular and always counts.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import ItemsView
from math import floor
from typing import Final
from uuid import UUID

from shared.security import NO_ORG

Witness = UUID | None
EVERYBODY: Final[Witness] = None  # no answer came: whoever asked would have seen it
# All who have not signed in. They can't be told apart, so that they are no witnesses.
ANYBODY: Final[Witness] = NO_ORG
_CALLERS: Final = 256  # told apart in a bucket; more count as one


class FailureRow:
    """Failures in a row, by who saw them."""

    __slots__ = ("_seen", "total")

    def __init__(self) -> None:
        self._seen: dict[UUID, int] = {}
        self.total = 0

    def add(self, who: Witness) -> None:
        self.total += 1
        if who is not None:
            if who not in self._seen and len(self._seen) >= _CALLERS:
                who = NO_ORG
            self._seen[who] = self._seen.get(who, 0) + 1

    def clear(self) -> None:
        self.total = 0
        self._seen.clear()

    def items(self) -> ItemsView[UUID, int]:
        """Callers, and how many each of them saw."""
        return self._seen.items()

    @property
    def witnesses(self) -> int:
        """How many callers saw some of it."""
        return len(self._seen)

    @property
    def of_several(self) -> int:
        """How many are left without the caller that saw most."""
        return self.total - max(self._seen.values(), default=0)


class RollingWitnesses:
    """What each caller saw in the last seconds; the buckets are those of RollingCounts."""

    __slots__ = ("_buckets", "_kept", "_width")

    def __init__(self, seconds: float, buckets: int = 10) -> None:
        self._width = seconds / buckets
        self._kept = buckets
        self._buckets: deque[tuple[int, Counter[UUID]]] = deque()

    def add(self, who: UUID, now: float) -> None:
        at = floor(now / self._width)
        self._forget(at)
        buckets = self._buckets
        if not buckets or buckets[-1][0] < at:
            buckets.append((at, Counter()))
        seen = buckets[-1][1]
        seen[who if who in seen or len(seen) < _CALLERS else NO_ORG] += 1

    def saw(self, who: UUID, now: float) -> bool:
        self._forget(floor(now / self._width))
        return any(who in seen for _, seen in self._buckets)

    def most(self, now: float) -> int:
        """How many the caller saw that saw most; 0 if nobody saw any."""
        self._forget(floor(now / self._width))
        together: Counter[UUID] = Counter()
        for _, seen in self._buckets:
            together.update(seen)
        return max(together.values(), default=0)

    def clear(self) -> None:
        self._buckets.clear()

    def _forget(self, at: int) -> None:
        buckets = self._buckets
        while buckets and buckets[0][0] <= at - self._kept:
            buckets.popleft()
