"""A token bucket in exact fractions: what GCRA must agree with."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass
class TokenBucket:
    """`burst` tokens at most, `rate` more per second."""

    rate: Fraction
    burst: Fraction
    tokens: Fraction = field(init=False)
    at: Fraction | None = None

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def fill(self, at: Fraction) -> None:
        if self.at is not None:
            self.tokens = min(self.burst, self.tokens + (at - self.at) * self.rate)
        self.at = at

    def take(self, at: Fraction, cost: int) -> bool:
        self.fill(at)
        if self.tokens < min(cost, self.burst):
            return False
        self.tokens -= cost
        return True

    def wait(self, cost: int) -> Fraction:
        """Seconds until a request of `cost` would be taken."""
        return max(Fraction(0), (min(cost, self.burst) - self.tokens) / self.rate)
