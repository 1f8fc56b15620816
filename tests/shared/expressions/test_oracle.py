"""DuckDB, which reads the same texts by another way, judges as the closure does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.expressions.closure import closure
from shared.expressions.schema import Field, Schema
from tests.shared.expressions.drawing import compare, infix, joined
from tests.shared.expressions.oracle import by_duckdb
from tests.shared.expressions.test_lowerings import checked

SCHEMA = Schema(
    [Field("i", "int"), Field("k", "int"), Field("x", "float"), Field("y.z", "float"),
     Field("t", "text"), Field("b", "bool")]
)  # fmt: skip
COLUMNS = {
    "i": "BIGINT",
    "k": "BIGINT",
    "x": "DOUBLE",
    "y.z": "DOUBLE",
    "t": "VARCHAR",
    "b": "BOOLEAN",
}

# Halves and quarters: sums and products of few of them are exact, whoever computes them.
halves = st.integers(-40, 40).map(lambda number: number / 4)
small = st.integers(-9, 9)
rows = st.tuples(
    st.none() | small, st.none() | small, st.none() | halves, st.none() | halves,
    st.none() | st.sampled_from(["", "A", "é", "a'b"]), st.none() | st.booleans(),
)  # fmt: skip
whole = st.recursive(
    st.sampled_from(["i", "k", "len(t)"]) | st.integers(0, 9).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner).map(infix),
    max_leaves=3,
)
numbers = st.recursive(
    st.one_of(
        whole, st.sampled_from(["x", "y.z", "0.5", "2.25", "round(x)", "int(y.z)", "float(i)"])
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(infix),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        ),
        inner.map(lambda of: f"abs({of})"),
        inner.map(lambda of: f"-{of}"),
    ),
    max_leaves=4,
)
conditions = joined(
    st.one_of(
        st.tuples(numbers, compare, numbers).map(" ".join),
        st.tuples(numbers, st.just("<"), numbers, compare, numbers).map(" ".join),
        st.tuples(whole, st.sampled_from(["in", "not in"]), st.just("[1, 2, 5]")).map(" ".join),
        st.sampled_from(["t == 'A'", 't != "a\'b"', "t not in ['A', 'é']", "b", "b == True"]),
    )
)


drawn_texts = st.lists(conditions, min_size=3, max_size=6)
drawn_rows = st.lists(rows, min_size=1, max_size=6)


def assert_alike(texts: list[str], drawn: list[tuple[Any, ...]]) -> None:
    known = [text for text in texts if checked([text], SCHEMA)]
    assume(known)
    tests = [closure(term) for term in checked(known, SCHEMA)]
    names = [one.name for one in SCHEMA.fields]
    expected = [
        tuple(test(SCHEMA.row(dict(zip(names, row, strict=True)))) for test in tests)
        for row in drawn
    ]
    assert by_duckdb(known, COLUMNS, drawn) == expected


@settings(max_examples=25)
@given(drawn_texts, drawn_rows)
def test_duckdb_judges_alike(texts: list[str], drawn: list[tuple[Any, ...]]) -> None:
    assert_alike(texts, drawn)


@pytest.mark.slow
@settings(max_examples=500)
@given(drawn_texts, drawn_rows)
def test_duckdb_judges_thousands_alike(texts: list[str], drawn: list[tuple[Any, ...]]) -> None:
    assert_alike(texts, drawn)
