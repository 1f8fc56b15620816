"""From a text to the typed form of a condition: what it names is there, its types fit, and it can be
true as well as not. What isn't whitelisted here is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeGuard, TypeVar

from shared.expressions import numbers
from shared.expressions.deciding import FLIPPED, contradicted, decided
from shared.expressions.errors import ExpressionInvalid, Finding
from shared.expressions.functions import FUNCTIONS, called
from shared.expressions.limits import FLOAT_HIGH, FLOAT_TINY, INT_HIGH, MAX_FINDINGS, MAX_LISTED
from shared.expressions.parse import Parsed, parse
from shared.expressions.ranges import Range
from shared.expressions.schema import Schema, Type
from shared.expressions.terms import (
    Among,
    ArithmeticOp,
    Compared,
    CompareOp,
    Constant,
    Count,
    FieldValue,
    Joined,
    Negated,
    Number,
    Term,
)

T = TypeVar("T")
_ARITHMETIC: Final[Mapping[type[ast.operator], ArithmeticOp]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
_COMPARISONS: Final[Mapping[type[ast.cmpop], CompareOp]] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_ARTICLE: Final[Mapping[Type, str]] = {
    "int": "a number",
    "float": "a number",
    "text": "a text",
    "bool": "a condition",
    "counts": "a map of counts",
}


def check(text: str, schema: Schema) -> Term:
    """The typed form of a condition over the fields of `schema`; ExpressionInvalid."""
    parsed = parse(text)
    return _Checker(parsed, schema).condition(parsed.tree)


class _Checker:
    def __init__(self, parsed: Parsed, schema: Schema) -> None:
        self._parsed = parsed
        self._schema = schema

    # Conditions.

    def condition(self, node: ast.expr) -> Term:
        term = self._term(node)
        if term.type != "bool":
            problem = f"this is {_ARTICLE[term.type]}, and no condition"
            raise self._refused(node, problem, "compare it with something, e.g. … > 0")
        if isinstance(term, Constant):
            problem = f"this is always {str(term.value).lower()}"
            raise self._refused(node, problem, "write a condition over fields")
        return term

    def _joined(self, node: ast.BoolOp) -> Term:
        every = isinstance(node.op, ast.And)
        terms = self._each(node.values, self.condition)
        if every and contradicted(terms):
            problem = "these conditions can't hold together"
            raise self._refused(node, problem, "correct one of them, or join them by or")
        return Joined(every, terms)

    def _compared(self, node: ast.Compare) -> Term:
        sides = [node.left, *node.comparators]
        pairs = list(zip(sides, node.ops, sides[1:], strict=False))
        terms = [self._pair(node, *pair, chained=len(pairs) > 1) for pair in pairs]
        if len(terms) == 1:
            return terms[0]
        if contradicted(terms):
            raise self._refused(node, "these can't hold together", "correct the bounds")
        return Joined(every=True, of=tuple(terms))

    def _pair(
        self, node: ast.expr, left: ast.expr, op: ast.cmpop, right: ast.expr, *, chained: bool
    ) -> Term:
        if isinstance(op, ast.In | ast.NotIn):
            return self._among(left, right, negated=isinstance(op, ast.NotIn))
        compare = _COMPARISONS.get(type(op))
        if compare is None:
            raise self._refused(node, "this is no comparison", "write one of < <= > >= == !=")
        one, other = self._each((left, right), self._term)
        if isinstance(one, Constant) and not isinstance(other, Constant):
            one, other, compare = other, one, FLIPPED[compare]
        if one.type == "bool" and chained:
            problem = "a condition is compared within a chain"
            raise self._refused(node, problem, "put brackets around each comparison")
        one, other = self._comparable(node, compare, one, other)
        answer = decided(compare, one, other)
        if answer is False:
            problem = "this never holds"
            raise self._refused(node, problem, "look at what its values can be")
        if answer is True and not (one.nullable or other.nullable):
            raise self._refused(node, "this always holds", "leave it out, or correct it")
        return Compared(compare, one, other)

    def _comparable(
        self, node: ast.expr, op: CompareOp, left: Term, right: Term
    ) -> tuple[Term, Term]:
        if _is_number(left) and _is_number(right):
            one, other = numbers.alike((left, right))
            return one, other
        if left.type != right.type or left.type == "counts":
            problem = f"{_ARTICLE[left.type]} is compared with {_ARTICLE[right.type]}"
            hint = 'a number has no quotes, a text has: "1"; of a map of counts use .get("key", 0)'
            raise self._refused(node, problem, hint)
        if op not in ("==", "!="):
            problem = f"{_ARTICLE[left.type]} is neither smaller nor larger than another"
            raise self._refused(node, problem, "use ==, != or in")
        return left, right

    def _among(self, left: ast.expr, right: ast.expr, *, negated: bool) -> Term:
        of = self._term(left)
        if not isinstance(right, ast.List | ast.Tuple) or not right.elts:
            raise self._refused(right, "in asks a list of literals", 'write e.g. in ["A", "B"]')
        if len(right.elts) > MAX_LISTED:
            raise self._refused(right, f"a list has more than {MAX_LISTED} values", "shorten it")
        listed = [self._listed(one) for one in right.elts]
        if of.type in ("bool", "counts") or isinstance(of, Constant):
            problem = f"in asks where a field or number stands, and this is {_ARTICLE[of.type]}"
            raise self._refused(left, problem, "name a field")
        values = tuple(one.value for one in listed if not isinstance(one.value, bool))
        if _is_number(of) and all(_is_number(one) for one in listed):
            if "float" in (of.type, *(one.type for one in listed)):
                of, values = numbers.as_float(of), tuple(map(float, values))
        elif any(one.type != of.type for one in listed):
            problem = f"{_ARTICLE[of.type]} is looked for in a list of others"
            raise self._refused(right, problem, "a number has no quotes, a text has")
        return Among(of, tuple(dict.fromkeys(values)), negated)

    def _listed(self, node: ast.expr) -> Constant:
        term = self._term(node)
        if not isinstance(term, Constant) or term.type == "bool":
            raise self._refused(node, "a list holds numbers and texts only", "write them down")
        return term

    # Values.

    def _term(self, node: ast.expr) -> Term:
        match node:
            case ast.BoolOp():
                return self._joined(node)
            case ast.UnaryOp(op=ast.Not()):
                return Negated(self.condition(node.operand))
            case ast.Compare():
                return self._compared(node)
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute():
                return self._field(node)
            case ast.UnaryOp(op=ast.USub()):
                return self._built(node, lambda: numbers.minus(self._number(node.operand)))
            case ast.UnaryOp(op=ast.UAdd()):
                return self._number(node.operand)
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                op = _ARITHMETIC[type(node.op)]
                return self._arithmetic(node, op)
            case ast.Call(func=ast.Attribute(attr="get")):
                return self._count(node)
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                return self._called(name, node)
            case ast.Call():
                hint = f"there are {', '.join(sorted(FUNCTIONS))}, and .get of a map of counts"
                raise self._refused(node, "there is no such function", hint)
            case ast.Subscript():
                hint = 'of a map of counts use .get("key", 0)'
                raise self._refused(node, "nothing is taken out by brackets", hint)
            case _:
                raise self._refused(node, "this is no part of the language", "see docs/portrait.md")

    def _arithmetic(self, node: ast.BinOp, op: ArithmeticOp) -> Term:
        left, right = self._each((node.left, node.right), self._number)
        return self._built(node, lambda: numbers.arithmetic(op, left, right))

    def _number(self, node: ast.expr) -> Number:
        term = self._term(node)
        if not _is_number(term):
            problem = f"a number is needed, and this is {_ARTICLE[term.type]}"
            raise self._refused(node, problem, "name a field that is a number")
        return term

    def _constant(self, node: ast.Constant) -> Constant:
        match node.value:
            case bool():
                return Constant(node.value, "bool")
            case int() if node.value <= INT_HIGH:
                return Constant(node.value, "int")
            case float() if node.value == 0 or FLOAT_TINY <= node.value <= FLOAT_HIGH:
                return Constant(node.value, "float")
            case int() | float():
                hint = f"a whole number is at most {INT_HIGH}, another within 1e-100 and 1e100"
                raise self._refused(node, "this number is too large, or too near to zero", hint)
            case str():
                return Constant(node.value, "text")
            case _:
                raise self._refused(node, "this is no value", "write a number or a text")

    def _field(self, node: ast.expr) -> FieldValue:
        name = _dotted(node)
        field = self._schema.named.get(name)
        if field is None:
            nearest = self._schema.nearest(name)
            hint = (
                f"did you mean {nearest}?" if nearest else "name one of the fields that there are"
            )
            if name in FUNCTIONS:
                hint = f"{name} is a function: write {name}(…)"
            raise self._refused(node, f"there is no field {name[:60]!r}", hint)
        return FieldValue(field.name, field.type, field.nullable, field.numbers)

    def _count(self, node: ast.Call) -> Term:
        assert isinstance(node.func, ast.Attribute)
        counts = self._field(node.func.value)
        if counts.type != "counts":
            raise self._refused(node, ".get is for maps of counts", "name the field itself")
        if node.keywords or not 1 <= len(node.args) <= 2:
            raise self._refused(node, ".get takes a key and a default", 'write .get("key", 0)')
        key = self._literal(node.args[0], str, "the key is a text", 'write .get("key", 0)')
        if len(node.args) == 1:
            return Count(counts, key, None, nullable=True, range=counts.range)
        default = self._literal(node.args[1], int, "the default is a whole number", "write e.g. 0")
        low, high = min(counts.range.low, default), max(counts.range.high, default)
        return Count(counts, key, default, counts.nullable, Range(low, high))

    def _literal(self, node: ast.expr, wanted: type[T], problem: str, hint: str) -> T:
        term = self._term(node)
        if isinstance(term, Constant) and type(term.value) is wanted:
            return term.value
        raise self._refused(node, problem, hint)

    def _called(self, name: str, node: ast.Call) -> Term:
        if node.keywords:
            raise self._refused(node, "arguments have no names", f"write {name}(…)")
        of = self._each(node.args, self._term)
        return self._built(node, lambda: called(name, of))

    def _built(self, node: ast.expr, make: Callable[[], Term]) -> Term:
        try:
            return make()
        except ValueError as error:
            problem, hint = error.args
            raise self._refused(node, problem, hint) from None

    def _each(self, nodes: Sequence[ast.expr], of: Callable[[ast.expr], T]) -> tuple[T, ...]:
        """The terms of several; what is wrong with any of them is told of together."""
        terms: list[T] = []
        found: list[Finding] = []
        for node in nodes:
            try:
                terms.append(of(node))
            except ExpressionInvalid as error:
                found.extend(error.findings)
        if found:
            raise ExpressionInvalid(found[:MAX_FINDINGS])
        return tuple(terms)

    def _refused(self, node: ast.expr, problem: str, hint: str) -> ExpressionInvalid:
        return self._parsed.refused(node, problem, hint)


def _is_number(term: Term) -> TypeGuard[Number]:
    return term.type in ("int", "float")


def _dotted(node: ast.expr) -> str:
    """`a.b.c`; of anything else what no field is called."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "…")
    return ".".join(reversed(parts))
