"""The typed form of an expression: a tree of values, equal where their meaning is.

Every term tells its `type`, and whether it may be null (`nullable`); numbers tell their `range`, too.
`guarded`: what the operation gives may be no value of its type, and has to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from shared.expressions.ranges import Range, point
from shared.expressions.schema import Type

ArithmeticOp = Literal["+", "-", "*", "/", "//", "%"]
CompareOp = Literal["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True, slots=True)
class FieldValue:
    name: str
    type: Type
    nullable: bool
    range: Range


@dataclass(frozen=True, slots=True)
class Constant:
    value: int | float | str | bool
    type: Type
    nullable: ClassVar[bool] = False

    @property
    def range(self) -> Range:
        return point(self.value) if isinstance(self.value, int | float) else point(0)


@dataclass(frozen=True, slots=True)
class Count:
    """`counts.get(key, default)`."""

    counts: FieldValue
    key: str
    default: int | None
    nullable: bool
    range: Range
    type: ClassVar[Type] = "int"


@dataclass(frozen=True, slots=True)
class Length:
    """Characters of a text, or keys of a map."""

    of: FieldValue
    range: Range
    type: ClassVar[Type] = "int"

    @property
    def nullable(self) -> bool:
        return self.of.nullable


@dataclass(frozen=True, slots=True)
class AsFloat:
    of: Number
    type: ClassVar[Type] = "float"

    @property
    def nullable(self) -> bool:
        return self.of.nullable

    @property
    def range(self) -> Range:
        return self.of.range.as_float()


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Both sides are of one type; `/` has floats, `//` and `%` have ints."""

    op: ArithmeticOp
    left: Number
    right: Number
    nullable: bool
    range: Range
    guarded: bool

    @property
    def type(self) -> Type:
        return self.left.type


@dataclass(frozen=True, slots=True)
class Whole:
    """The int that a float is cut off to, or the nearest one."""

    of: Number
    nearest: bool
    nullable: bool
    range: Range
    guarded: bool
    type: ClassVar[Type] = "int"


@dataclass(frozen=True, slots=True)
class Rounded:
    """A float with so many decimals: nearest int of `of · scale`, divided by `scale`."""

    of: Number
    scale: float
    nullable: bool
    range: Range
    guarded: bool
    type: ClassVar[Type] = "float"


@dataclass(frozen=True, slots=True)
class Magnitude:
    of: Number
    nullable: bool
    range: Range
    guarded: bool

    @property
    def type(self) -> Type:
        return self.of.type


@dataclass(frozen=True, slots=True)
class Extreme:
    """The least or the largest of several, of one type; null where one of them is."""

    largest: bool
    of: tuple[Number, ...]
    range: Range

    @property
    def nullable(self) -> bool:
        return any(one.nullable for one in self.of)

    @property
    def type(self) -> Type:
        return self.of[0].type


@dataclass(frozen=True, slots=True)
class Compared:
    """Two values of one type; texts and bools by == and != only."""

    op: CompareOp
    left: Term
    right: Term
    type: ClassVar[Type] = "bool"

    @property
    def nullable(self) -> bool:
        return self.left.nullable or self.right.nullable


@dataclass(frozen=True, slots=True)
class Among:
    """Whether a value is one of `values`, all of its type; or none of them."""

    of: Term
    values: tuple[int | float | str, ...]
    negated: bool
    type: ClassVar[Type] = "bool"

    @property
    def nullable(self) -> bool:
        return self.of.nullable


@dataclass(frozen=True, slots=True)
class Joined:
    """Conditions of which all hold, or any does."""

    every: bool
    of: tuple[Term, ...]
    type: ClassVar[Type] = "bool"

    @property
    def nullable(self) -> bool:
        return any(one.nullable for one in self.of)


@dataclass(frozen=True, slots=True)
class Negated:
    of: Term
    type: ClassVar[Type] = "bool"

    @property
    def nullable(self) -> bool:
        return self.of.nullable


Number = (
    FieldValue
    | Constant
    | Count
    | Length
    | AsFloat
    | Arithmetic
    | Whole
    | Rounded
    | Magnitude
    | Extreme
)
Condition = Compared | Among | Joined | Negated
Term = Number | Condition


def parts(term: Term) -> tuple[Term, ...]:
    """The terms that one is made of."""
    match term:
        case Arithmetic() | Compared():
            return term.left, term.right
        case Extreme() | Joined():
            return term.of
        case Count():
            return (term.counts,)
        case FieldValue() | Constant():
            return ()
        case _:
            return (term.of,)


def fields_of(term: Term) -> Iterator[str]:
    """The names of the fields that a term reads, again where it reads one again."""
    if isinstance(term, FieldValue):
        yield term.name
    for part in parts(term):
        yield from fields_of(part)
