"""A row is judged alike by the closure, by numpy and by PostgreSQL, whatever is null or too large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.expressions.blocks import columns
from shared.expressions.check import check
from shared.expressions.closure import closure
from shared.expressions.columns import Program
from shared.expressions.errors import ExpressionInvalid
from shared.expressions.schema import Schema
from shared.expressions.sql import sql
from shared.expressions.terms import Term
from tests.shared.expressions.drawing import SCHEMA, SQL_FIELDS, as_stored, conditions, rows

_INSERT = (
    "INSERT INTO drawn (i, n, x, usage_rate, t, b, events) VALUES ($1, $2, $3, $4, $5, $6, $7)"
)


def checked(texts: Sequence[str], schema: Schema = SCHEMA) -> list[Term]:
    """Those that are no nonsense: what is drawn may always hold."""
    found: list[Term] = []
    for text in texts:
        try:
            found.append(check(text, schema))
        except ExpressionInvalid:
            continue
    return found


async def by_postgres(
    connection: asyncpg.Connection, terms: Sequence[Term], drawn: Sequence[Any]
) -> list[tuple[bool | None, ...]]:
    parameters: list[Any] = []
    texts: list[str] = []
    for term in terms:
        lowered = sql(term, SQL_FIELDS, first=len(parameters) + 1)
        parameters += lowered.parameters
        texts.append(lowered.text)
    await connection.execute("DELETE FROM drawn")
    await connection.executemany(_INSERT, [as_stored(row) for row in drawn])
    listed = ", ".join(f"{text} AS c{place}" for place, text in enumerate(texts))
    return [
        tuple(row)
        for row in await connection.fetch(f"SELECT {listed} FROM drawn ORDER BY id", *parameters)
    ]


def by_numpy(terms: Sequence[Term], drawn: Sequence[Any]) -> list[tuple[bool | None, ...]]:
    over = columns(SCHEMA, [SCHEMA.row(row) for row in drawn])
    [(_, found)] = Program(terms).run(over, len(drawn))
    return [
        tuple(
            None if one.null is not None and one.null[place] else bool(one.values[place])
            for one in found
        )
        for place in range(len(drawn))
    ]


drawn_texts = st.lists(conditions, min_size=4, max_size=8)
drawn_rows = st.lists(rows, min_size=1, max_size=8)


async def assert_alike(
    connection: asyncpg.Connection, texts: Sequence[str], drawn: Sequence[dict[str, Any]]
) -> None:
    terms = checked(texts)
    assume(terms)
    tests = [closure(term) for term in terms]
    expected = [tuple(test(SCHEMA.row(row)) for test in tests) for row in drawn]
    assert by_numpy(terms, drawn) == expected
    assert await by_postgres(connection, terms, drawn) == expected


@settings(max_examples=40)
@given(drawn_texts, drawn_rows)
async def test_three_lowerings_judge_alike(
    connection: asyncpg.Connection, texts: list[str], drawn: list[dict[str, Any]]
) -> None:
    await assert_alike(connection, texts, drawn)


@pytest.mark.slow
@settings(max_examples=3000)
@given(drawn_texts, drawn_rows)
async def test_three_lowerings_judge_thousands_alike(
    connection: asyncpg.Connection, texts: list[str], drawn: list[dict[str, Any]]
) -> None:
    await assert_alike(connection, texts, drawn)


@settings(max_examples=30)
@given(drawn_texts, drawn_rows)
def test_only_what_may_be_null_is_unknown(texts: list[str], drawn: list[dict[str, Any]]) -> None:
    for term in checked(texts):
        if not term.nullable:
            assert None not in [closure(term)(SCHEMA.row(row)) for row in drawn]
