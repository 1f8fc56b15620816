"""The functions of the language, by name: what they take, and the term that a call is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from shared.expressions import numbers
from shared.expressions.limits import INT_HIGH, MAX_ARGUMENTS, MAX_DIGITS
from shared.expressions.ranges import Range
from shared.expressions.terms import Constant, FieldValue, Length, Number, Term

FUNCTIONS: Final = frozenset({"int", "float", "len", "max", "min", "abs", "round"})


def called(name: str, of: Sequence[Term]) -> Term:
    """`name(*of)`; ValueError(problem, hint) for arguments that it doesn't take."""
    return _CALLS[name](of)


def _one_number(name: str, of: Sequence[Term]) -> Number:
    if len(of) != 1 or of[0].type not in ("int", "float"):
        raise ValueError(f"{name} takes one number", f"write {name}(x)")
    return of[0]  # type: ignore[return-value]


def _round(of: Sequence[Term]) -> Term:
    if len(of) == 2:
        digits = of[1]
        if not isinstance(digits, Constant) or digits.type != "int":
            raise ValueError("how many decimals round keeps is a literal", "write e.g. round(x, 2)")
        if not 0 <= int(digits.value) <= MAX_DIGITS:
            raise ValueError(f"round keeps 0 to {MAX_DIGITS} decimals", "write e.g. round(x, 2)")
        return numbers.rounded(_one_number("round", of[:1]), int(digits.value))
    return numbers.whole(_one_number("round", of), nearest=True)


def _len(of: Sequence[Term]) -> Term:
    match of:
        case [Constant(value=str() as text)]:
            return Constant(len(text), "int")
        case [FieldValue(type="text" | "counts") as field]:
            return Length(field, Range(0, INT_HIGH))
    raise ValueError("len takes a text or a map of counts", "write e.g. len(name)")


def _extreme(name: str) -> Callable[[Sequence[Term]], Term]:
    def call(of: Sequence[Term]) -> Term:
        if not 2 <= len(of) <= MAX_ARGUMENTS:
            problem = f"{name} takes 2 to {MAX_ARGUMENTS} numbers"
            raise ValueError(problem, f"write {name}(x, y)")
        return numbers.extreme([_one_number(name, (one,)) for one in of], largest=name == "max")

    return call


_CALLS: Final[Mapping[str, Callable[[Sequence[Term]], Term]]] = {
    "int": lambda of: numbers.whole(_one_number("int", of), nearest=False),
    "float": lambda of: numbers.as_float(_one_number("float", of)),
    "abs": lambda of: numbers.magnitude(_one_number("abs", of)),
    "round": _round,
    "len": _len,
    "max": _extreme("max"),
    "min": _extreme("min"),
}
