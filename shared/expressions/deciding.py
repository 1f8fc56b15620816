"""Conditions that are true or false whatever the values are, as far as ranges tell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from shared.expressions.terms import Compared, CompareOp, Constant, Joined, Term

FLIPPED: Final[Mapping[CompareOp, CompareOp]] = {
    "<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!=",
}  # fmt: skip
_WITH_ITSELF: Final = frozenset({"<=", ">=", "=="})


def decided(op: CompareOp, left: Term, right: Term) -> bool | None:
    """What a comparison of two values that are known is in any case; None if that depends on them."""
    if left == right:
        return op in _WITH_ITSELF
    if left.type not in ("int", "float"):
        constant = isinstance(left, Constant) and isinstance(right, Constant)
        return (op == "!=") if constant else None
    if op in (">", ">="):
        return decided(FLIPPED[op], right, left)
    low, high = left.range, right.range  # type: ignore[union-attr]
    below, above = low.high < high.low, low.low > high.high
    apart = below or above
    match op:
        case "<":
            return True if below else (False if low.low >= high.high else None)
        case "<=":
            return True if low.high <= high.low else (False if above else None)
        case _:
            alone = low.low == low.high == high.low == high.high
            known = False if apart else (True if alone else None)
            return known if op == "==" or known is None else not known


def contradicted(terms: Sequence[Term]) -> bool:
    """Whether conditions that are to hold together leave some value no place between its bounds."""
    lows: dict[Term, tuple[float, bool]] = {}
    highs: dict[Term, tuple[float, bool]] = {}
    for one in _comparisons(terms):
        if not isinstance(one.right, Constant) or not isinstance(one.right.value, int | float):
            continue
        bound, strict = one.right.value, one.op in ("<", ">")
        # The narrowest bound counts, and of equal ones the strict.
        if one.op in ("<", "<=", "=="):
            before = highs.get(one.left, (math.inf, False))
            highs[one.left] = min(before, (bound, strict), key=lambda at: (at[0], not at[1]))
        if one.op in (">", ">=", "=="):
            before = lows.get(one.left, (-math.inf, False))
            lows[one.left] = max(before, (bound, strict))
    return any(
        lows[term][0] > high or (lows[term][0] == high and (lows[term][1] or strict))
        for term, (high, strict) in highs.items()
        if term in lows
    )


def _comparisons(terms: Sequence[Term]) -> Iterator[Compared]:
    for term in terms:
        if isinstance(term, Compared):
            yield term
        elif isinstance(term, Joined) and term.every:
            yield from _comparisons(term.of)
