"""Counts of rates: the port, what it is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is counted, its rule (seconds), and what the process would like to hold of it.

    `interval` is the time in which one unit comes back, `room` that in which an empty bucket is
    full again.
    """

    name: str
    interval: float
    room: float
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Count:
    """`keys`: for each how many seconds the TAT is ahead now, and the lease; `allowed`: per request."""

    at: float  # seconds by the count's clock, from an origin of its own
    keys: tuple[tuple[float, int], ...]
    allowed: tuple[bool, ...]


class Counts(Protocol):
    """Decides requests by GCRA (ITU-T I.371), one theoretical arrival time (TAT) for each key."""

    async def take(
        self,
        keys: Sequence[Key],
        requests: Sequence[Sequence[float]],
        corrections: Sequence[float] = (),
    ) -> Count:
        """Decide `requests` in order; one that is over one of its limits takes from none of them.

        A request is written key, cost, key, cost, …; keys are numbered from 1. A cost may be a
        fraction, or negative, which gives back. `corrections`, written like one request, are made
        before, whatever the room: units that an earlier request took too little, or (negative) too
        much. No bucket becomes fuller than full, or emptier than empty.
        """
        ...
