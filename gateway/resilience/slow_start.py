"""Slow start: ramps a new instance up to its share of the requests while its caches are cold."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SlowStartPolicy:
    window_s: float = 30.0  # 0: no slow start
    least: float = 0.1  # the share of its weight that an instance begins with
    aggression: float = 1.0  # 1: a straight line; above: steeper at first; below: later

    def factor(self, age_s: float) -> float:
        """The share of its weight that an instance of this age gets, from `least` up to 1."""
        age_s = max(0.0, age_s)
        if age_s >= self.window_s or not self.window_s:
            return 1.0
        return max(self.least, math.pow(age_s / self.window_s, 1.0 / self.aggression))


class SlowStart:
    """The ramp of one instance. Once at its end, reading it asks no clock."""

    __slots__ = ("_clock", "_done", "_policy", "_since")

    def __init__(
        self,
        policy: SlowStartPolicy = SlowStartPolicy(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Start again, as after an illness."""
        self._since = self._clock()
        self._done = False

    @property
    def factor(self) -> float:
        if self._done:
            return 1.0
        age = self._clock() - self._since
        self._done = age >= self._policy.window_s
        return self._policy.factor(age)
