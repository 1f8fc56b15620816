"""Errors as OpenAI's clients know them."""

import orjson
import pytest

from ai_services.llm.protocol.failure import failure_event
from shared.errors import (
    AnswerInvalid,
    Conflict,
    Forbidden,
    InvalidInput,
    ModelNotFound,
    NoModel,
    PayloadTooLarge,
    TooManyRequests,
    Unauthenticated,
    UpstreamTimeout,
    render_openai,
)


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "param"),
    [
        (InvalidInput.of("n", "no", "yes"), 400, "invalid_request_error", "invalid_input", "n"),
        (ModelNotFound("m"), 404, "invalid_request_error", "model_not_found", None),
        (PayloadTooLarge("m"), 413, "invalid_request_error", "payload_too_large", None),
        (Conflict("m"), 409, "invalid_request_error", "conflict", None),
        (Unauthenticated("m"), 401, "authentication_error", "unauthenticated", None),
        (Forbidden("m"), 403, "permission_error", "forbidden", None),
        (TooManyRequests("m"), 429, "rate_limit_error", "rate_limit_exceeded", None),
        (NoModel("m"), 503, "server_error", "no_model", None),
        (UpstreamTimeout("m"), 504, "server_error", "upstream_timeout", None),
        (AnswerInvalid("m"), 502, "server_error", "answer_invalid", None),
        (RuntimeError("secret"), 500, "server_error", "internal_error", None),
    ],
)
def test_an_error_has_its_type_and_code(error, status, kind, code, param) -> None:
    told, body, _ = render_openai(error, "r-1")
    assert told == status
    assert set(body) == {"error"}
    inner = body["error"]
    assert (inner["type"], inner["code"], inner["param"]) == (kind, code, param)
    assert inner["message"]
    assert "secret" not in inner["message"]
    assert inner["request_id"] == "r-1"


def test_when_to_come_back_is_told() -> None:
    assert render_openai(TooManyRequests("m", retry_after=1.2), "")[2] == {"Retry-After": "2"}


def test_within_a_stream_it_is_an_event() -> None:
    error = InvalidInput.of("n", "is\nlong", "cut it")
    event = failure_event(error, "r-1")
    assert event.endswith(b"\n\n")
    assert orjson.loads(event.removeprefix(b"data: ")) == render_openai(error, "r-1")[1]
