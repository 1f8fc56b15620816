"""A bounded cache whose entries end at a time of their own; what isn't used goes first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_MOST_LOOKS: Final = 16


class _Entry(Generic[V]):
    def __init__(self, value: V, until: float) -> None:
        self.value = value
        self.until = until
        self.used = False  # since it was last looked for something to push out


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
        """Drop the oldest that wasn't used since it was last looked at; after so many looks whatever
        comes next, as nobody waits while thousands are looked at.
        """
        entries, looks = self._entries, _MOST_LOOKS
        key, entry = entries.popitem(last=False)
        while (entry.used and looks > 0) or key == newest:
            entry.used = False
            entries[key] = entry
            key, entry = entries.popitem(last=False)
            looks -= 1
