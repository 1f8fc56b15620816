"""A bounded cache whose entries expire, each at its own time; what isn't used goes first."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

_MOST_LOOKS: Final = 16


class Entry:
    """What a bounded table holds of a key; whoever uses it marks it."""

    def __init__(self) -> None:
        self.used = False  # since it was last looked for something to push out


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
E = TypeVar("E", bound=Entry)


class _Expiring(Entry, Generic[V]):
    def __init__(self, value: V, until: float) -> None:
        super().__init__()
        self.value = value
        self.until = until


class ExpiringCache(Generic[K, V]):
    """At most `size` (1 or more) entries; `push_out` says which goes when there are more."""

    def __init__(self, size: int, clock: Callable[[], float] = time.time) -> None:
        self._size = size
        self._clock = clock
        self._entries: OrderedDict[K, _Expiring[V]] = OrderedDict()

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
        self._entries[key] = _Expiring(value, until)
        if len(self._entries) > self._size:
            push_out(self._entries, key)

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)


def push_out(entries: OrderedDict[K, E], newest: K) -> E:
    """Drop and return the oldest entry that wasn't used since it was last looked at, not `newest`.

    Second chance (clock) rather than least recently used: a look-up marks its entry and moves
    nothing, as with 100,000 entries each neighbour that a move touches is a miss of the processor's.
    After some looks whatever comes next goes: nobody waits while thousands are looked at.
    """
    looks = _MOST_LOOKS
    key, entry = entries.popitem(last=False)
    while (entry.used and looks > 0) or key == newest:
        entry.used = False
        entries[key] = entry
        key, entry = entries.popitem(last=False)
        looks -= 1
    return entry
