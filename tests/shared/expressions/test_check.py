"""What is refused is refused with its place and a hint, by no other exception, and at once."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.expressions.check import check
from shared.expressions.closure import closure
from shared.expressions.errors import ExpressionInvalid, Finding
from shared.expressions.limits import MAX_FINDINGS
from shared.expressions.schema import Field, Schema
from tests.shared.expressions.drawing import SCHEMA, conditions
from tests.shared.expressions.hostile import NOT_OF_THE_LANGUAGE, NOT_OF_THE_SCHEMA

HOSTILE = {**NOT_OF_THE_LANGUAGE, **NOT_OF_THE_SCHEMA}


def findings(text: object, schema: Schema = SCHEMA) -> tuple[Finding, ...]:
    with pytest.raises(ExpressionInvalid) as caught:
        check(text, schema)  # type: ignore[arg-type]
    return caught.value.findings


def test_there_are_many() -> None:
    assert len(HOSTILE) >= 150


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:40])
def test_a_hostile_expression_is_refused_for_what_it_is(text: str) -> None:
    started = time.process_time()
    found = findings(text)
    assert time.process_time() - started < 0.05
    assert HOSTILE[text] in found[0].problem
    lines = text.replace("\r\n", "\n").split("\n")
    for one in found:
        assert 1 <= one.line <= len(lines)
        assert 1 <= one.column <= len(lines[one.line - 1]) + 1
        assert one.hint


@pytest.mark.parametrize("value", [None, 5, b"n > 1", ["n > 1"]])
def test_what_is_no_text_is_no_expression(value: object) -> None:
    assert findings(value)[0].problem == "an expression is a text"


def test_every_fault_is_told_of_where_it_stands() -> None:
    assert findings("t == '中文' and zz > 1\n  or usage.rats < 0.5") == (
        Finding(1, 15, "there is no field 'zz'", "name one of the fields that there are"),
        Finding(2, 6, "there is no field 'usage.rats'", "did you mean usage.rate?"),
    )
    assert len(findings(" or ".join(f"f{number} > 1" for number in range(50)))) == MAX_FINDINGS


def test_its_message_is_for_people() -> None:
    with pytest.raises(
        ExpressionInvalid, match=r"line 1, column 1: there is no field 'usage.rates'"
    ):
        check("usage.rates > 0.5", SCHEMA)


@given(st.text(max_size=60) | st.text("n><=.()[]'\"+-*/% andort0123", max_size=60))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    with suppress(ExpressionInvalid):
        check(text, SCHEMA)


@given(conditions, st.integers(0, 60), st.sampled_from([*"()[]'\"\\#é=n.0 ", "and ", "**"]))
def test_a_broken_expression_is_refused(text: str, at: int, put: str) -> None:
    with suppress(ExpressionInvalid):
        check(text[:at] + put + text[at:], SCHEMA)


@pytest.mark.parametrize(
    ("text", "row", "answer"),
    [
        ("1 <= n < 5", {"n": 1}, True),
        ("1 <= n < 5", {"n": 5}, False),
        ("n - -1 == 6", {"n": 5}, True),
        ("i // 2 == -4 and i % 2 == 1", {"i": -7}, True),
        ("i / 2 == -3.5", {"i": -7}, True),
        ("round(x) == 2", {"x": 2.5}, True),
        ("round(x) == 2", {"x": 1.5}, True),
        ("round(x, 2) == 2.68", {"x": 2.675}, True),
        ("int(x) == -2", {"x": -2.9}, True),
        ("i + 1 > 0", {"i": 2**63 - 1}, None),
        ("i + 1 > 0", {"i": 2**63 - 2}, True),
        ("n / i > 1", {"n": 1, "i": 0}, None),
        ("x > 1", {"x": float("nan")}, None),
        ("not x > 1", {}, None),
        ("x > 1 or n > 1", {"n": 2}, True),
        ("x > 1 and n > 1", {"n": 1}, False),
        ("max(x, n) > 1", {"n": 2}, None),
        ('events.get("call", 0) == 0', {"events": {}}, True),
        ('events.get("call") == 0', {"events": {}}, None),
        ('events.get("call", 0) == 0', {}, None),
        ("len(events) == 1", {"events": {"call": 3}}, True),
        ("t in ('A', 'B') and len(t) == 1", {"t": "A"}, True),
        ("(n\n > 1)\n", {"n": 2}, True),
    ],
)
def test_semantics(text: str, row: dict[str, object], answer: bool | None) -> None:
    assert closure(check(text, SCHEMA))(SCHEMA.row(row)) is answer


def test_checking_takes_less_than_5_ms() -> None:
    longest = " or ".join(f"(n > {number} and usage.rate < 0.5)" for number in range(55))
    schema = Schema([*SCHEMA.fields, *(Field(f"field_{number}", "int") for number in range(200))])
    seconds = []
    for _ in range(5):
        started = time.process_time()
        check(longest, schema)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.005
