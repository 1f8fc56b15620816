"""Signatures of messages, as Standard Webhooks has them."""

from __future__ import annotations

import pytest

from shared.errors import InvalidInput, Unauthenticated
from shared.signed_message import SignedMessage, check_signed, secret_of, sign

# The example of the specification.
SECRET = secret_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
BODY = b'{"test": 2432232314}'
ID, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(**other: str) -> dict[str, str]:
    known = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}
    return known | {name.replace("_", "-"): value for name, value in other.items()}


def test_the_specifications_example_is_signed_so() -> None:
    assert sign(SECRET, ID, AT, BODY) == SIGNATURE


def test_a_signed_message_is_known() -> None:
    assert check_signed(headers(), BODY, [SECRET], AT + 299) == SignedMessage(ID, AT)
    both = headers(webhook_signature=f"v1,AAAA {SIGNATURE}")
    assert check_signed(both, BODY, [b"x" * 32, SECRET], AT) == SignedMessage(ID, AT)


@pytest.mark.parametrize(
    ("given", "body", "now"),
    [
        (headers(), BODY + b" ", AT),
        (headers(webhook_id="msg_other"), BODY, AT),
        (headers(webhook_timestamp=str(AT + 1)), BODY, AT),
        (headers(webhook_timestamp="١٦١٤٢٦٥٣٣٠"), BODY, AT),
        (headers(webhook_signature="v1a" + SIGNATURE[2:]), BODY, AT),
        (headers(webhook_signature=SIGNATURE[3:]), BODY, AT),
        (headers(webhook_signature="é"), BODY, AT),
        ({}, BODY, AT),
        (headers(), BODY, AT + 301),
        (headers(), BODY, AT - 301),
    ],
    ids=range(10),
)
def test_any_other_is_refused(given: dict[str, str], body: bytes, now: float) -> None:
    with pytest.raises(Unauthenticated):
        check_signed(given, body, [SECRET], now)


def test_without_secrets_nothing_is_signed() -> None:
    with pytest.raises(Unauthenticated):
        check_signed(headers(), BODY, [], AT)


def test_an_id_that_is_too_long_to_keep_is_refused() -> None:
    long = "m" * 201
    given = headers(webhook_id=long, webhook_signature=sign(SECRET, long, AT, BODY))
    with pytest.raises(InvalidInput, match="webhook-id"):
        check_signed(given, BODY, [SECRET], AT)


@pytest.mark.parametrize("shown", ["whsec_", "whsec_AAAA", "whsec_äöü", "hunter2", "whsec_a b"])
def test_what_is_no_secret_is_none(shown: str) -> None:
    with pytest.raises(ValueError, match="it "):
        secret_of(shown)
