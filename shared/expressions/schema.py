"""What expressions may name: fields, each with its type and what is known of its values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final, Literal

from shared.expressions.limits import FLOAT_HIGH, FLOAT_TINY, INT_HIGH, INT_LOW
from shared.expressions.ranges import FLOAT, INT, Range

Type = Literal["int", "float", "text", "bool", "counts"]
Value = int | float | str | bool | Mapping[str, int] | None
Row = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Field:
    """`name` may be dotted. `range` is a promise of whoever fills it; of counts, about each of them."""

    name: str
    type: Type
    nullable: bool = True
    range: Range | None = None

    @property
    def numbers(self) -> Range:
        return self.range or (FLOAT if self.type == "float" else INT)


@dataclass(frozen=True)
class Schema:
    fields: Sequence[Field]
    named: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "named", {one.name: one for one in self.fields})

    def nearest(self, name: str) -> str | None:
        """The field whose name is most like this one, if any is."""
        found = get_close_matches(name, self.named, n=1, cutoff=0.6)
        return found[0] if found else None

    def row(self, values: Mapping[str, Any]) -> Row:
        """What closures read: every field, as a value of its type or None."""
        return {one.name: _READ[one.type](values.get(one.name)) for one in self.fields}


def _int(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if INT_LOW <= value <= INT_HIGH else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if math.isnan(number) or abs(number) > FLOAT_HIGH:
        return None
    return number if abs(number) >= FLOAT_TINY else 0.0


def _counts(value: Any) -> Mapping[str, int] | None:
    if not isinstance(value, Mapping):
        return None
    return {key: count for key, given in value.items() if (count := _int(given)) is not None}


_READ: Final[Mapping[Type, Any]] = {
    "int": _int,
    "float": _float,
    "text": lambda value: value if isinstance(value, str) else None,
    "bool": lambda value: value if isinstance(value, bool) else None,
    "counts": _counts,
}
