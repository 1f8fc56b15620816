"""A clock that only moves when it is told to, and chances that are known beforehand."""

from __future__ import annotations


class FakeClock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def never() -> float:
    """The least chance of [0, 1): no jitter."""
    return 0.0
