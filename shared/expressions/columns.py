"""Lowered to numpy: many conditions over many rows, a block of rows at a time.

Terms that conditions share are computed once for each block. Blocks are small enough to stay in a core's
cache from one operation to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from shared.expressions.blocks import TYPES, Array, Column, Columns, Counts
from shared.expressions.limits import FLOAT_HIGH, FLOAT_TINY, INT_HIGH, INT_LOW
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
    parts,
)

_BLOCK: Final = 16_384  # rows
_COMPARE: Final[Mapping[str, Callable[[Any, Any], Array]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_EXACT: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
}


class Program:
    """Conditions over one schema, ready to be run over any number of rows."""

    def __init__(self, conditions: Sequence[Term]) -> None:
        self._steps: list[tuple[Callable[..., Column], tuple[int, ...]]] = []
        self._places: dict[Term, int] = {}
        self._results = [self._place(one) for one in conditions]

    def run(self, over: Columns, rows: int) -> Iterator[tuple[int, list[Column]]]:
        """(first row, one column of bools per condition) of one block after the other."""
        for start in range(0, rows, _BLOCK):
            end = min(start + _BLOCK, rows)
            block = _Block({name: one.part(start, end) for name, one in over.items()}, end - start)
            with np.errstate(all="ignore"):
                yield start, self._of_block(block)

    def _of_block(self, block: _Block) -> list[Column]:
        found: list[Column] = []
        for step, of in self._steps:
            found.append(step(block, *[found[place] for place in of]))
        return [found[place] for place in self._results]

    def _place(self, term: Term) -> int:
        place = self._places.get(term)
        if place is None:
            of = tuple(self._place(one) for one in _operands(term))
            place = self._places[term] = len(self._steps)
            self._steps.append((_step(term), of))
        return place


@dataclass(frozen=True, slots=True)
class _Block:
    fields: Columns
    rows: int


def _operands(term: Term) -> tuple[Term, ...]:
    """The terms whose columns a step is given: fields of a block it reads itself."""
    match term:
        case Arithmetic() | Compared():
            sides = zip((term.left, term.right), _fixed(term), strict=True)
            return tuple(one for one, fixed in sides if fixed is None)
        case Count() | Length():
            return ()
    return parts(term)


def _step(term: Term) -> Callable[..., Column]:
    match term:
        case FieldValue(name=name):
            return lambda block: block.fields[name]
        case Constant(value=value, type=of_type):
            return lambda block: Column(np.full(block.rows, value, TYPES[of_type]))
        case Count():
            return _count(term)
        case Length(of=of):
            return _length(of.name, of.type)
        case AsFloat():
            return lambda _, of: Column(of.values.astype(np.float64), of.null)
        case Arithmetic():
            return _arithmetic(term)
        case Whole():
            return _whole(term)
        case Rounded(scale=scale):
            return lambda _, of: _float(np.rint(of.values * scale) / scale, of.null, term.guarded)
        case Magnitude():
            return _magnitude(term)
        case Extreme():
            return _extreme(term)
        case Compared():
            return _compared(term)
        case Among():
            return _among(term)
        case Negated():
            return lambda _, of: Column(
                ~of.values if of.null is None else ~(of.values | of.null), of.null
            )
        case Joined():
            return _every if term.every else _any


def _count(term: Count) -> Callable[..., Column]:
    name, key, default = term.counts.name, term.key, term.default

    def step(block: _Block) -> Column:
        counts = block.fields[name]
        assert isinstance(counts, Counts)
        found = counts.keys.get(key)
        if found is None:
            values = np.full(block.rows, default or 0, np.int64)
            lacking = np.ones(block.rows, bool)
        else:
            values = found.values
            lacking = np.zeros(block.rows, bool) if found.null is None else found.null
        if default is None:
            return Column(values, _either(lacking, counts.null))
        return Column(np.where(lacking, default, values), counts.null)

    return step


def _length(name: str, of_type: str) -> Callable[..., Column]:
    def of_text(block: _Block) -> Column:
        texts = block.fields[name]
        assert isinstance(texts, Column)
        return Column(np.fromiter(map(len, texts.values), np.int64, block.rows), texts.null)

    def of_counts(block: _Block) -> Column:
        counts = block.fields[name]
        assert isinstance(counts, Counts)
        found = np.zeros(block.rows, np.int64)
        for one in counts.keys.values():
            found += 1 if one.null is None else ~one.null
        return Column(found, counts.null)

    return of_counts if of_type == "counts" else of_text


def _arithmetic(term: Arithmetic) -> Callable[..., Column]:
    fixed = _fixed(term)
    divides = term.op in ("/", "//", "%")

    def step(block: _Block, *of: Column) -> Column:
        left, right, null = _sides(fixed, of)
        if divides:
            null = _either(null, _true(np.broadcast_to(np.equal(right, 0), block.rows)))
        match term.op:
            case "/":
                return _float(np.true_divide(left, right), null, term.guarded)
            case "//" | "%":
                return _floored(term, left, right, null)
        if term.type == "int":
            return _whole_exact(term, left, right, null)
        return _float(_EXACT[term.op](left, right), null, term.guarded)

    return step


def _fixed(term: Arithmetic | Compared) -> tuple[Any, Any]:
    """The constant among two sides, which numpy broadcasts; None for a side that is a column."""
    match term.left, term.right:
        case Constant(), Constant():
            return None, None
        case Constant(value=value), _:
            return value, None
        case _, Constant(value=value):
            return None, value
    return None, None


def _sides(fixed: tuple[Any, Any], of: tuple[Column, ...]) -> tuple[Any, Any, Array | None]:
    """Both sides, and where one of them is null."""
    left_fixed, right_fixed = fixed
    if left_fixed is not None:
        return left_fixed, of[0].values, of[0].null
    if right_fixed is not None:
        return of[0].values, right_fixed, of[0].null
    return of[0].values, of[1].values, _either(of[0].null, of[1].null)


def _floored(term: Arithmetic, left: Any, right: Any, null: Array | None) -> Column:
    """Numpy rounds down as Python does; −2⁶³ by −1 is the one quotient that has no place."""
    divisor = np.where(np.equal(right, 0), 1, right)
    values = (np.floor_divide if term.op == "//" else np.remainder)(left, divisor)
    if term.guarded:
        null = _either(null, _true(np.equal(left, INT_LOW) & np.equal(right, -1)))
    return Column(values, null)


def _whole_exact(term: Arithmetic, left: Any, right: Any, null: Array | None) -> Column:
    """int64, and null beyond; where doubles say that it may be beyond, by Python's integers."""
    compute = _EXACT[term.op]
    values = compute(left, right)
    if not term.guarded:
        return Column(values, null)
    near = np.abs(compute(np.asarray(left, np.float64), np.asarray(right, np.float64))) >= 2.0**62
    near = np.broadcast_to(near, values.shape)
    beyond = np.zeros(values.shape, bool)
    places = np.flatnonzero(near)
    if len(places):
        one = np.broadcast_to(left, values.shape)[places].astype(object)
        other = np.broadcast_to(right, values.shape)[places].astype(object)
        exact = compute(one, other)
        beyond[places] = [not INT_LOW <= value <= INT_HIGH for value in exact]
    return Column(values, _either(null, _true(beyond)))


def _whole(term: Whole) -> Callable[..., Column]:
    cut = np.rint if term.nearest else np.trunc

    def step(_: _Block, of: Column) -> Column:
        made, null = cut(of.values), of.null
        if term.guarded:
            beyond = (made < float(INT_LOW)) | (made >= -float(INT_LOW))
            made, null = np.where(beyond, 0.0, made), _either(null, _true(beyond))
        return Column(made.astype(np.int64), null)

    return step


def _magnitude(term: Magnitude) -> Callable[..., Column]:
    def step(_: _Block, of: Column) -> Column:
        made, null = np.abs(of.values), of.null
        if term.type == "float":
            return _float(made, null, term.guarded)
        return Column(made, _either(null, _true(made < 0)) if term.guarded else null)

    return step


def _float(values: Any, null: Array | None, guarded: bool) -> Column:
    if not guarded:
        return Column(values, null)
    distance = np.abs(values)
    values = np.where(distance < FLOAT_TINY, 0.0, values)
    return Column(values, _either(null, _true(~(distance <= FLOAT_HIGH))))


def _extreme(term: Extreme) -> Callable[..., Column]:
    choose = np.maximum if term.largest else np.minimum

    def step(_: _Block, first: Column, *others: Column) -> Column:
        values, null = first.values, first.null
        for one in others:
            values, null = choose(values, one.values), _either(null, one.null)
        return Column(values, null)

    return step


def _compared(term: Compared) -> Callable[..., Column]:
    compare = _COMPARE[term.op]
    fixed = _fixed(term)

    def step(block: _Block, *of: Column) -> Column:
        left, right, null = _sides(fixed, of)
        holds = np.broadcast_to(np.asarray(compare(left, right), bool), block.rows)
        return Column(holds if null is None else holds & ~null, null)

    return step


def _among(term: Among) -> Callable[..., Column]:
    listed = np.array(term.values, TYPES[term.of.type])
    known = frozenset(term.values)

    def step(block: _Block, of: Column) -> Column:
        if term.of.type == "text":
            found = np.fromiter((value in known for value in of.values), bool, block.rows)
        else:
            found = np.isin(of.values, listed)
        holds = ~found if term.negated else found
        return Column(holds if of.null is None else holds & ~of.null, of.null)

    return step


def _every(_: _Block, first: Column, *others: Column) -> Column:
    """Kleene's and: what is false in one is false."""
    holds, null = first.values, first.null
    for one in others:
        open_left = holds if null is None else holds | null
        open_right = one.values if one.null is None else one.values | one.null
        unknown = _either(null, one.null)
        holds = holds & one.values
        null = None if unknown is None else open_left & open_right & ~holds
    return Column(holds, null)


def _any(_: _Block, first: Column, *others: Column) -> Column:
    """Kleene's or: what is true in one is true."""
    holds, null = first.values, first.null
    for one in others:
        holds = holds | one.values
        unknown = _either(null, one.null)
        null = None if unknown is None else unknown & ~holds
    return Column(holds, null)


def _either(one: Array | None, other: Array | None) -> Array | None:
    if one is None or other is None:
        return other if one is None else one
    return one | other


def _true(where: Array) -> Array | None:
    return where if where.any() else None
