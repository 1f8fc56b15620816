"""Errors as HTTP answers: they can always be written, and never ask a client back too early."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import (
    Detail,
    InvalidInput,
    MalformedRequest,
    StoreUnavailable,
    UpstreamUnavailable,
    render,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # half surrogate pairs as well


@given(ANY_TEXT, ANY_TEXT)
def test_whatever_an_error_quotes_can_be_written(field: str, problem: str) -> None:
    error = InvalidInput(problem, details=[Detail(field, problem, field)])
    _, body, _ = render(error, "id")
    assert orjson.loads(orjson.dumps(body))["code"] == 1002


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.0, "1"), (0.2, "1"), (1.0, "1"), (2.4, "3"), (2.5, "3"), (59.01, "60")]
)
def test_nobody_is_asked_back_before_the_time(seconds: float, told: str) -> None:
    for kind in (StoreUnavailable, UpstreamUnavailable):
        _, _, headers = render(kind("away", retry_after=seconds), "id")
        assert headers["Retry-After"] == told


def test_one_wrong_value_is_named_in_the_message_as_in_the_details() -> None:
    error = MalformedRequest.of("x" * 200, "is not a field", "remove it")
    assert isinstance(error, MalformedRequest)
    assert error.message == f"{'x' * 100}: is not a field; remove it."
    assert error.details == (Detail("x" * 100, "is not a field", "remove it"),)
