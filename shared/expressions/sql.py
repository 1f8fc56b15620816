"""Lowered to SQL of PostgreSQL: a boolean expression, and the values of its parameters.

What a user wrote is in the parameters only; the text is made of the operators below and of what the
caller says its fields are. It never raises where a value is within its field's range: what may leave its
type is computed in a wider one, and looked at there. A value that is needed twice is made once, in a
sub-select that the planner can't dissolve (OFFSET 0), so that the text grows as the expression does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.expressions.limits import FLOAT_HIGH, FLOAT_TINY, INT_HIGH, INT_LOW
from shared.expressions.ranges import FLOAT
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

_TYPES: Final[Mapping[str, str]] = {
    "int": "bigint",
    "float": "float8",
    "text": "text",
    "bool": "boolean",
    "counts": "jsonb",
}
_COMPARE: Final = {"==": "=", "!=": "<>"}
_BEYOND: Final = -INT_LOW  # as a double, which the highest int is not
_HIGH: Final = f"'{FLOAT_HIGH}'::float8"
_TINY: Final = f"'{FLOAT_TINY}'::float8"

# `made` is computed in a wider type, and null where it doesn't fit its own.
_WHOLE_WITHIN: Final = (
    "(SELECT v::bigint FROM (SELECT {made} AS v OFFSET 0) AS made"  # noqa: S608 - constants only
    f" WHERE v BETWEEN {INT_LOW} AND {INT_HIGH})"
)
# Compared as doubles: a numeric would hold fifteen digits of one.
_CUT_WITHIN: Final = (
    "(SELECT v::bigint FROM (SELECT {made} AS v OFFSET 0) AS made"  # noqa: S608 - constants only
    f" WHERE v >= '{INT_LOW}'::float8 AND v < '{_BEYOND}'::float8)"
)
_FLOAT_WITHIN: Final = (
    f"(SELECT CASE WHEN abs(v) >= {_TINY} THEN v ELSE 0 END"  # noqa: S608 - constants only
    f" FROM (SELECT {{made}} AS v OFFSET 0) AS made WHERE abs(v) <= {_HIGH})"
)
_SIDES: Final = (
    "(SELECT {made} FROM (SELECT ({left})::numeric AS a, nullif({right}, 0)::numeric AS b OFFSET 0)"
    " AS sides)"
)
_KNOWN: Final = "(SELECT {choose}({names}) FROM (SELECT {made} OFFSET 0) AS made WHERE {known})"
_KEYS: Final = (
    "(CASE WHEN {counts} IS NOT NULL THEN"
    " (SELECT count(*) FROM jsonb_each({counts}) AS one WHERE one.value <> 'null'::jsonb) END)"
)


@dataclass(frozen=True, slots=True)
class Sql:
    text: str
    parameters: Sequence[Any]


def sql(condition: Term, fields: Mapping[str, str], *, first: int = 1) -> Sql:
    """`fields` says what each field is in SQL; parameters are numbered from `first`."""
    lowering = _Lowering(fields, first)
    return Sql(lowering.text(condition), lowering.parameters)


class _Lowering:
    def __init__(self, fields: Mapping[str, str], first: int) -> None:
        self._fields = fields
        self._first = first
        self.parameters: list[Any] = []

    def text(self, term: Term) -> str:
        match term:
            case FieldValue():
                return self._field(term)
            case Constant():
                return self._parameter(term.value, _TYPES[term.type])
            case Count():
                return self._count(term)
            case Length(of=of) if of.type == "counts":
                counts = self.text(of)
                return _KEYS.format(counts=counts)
            case Length():
                return f"char_length({self.text(term.of)})::bigint"
            case AsFloat():
                return f"({self.text(term.of)})::float8"
            case Arithmetic():
                return self._arithmetic(term)
            case Whole():
                cut = "round" if term.nearest else "trunc"
                made = f"{cut}({self.text(term.of)})"
                return _CUT_WITHIN.format(made=made) if term.guarded else f"({made})::bigint"
            case Rounded():
                scale = f"'{term.scale}'::float8"
                made = f"(round({self.text(term.of)} * {scale}) / {scale})"
                return _FLOAT_WITHIN.format(made=made) if term.guarded else made
            case Magnitude():
                if term.guarded and term.type == "int":
                    return _WHOLE_WITHIN.format(made=f"abs(({self.text(term.of)})::numeric)")
                made = f"abs({self.text(term.of)})"
                return _FLOAT_WITHIN.format(made=made) if term.guarded else made
            case Extreme():
                return self._extreme(term)
            case Compared(op=op):
                return f"({self.text(term.left)} {_COMPARE.get(op, op)} {self.text(term.right)})"
            case Among():
                listed = self._parameter(list(term.values), f"{_TYPES[term.of.type]}[]")
                test = "<> ALL" if term.negated else "= ANY"
                return f"({self.text(term.of)} {test}({listed}))"
            case Negated():
                return f"(NOT {self.text(term.of)})"
            case Joined():
                word = " AND " if term.every else " OR "
                return f"({word.join(self.text(one) for one in term.of)})"

    def _parameter(self, value: Any, of_type: str) -> str:
        self.parameters.append(value)
        return f"${self._first + len(self.parameters) - 1}::{of_type}"

    def _field(self, term: FieldValue) -> str:
        made = f"({self._fields[term.name]})::{_TYPES[term.type]}"
        if term.type == "float" and term.range == FLOAT:  # nothing is promised of it
            return (
                f"(CASE WHEN abs({made}) <= {_HIGH} THEN"
                f" CASE WHEN abs({made}) >= {_TINY} THEN {made} ELSE 0 END END)"
            )
        return made

    def _count(self, term: Count) -> str:
        counts, key = self.text(term.counts), self._parameter(term.key, "text")
        found = f"({counts} ->> {key})::bigint"
        if term.default is None:
            return f"({found})"
        default = self._parameter(term.default, "bigint")
        return f"(CASE WHEN {counts} IS NOT NULL THEN coalesce({found}, {default}) END)"

    def _arithmetic(self, term: Arithmetic) -> str:
        left, right, op = self.text(term.left), self.text(term.right), term.op
        if op in ("//", "%") and (
            term.guarded or min(term.left.range.low, term.right.range.low) < 0
        ):
            return self._floored(left, right, quotient=op == "//")
        if op in ("/", "//", "%"):
            right = f"nullif({right}, 0)"
        if term.guarded and term.type == "int":
            return _WHOLE_WITHIN.format(made=f"({left})::numeric {op} ({right})::numeric")
        made = f"({left} {op.replace('//', '/')} {right})"
        return _FLOAT_WITHIN.format(made=made) if term.guarded else made

    def _floored(self, left: str, right: str, *, quotient: bool) -> str:
        """PostgreSQL cuts off towards zero: one less where the signs differ and something is left."""
        borders = "mod(a, b) <> 0 AND (a < 0) <> (b < 0)"
        made = (
            f"div(a, b) - CASE WHEN {borders} THEN 1 ELSE 0 END"
            if quotient
            else f"mod(a, b) + CASE WHEN {borders} THEN b ELSE 0 END"
        )
        both = _SIDES.format(made=made, left=left, right=right)
        return _WHOLE_WITHIN.format(made=both)

    def _extreme(self, term: Extreme) -> str:
        choose = "greatest" if term.largest else "least"  # they leave nulls out
        texts = [self.text(one) for one in term.of]
        if not term.nullable:
            return f"{choose}({', '.join(texts)})"
        names = [f"v{place}" for place in range(len(texts))]
        made = ", ".join(f"{text} AS {name}" for text, name in zip(texts, names, strict=True))
        known = " AND ".join(f"{name} IS NOT NULL" for name in names)
        return _KNOWN.format(choose=choose, names=", ".join(names), made=made, known=known)
