"""A bounded cache with an expiry per entry and second-chance (clock) eviction."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_MOST_SPARED: Final = 16


class _Entry(Generic[V]):
    def __init__(self, value: V, until: float) -> None:
        self.value = value
        self.until = until
        self.used = False  # since its last turn to be pushed out


class ExpiringCache(Generic[K, V]):
    """At most `size` (1 or more) entries.

    Second chance (clock) rather than least recently used: a look-up marks its entry and moves
    nothing, as with 100,000 entries each neighbour that a move touches is a miss of the processor's.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, unless it has expired or was pushed out."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= self._clock():
            del self._entries[key]
            return None
        entry.used = True
        return entry.value

    def put(self, key: K, value: V, until: float) -> None:
        """Keep `value` until the clock shows `until`."""
        self._entries[key] = _Entry(value, until)
        if len(self._entries) > self._size:
            self._push_out(key)

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)

    def _push_out(self, newest: K) -> None:
        """Drop the oldest entry that wasn't used since its last turn.

        After so many that were spared whatever comes next, as nobody waits for thousands of turns.
        """
        entries, spared = self._entries, _MOST_SPARED
        key, entry = entries.popitem(last=False)
        while (entry.used and spared > 0) or key == newest:
            entry.used = False
            entries[key] = entry
            key, entry = entries.popitem(last=False)
            spared -= 1
