"""Expressions and rows to draw: texts of the language by type, values at the borders of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from shared.expressions.ranges import Range
from shared.expressions.schema import Field, Schema

# Two of each type: one of which nothing is promised, one that is bounded and never null.
SCHEMA = Schema(
    [
        Field("i", "int"),
        Field("n", "int", nullable=False, range=Range(0, 1000)),
        Field("x", "float"),
        Field("usage.rate", "float", range=Range(0.0, 1.0, 1e-6)),
        Field("t", "text"),
        Field("b", "bool"),
        Field("events", "counts"),
    ]
)
SQL_FIELDS = {**{one.name: one.name for one in SCHEMA.fields}, "usage.rate": "usage_rate"}

_ints = st.one_of(
    st.integers(-5, 5),
    st.sampled_from([2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**62, 3037000500]),
)
_floats = st.one_of(
    st.sampled_from([0.0, -0.0, 0.5, 1.5, 2.5, -2.5, 0.1, 2.675, 1e15 + 0.5, 9.3e18, -9.3e18]),
    st.sampled_from([1e100, -1e100, 1.1e100, 1e-100, 9e-101, 5e-324, 1e300, 2.0**63]),
    st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    st.floats(-1000, 1000),
)
_texts = st.sampled_from(["", "A", "B", "é", "中文", "a'b", "%"])

rows = st.fixed_dictionaries(
    {
        "i": st.none() | _ints,
        "n": st.integers(0, 1000),
        "x": st.none() | _floats,
        "usage.rate": st.none() | st.sampled_from([0.0, 0.25, 0.3, 1.0, 1e-6, 1 / 3]),
        "t": st.none() | _texts,
        "b": st.none() | st.booleans(),
        "events": st.none()
        | st.dictionaries(st.sampled_from(["call", "click"]), _ints, max_size=2),
    }
)


def _number_literals() -> st.SearchStrategy[str]:
    whole = st.sampled_from([0, 1, 2, 3, 7, 100, 2**53 + 1, 2**63 - 1])
    broken = st.sampled_from(["0.5", "2.5", "0.3", "1e-100", "1e100", "1e19", ".25", "3."])
    return st.one_of(whole.map(str), broken)


def infix(parts: tuple[str, str, str]) -> str:
    return f"({parts[0]} {parts[1]} {parts[2]})"


def joined(comparisons: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Conditions of a few comparisons."""
    return st.recursive(
        comparisons,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
                lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
            ),
            inner.map(lambda of: f"not ({of})"),
        ),
        max_leaves=4,
    )


def _numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    whole = inner.map(lambda of: f"int({of})")
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(infix),
        st.tuples(whole, st.sampled_from(["//", "%"]), whole).map(infix),
        inner.map(lambda of: f"-{of}"),
        whole,
        inner.map(lambda of: f"round({of})"),
        inner.map(lambda of: f"float({of})"),
        inner.map(lambda of: f"abs({of})"),
        st.tuples(inner, st.integers(0, 6)).map(lambda parts: f"round({parts[0]}, {parts[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        ),
    )


numbers = st.recursive(
    st.one_of(
        st.sampled_from(["i", "n", "x", "usage.rate", "len(t)", "len(events)"]),
        st.sampled_from(['events.get("call", 0)', "events.get('click')", 'events.get("none", 7)']),
        _number_literals(),
    ),
    _numbers,
    max_leaves=5,
)
compare = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
_comparisons = st.one_of(
    st.tuples(numbers, compare, numbers).map(" ".join),
    st.tuples(numbers, st.sampled_from(["<", "<="]), numbers, compare, numbers).map(" ".join),
    st.tuples(numbers, st.sampled_from(["in", "not in"]), st.just("[1, 2.5, 3]")).map(" ".join),
    st.sampled_from(['t == "A"', "t != 'é'", 't in ["A", "中文"]', "t not in ['B', \"a'b\"]"]),
    st.sampled_from(["b", "b == True", "b != False", "n in (1, 2, 900)"]),
)
conditions = joined(_comparisons)


def as_stored(row: Mapping[str, Any]) -> list[Any]:
    """A row as it is given to PostgreSQL, in the order of the schema."""
    return [row[one.name] for one in SCHEMA.fields]
