"""Whether two periods differ by more than chance: two-sided tests of rates and of means.

A p-value is how often a difference at least as large comes about where there is none. None stands
where there are too few calls for the test to mean anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_FEWEST_EACH: Final = 5.0  # expected successes and failures, where the normal approximation holds
_FEWEST_VALUES: Final = 10  # of a mean whose values may lie anyhow
_STEPS: Final = 300
_EXACT: Final = 1e-14
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True)
class Moments:
    """How many values there are, their mean and their sample variance."""

    count: int
    mean: float
    variance: float


def two_proportions(hits: int, of: int, others: int, of_others: int) -> float | None:
    """P of the z-test of two proportions with pooled variance: `hits / of` and `others / of_others`."""
    if not of or not of_others:
        return None
    pooled = (hits + others) / (of + of_others)
    if min(of, of_others) * min(pooled, 1 - pooled) < _FEWEST_EACH:
        return None
    error = math.sqrt(pooled * (1 - pooled) * (1 / of + 1 / of_others))
    return math.erfc(abs(hits / of - others / of_others) / error / math.sqrt(2))


def welch(one: Moments, other: Moments) -> float | None:
    """P of Welch's t-test: two means whose variances may differ (Welch 1947)."""
    if min(one.count, other.count) < _FEWEST_VALUES:
        return None
    first, second = one.variance / one.count, other.variance / other.count
    if first + second <= 0:  # all values are the same
        return None
    t = (one.mean - other.mean) / math.sqrt(first + second)
    share = first / (first + second)  # squares of the variances themselves may vanish
    freedom = 1 / (share**2 / (one.count - 1) + (1 - share) ** 2 / (other.count - 1))
    return _beyond(t, freedom)


def _beyond(t: float, freedom: float) -> float:
    """How much of Student's distribution lies beyond ±t."""
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Lentz's method."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for step in range(1, _STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _EXACT:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
