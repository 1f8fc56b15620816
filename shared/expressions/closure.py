"""Lowered to a closure: one row, as `Schema.row` gives it, to True, False or None (unknown)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from shared.expressions.limits import FLOAT_HIGH, FLOAT_TINY, INT_HIGH, INT_LOW
from shared.expressions.schema import Row
from shared.expressions.terms import (
    Among,
    Arithmetic,
    AsFloat,
    Compared,
    Constant,
    Count,
    Extreme,
    FieldValue,
    Joined,
    Length,
    Magnitude,
    Negated,
    Rounded,
    Term,
    Whole,
)

Test = Callable[[Row], bool | None]
_Value = Callable[[Row], Any]

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPUTE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def closure(condition: Term) -> Test:
    """What tells of a row whether a condition holds."""
    return cast("Test", _lowered(condition))


def _lowered(term: Term) -> _Value:
    match term:
        case FieldValue(name=name):
            return operator.itemgetter(name)
        case Constant(value=value):
            return lambda _: value
        case Count():
            return _count(term)
        case Length():
            return _of_known(_lowered(term.of), len)
        case AsFloat():
            return _of_known(_lowered(term.of), float)
        case Arithmetic():
            return _arithmetic(term)
        case Whole():
            cut: Callable[[Any], Any] = round if term.nearest else int
            return _of_known(_lowered(term.of), _guard(cut, term))
        case Rounded(scale=scale):
            return _of_known(
                _lowered(term.of), _guard(lambda value: float(round(value * scale)) / scale, term)
            )
        case Magnitude():
            return _of_known(_lowered(term.of), _guard(abs, term))
        case Extreme():
            return _extreme(term)
        case Compared():
            return _compared(term)
        case Among():
            values = frozenset(term.values)
            if term.negated:
                return _of_known(_lowered(term.of), lambda value: value not in values)
            return _of_known(_lowered(term.of), values.__contains__)
        case Negated():
            return _of_known(_lowered(term.of), operator.not_)
        case Joined():
            return _joined(tuple(_lowered(one) for one in term.of), every=term.every)


def _of_known(of: _Value, function: Callable[[Any], Any]) -> _Value:
    def value(row: Row) -> Any:
        known = of(row)
        return None if known is None else function(known)

    return value


def _count(term: Count) -> _Value:
    name, key, default = term.counts.name, term.key, term.default

    def value(row: Row) -> Any:
        counts = cast("Mapping[str, int] | None", row[name])
        return None if counts is None else counts.get(key, default)

    return value


def _arithmetic(term: Arithmetic) -> _Value:
    left, right, compute = _lowered(term.left), _lowered(term.right), _COMPUTE[term.op]
    divides = term.op in ("/", "//", "%")
    bounded = _bounded(term) if term.guarded else None

    def value(row: Row) -> Any:
        one, other = left(row), right(row)
        if one is None or other is None or (divides and other == 0):
            return None
        result = compute(one, other)
        return result if bounded is None else bounded(result)

    return value


def _guard(
    function: Callable[[Any], Any], term: Whole | Rounded | Magnitude
) -> Callable[[Any], Any]:
    if not term.guarded:
        return function
    bounded = _bounded(term)
    return lambda value: bounded(function(value))


def _bounded(term: Term) -> Callable[[Any], Any]:
    if term.type == "int":
        return lambda value: value if INT_LOW <= value <= INT_HIGH else None

    def bounded(value: float) -> float | None:
        distance = abs(value)
        if distance > FLOAT_HIGH:
            return None
        return value if distance >= FLOAT_TINY else 0.0

    return bounded


def _extreme(term: Extreme) -> _Value:
    of, choose = tuple(_lowered(one) for one in term.of), max if term.largest else min

    def value(row: Row) -> Any:
        values = [one(row) for one in of]
        return None if None in values else choose(values)

    return value


def _compared(term: Compared) -> _Value:
    left, right, compare = _lowered(term.left), _lowered(term.right), _COMPARE[term.op]
    if isinstance(term.right, Constant):
        bound = term.right.value
        if isinstance(term.left, FieldValue):
            name = term.left.name

            def of_field(row: Row) -> bool | None:
                value = row[name]
                return None if value is None else compare(value, bound)

            return of_field
        return _of_known(left, lambda value: compare(value, bound))

    def of_both(row: Row) -> bool | None:
        one, other = left(row), right(row)
        return None if one is None or other is None else compare(one, other)

    return of_both


def _joined(of: tuple[_Value, ...], *, every: bool) -> _Value:
    """Kleene's logic: one that settles it does so whatever is unknown."""
    settles = not every

    def value(row: Row) -> Any:
        answer: bool | None = every
        for one in of:
            found = one(row)
            if found is settles:
                return settles
            if found is None:
                answer = None
        return answer

    return value
