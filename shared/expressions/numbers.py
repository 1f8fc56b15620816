"""Typed terms of arithmetic and functions, with the range of their values.

Each raises ValueError(problem, hint) for what can only be null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from shared.expressions import ranges
from shared.expressions.limits import INT_HIGH
from shared.expressions.ranges import Range
from shared.expressions.terms import (
    Arithmetic,
    ArithmeticOp,
    AsFloat,
    Constant,
    Extreme,
    Magnitude,
    Number,
    Rounded,
    Whole,
)

_RANGES: Final[Mapping[ArithmeticOp, Callable[[Range, Range], Range]]] = {
    "+": ranges.sum_of,
    "-": ranges.difference,
    "*": ranges.times,
    "/": ranges.quotient,
    "//": ranges.floor_quotient,
    "%": lambda _, right: ranges.remainder(right),
}


def as_float(of: Number) -> Number:
    """The nearest double; of a constant at once."""
    if of.type == "float":
        return of
    if isinstance(of, Constant):
        return Constant(float(of.value), "float")
    return AsFloat(of)


def alike(numbers: Sequence[Number]) -> tuple[Number, ...]:
    """All of one type: where one is a float, all are."""
    if any(one.type == "float" for one in numbers):
        return tuple(as_float(one) for one in numbers)
    return tuple(numbers)


def arithmetic(op: ArithmeticOp, left: Number, right: Number) -> Number:
    if op in ("//", "%"):
        if "float" in (left.type, right.type):
            raise ValueError(f"{op} is for whole numbers", "make both whole by int(…) or round(…)")
    elif op == "/":
        left, right = as_float(left), as_float(right)
    else:
        left, right = alike((left, right))
    divides = op in ("/", "//", "%")
    if divides and right.range.reach == 0:
        raise ValueError("a division by zero is always null", "divide by something else")
    nullable = left.nullable or right.nullable or (divides and right.range.has_zero)
    whole = left.type == "int"
    found = _RANGES[op](left.range, right.range)
    within, guarded = _within(found, whole=whole)
    return Arithmetic(op, left, right, nullable or guarded, within, guarded)


def minus(of: Number) -> Number:
    """−x; of a constant at once."""
    if isinstance(of, Constant) and isinstance(of.value, int | float):
        return Constant(-of.value, of.type)
    return arithmetic("-", Constant(0, "int"), of)


def whole(of: Number, *, nearest: bool) -> Number:
    """`int(x)`, or `round(x)`."""
    if of.type == "int":
        return of
    cut: Callable[[float], int] = round if nearest else int
    within, guarded = _within(Range(cut(of.range.low), cut(of.range.high)), whole=True)
    return Whole(of, nearest, of.nullable or guarded, within, guarded)


def rounded(of: Number, digits: int) -> Number:
    if of.type == "int":
        return of
    scale = 10.0**digits
    low, high = (float(round(end * scale)) / scale for end in (of.range.low, of.range.high))
    within, guarded = _within(Range(low, high, 0.5 / scale), whole=False)
    return Rounded(of, scale, of.nullable or guarded, within, guarded)


def magnitude(of: Number) -> Number:
    within, guarded = _within(ranges.magnitude(of.range), whole=of.type == "int")
    return Magnitude(of, of.nullable or guarded, within, guarded)


def extreme(of: Sequence[Number], *, largest: bool) -> Number:
    of = alike(of)
    choose: Callable[..., int | float] = max if largest else min
    low = choose(one.range.low for one in of)
    high = choose(one.range.high for one in of)
    return Extreme(largest, tuple(of), Range(low, high, min(one.range.tiny for one in of)))


def _within(found: Range, *, whole: bool) -> tuple[Range, bool]:
    """The range of what isn't null, and whether anything else has to be looked for."""
    if ranges.fits(found, whole=whole):
        return found, False
    clamped = ranges.clamped(found, whole=whole)
    if clamped is None:
        limit = f"{INT_HIGH}" if whole else "1e100"
        raise ValueError(
            f"its result is always beyond {limit}, which is null", "use smaller numbers"
        )
    return clamped, True
