"""The contract of HTTP, as both sides read it."""

from __future__ import annotations

from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInput, MalformedRequest
from shared.wire import canonical_request_id, deadline_ms, idempotency_key, success_envelope

KNOWN = "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11"


@given(st.uuids())
def test_a_request_id_has_one_form(number: UUID) -> None:
    for written in (str(number), str(number).upper(), number.hex):
        assert canonical_request_id(written) == str(number)


@pytest.mark.parametrize("written", ["", "7", "a" * 32 + "z", f"{KNOWN}\n{KNOWN}", "é" * 32])
def test_what_is_no_uuid_is_no_request_id(written: str) -> None:
    assert canonical_request_id(written) is None


def test_a_deadline_is_a_number_of_milliseconds() -> None:
    assert (deadline_ms("0"), deadline_ms("2500"), deadline_ms("9" * 9)) == (0, 2500, 999_999_999)


@pytest.mark.parametrize("written", ["", "-1", "1.5", "2s", "+5", "٣", "1" * 10, "x" * 500])
def test_another_deadline_is_refused_with_what_to_send(written: str) -> None:
    with pytest.raises(MalformedRequest, match=r"X-Deadline-Ms: .*send digits") as caught:
        deadline_ms(written)
    assert len(caught.value.message) < 120
    assert caught.value.details[0].field == "X-Deadline-Ms"


def test_idempotency_keys_are_visible_ascii() -> None:
    assert idempotency_key([]) is None
    with pytest.raises(InvalidInput, match="is missing"):
        idempotency_key([], required=True)
    assert idempotency_key(['"8e03978e-40d5-43dd-bc93-6894a57f9324"']) is not None
    assert idempotency_key(["~" * 255]) == "~" * 255
    for wrong in ([""], ["a b"], ["é"], ["~" * 256], ["a\x7f"], ["a", "a"]):
        with pytest.raises(InvalidInput) as caught:
            idempotency_key(wrong)
        assert caught.value.status == 422
        assert caught.value.details[0].field == "Idempotency-Key"


def test_a_success_is_told_with_its_data_and_the_request() -> None:
    written = success_envelope(b'{"a":[1]}', "some-id")
    assert orjson.loads(written) == {"code": 0, "data": {"a": [1]}, "request_id": "some-id"}
