"""What a provider's files say: whatever stands there, each line is charged once, within what it may cost."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.llm.batches.batch import Batch, Ended, Line
from ai_services.llm.batches.results import results
from ai_services.llm.protocol.usage import Usage
from tests.ai_services.llm.catalogues import PRICE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LINES = [Line(UUID(int=number), f"line {number}", Usage(100, 50), 20) for number in range(4)]
ENDS: list[Ended] = ["completed", "failed", "expired", "cancelled"]


def batch(**fields: Any) -> Batch:
    values: dict[str, Any] = {
        "org_id": uuid4(), "batch_id": uuid4(), "input_file_id": uuid4(),
        "endpoint": "/v1/chat/completions", "metadata": None, "model": "gpt",
        "provider": "loopback", "upstream_model": "upstream-gpt",
        "price": PRICE.in_batches(Decimal("0.5")), "status": "in_progress", "errors": None,
        "total": len(LINES), "completed": 0, "failed": 0, "output_file_id": None,
        "error_file_id": None, "upstream_id": "batch_1", "upstream_file": None, "created_at": NOW,
        "expires_at": NOW, "sending_at": NOW, "in_progress_at": NOW, "finalizing_at": None,
        "cancelling_at": None, "ended_at": None, "looks": 0,
    }  # fmt: skip
    return Batch(**{**values, **fields})


def answer(number: int, text: str = "yes", **usage: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    response = {"status_code": 200, "body": body}
    return orjson.dumps({"custom_id": str(UUID(int=number)), "response": response})


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 500) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
said = st.one_of(
    st.binary(max_size=30),
    st.builds(orjson.dumps, anything),
    st.builds(
        lambda number, response, error: orjson.dumps(
            {"custom_id": str(UUID(int=number)), "response": response, "error": error}
        ),
        st.integers(0, 5),
        anything | st.fixed_dictionaries({"status_code": st.just(200), "body": anything}),
        anything,
    ),
    st.builds(
        lambda number, tokens: answer(
            number, prompt_tokens=tokens, completion_tokens=tokens, total_tokens=2 * tokens
        ),
        st.integers(0, 5),
        st.integers(-5, 500),
    ),
)


@given(st.lists(st.lists(said, max_size=6), max_size=2), st.sampled_from(ENDS))
def test_each_line_is_charged_once_and_told_of_once(
    files: list[list[bytes]], status: Ended
) -> None:
    found = results(batch(), status, LINES, [b"\n".join(one) for one in files], {}, 7)
    assert [attempt_id for attempt_id, _ in found.settlements] == [one.attempt_id for one in LINES]
    worst = batch().price.cost(Usage(100, 50))
    assert all(0 <= settlement.cost <= worst for _, settlement in found.settlements)
    told = [orjson.loads(raw)["custom_id"] for raw in (*found.output, *found.errors)]
    assert sorted(told) == [line.custom_id for line in LINES]


def test_who_answers_twice_is_paid_once() -> None:
    twice = b"\n".join(
        [
            answer(0, prompt_tokens=10, completion_tokens=5),
            answer(0, prompt_tokens=90, completion_tokens=50),
        ]
    )
    found = results(batch(), "completed", LINES[:1], [twice], {}, 7)
    ((_, settlement),) = found.settlements
    assert settlement.usage == Usage(10, 5)
    assert settlement.cost == Decimal("0.000015")


@pytest.mark.parametrize("status", ["expired", "cancelled", "failed"])
def test_what_never_ran_costs_nothing(status: Ended) -> None:
    found = results(batch(), status, LINES, [], {}, 7)
    assert {settlement.cost for _, settlement in found.settlements} == {0}


def test_placeholders_become_values_in_their_own_line_only() -> None:
    hidden = {str(UUID(int=0)): {"[PHONE_1]": "13812345678"}}
    files = [answer(0, "call [PHONE_1]") + b"\n" + answer(1, "call [PHONE_1]")]
    found = results(batch(), "completed", LINES[:2], files, hidden, 7)
    assert b"13812345678" in found.output[0]
    assert b"[PHONE_1]" in found.output[1]
