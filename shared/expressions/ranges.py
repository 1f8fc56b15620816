"""Between which bounds the value of a number lies: interval arithmetic (Moore, 1966) over int64 and double.

It tells which conditions can't be other than true or false, and where a result may leave its type, so
that only there its lowerings look. Rounding to the nearest double is monotonic: bounds that are computed
as the values are hold for those.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from shared.expressions.limits import FLOAT_HIGH, FLOAT_TINY, INT_HIGH, INT_LOW

Number = int | float
_ULP = 2.0**-53


@dataclass(frozen=True, slots=True)
class Range:
    """`low` ≤ value ≤ `high`, and a value that isn't 0 is at least `tiny` from it."""

    low: Number
    high: Number
    tiny: float = 1.0

    @property
    def reach(self) -> Number:
        """The largest distance from 0."""
        return max(abs(self.low), abs(self.high))

    @property
    def has_zero(self) -> bool:
        return self.low <= 0 <= self.high

    def as_float(self) -> Range:
        return Range(float(self.low), float(self.high), self.tiny)


INT: Range = Range(INT_LOW, INT_HIGH)
FLOAT: Range = Range(-FLOAT_HIGH, FLOAT_HIGH, FLOAT_TINY)


def point(value: Number) -> Range:
    return Range(value, value, float(abs(value)) if value else 1.0)


def sum_of(left: Range, right: Range) -> Range:
    """A sum of doubles is a multiple of the last place of the lesser one."""
    return Range(left.low + right.low, left.high + right.high, _finest(left, right))


def difference(left: Range, right: Range) -> Range:
    return Range(left.low - right.high, left.high - right.low, _finest(left, right))


def _finest(left: Range, right: Range) -> float:
    return min(left.tiny, right.tiny) * _ULP


def times(left: Range, right: Range) -> Range:
    ends = [one * other for one, other in product(_ends(left), _ends(right))]
    return Range(min(ends), max(ends), left.tiny * right.tiny)


def quotient(left: Range, right: Range) -> Range:
    """Of floats, where the divisor isn't 0; there has to be such a divisor."""
    tiny = left.tiny / right.reach
    divisors = [end for end in _ends(right) if end]
    if right.has_zero:
        divisors += [
            sign * right.tiny for sign in (-1, 1) if right.low <= sign * right.tiny <= right.high
        ]
    ends = [one / other for one, other in product(_ends(left), divisors)] or [0.0]
    return Range(min(ends), max(ends), tiny)


def floor_quotient(left: Range, right: Range) -> Range:
    """Of ints: no further from 0 than the dividend."""
    if left.low >= 0 and right.low >= 0:
        return Range(0, left.high)
    return Range(-left.reach, left.reach)


def remainder(right: Range) -> Range:
    """Of ints: between 0 and the divisor, whose sign it has."""
    return Range(min(right.low + 1, 0), max(right.high - 1, 0))


def magnitude(of: Range) -> Range:
    return Range(0 if of.has_zero else min(abs(of.low), abs(of.high)), of.reach, of.tiny)


def fits(of: Range, *, whole: bool) -> bool:
    """Whether every value is one of its type as it is."""
    if whole:
        return of.low >= INT_LOW and of.high <= INT_HIGH
    return of.reach <= FLOAT_HIGH and of.tiny >= FLOAT_TINY


def clamped(of: Range, *, whole: bool) -> Range | None:
    """What is left of a range after what doesn't fit is null; None: nothing."""
    bounds = INT if whole else FLOAT
    low, high = max(of.low, bounds.low), min(of.high, bounds.high)
    return Range(low, high, max(of.tiny, bounds.tiny)) if low <= high else None


def _ends(of: Range) -> tuple[Number, Number]:
    return of.low, of.high
