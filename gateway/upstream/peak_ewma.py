"""Peak EWMA latency of an instance: a mean that rises at once and falls slowly.

Peak EWMA as in Twitter's Finagle: a sample above the mean replaces it, one below is averaged in
with a weight that depends on the time since the last sample, not on the number of requests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class PeakEwma:
    """`record` each try; `load` compares instances. Seconds throughout."""

    __slots__ = ("_at", "_clock", "_decay_s", "_failure_s", "_mean")

    def __init__(
        self,
        decay_s: float = 10.0,
        failure_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._decay_s = decay_s
        self._failure_s = failure_s  # a failure is at least this slow: failing fast is no merit
        self._clock = clock
        self._mean = 0.0
        self._at = clock()

    def record(self, seconds: float, *, failed: bool = False) -> None:
        sample = max(seconds, self._failure_s) if failed else seconds
        now = self._clock()
        if sample >= self._mean:
            self._mean = sample
        else:
            kept = self._kept(now)
            self._mean = self._mean * kept + sample * (1.0 - kept)
        self._at = now

    @property
    def seconds(self) -> float:
        """The mean, sinking while nothing is recorded, so that a slow instance is tried again."""
        return self._mean * self._kept(self._clock())

    def load(self, in_flight: int) -> float:
        """Seconds of work that wait there, roughly, if one more request is sent.

        An instance that was never measured takes one request; the others wait for its answer.
        """
        if self._mean == 0.0:
            return math.inf if in_flight else 0.0
        return self.seconds * (in_flight + 1)

    def _kept(self, now: float) -> float:
        return math.exp(-max(0.0, now - self._at) / self._decay_s)
