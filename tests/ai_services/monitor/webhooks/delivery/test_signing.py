"""Signatures as any receiver checks them, and secrets that rest sealed."""

from __future__ import annotations

import base64
import re
import time
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_services.monitor.webhooks.delivery.signing import Seal, new_secret, shown, signed_headers
from shared.errors import ConfigError
from tests.ai_services.monitor.webhooks.receiver import verified
from tests.sources import ROOT

SEAL = Seal(b"k" * 32)


def test_the_signature_is_that_of_the_vector_of_standard_webhooks() -> None:
    """The one in the tests of the specification's own libraries."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    message_id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    headers = signed_headers([secret], message_id, 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": message_id,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.binary(max_size=200), st.integers(0, 2**33))
def test_whoever_has_one_of_the_secrets_can_verify_and_nobody_else(body: bytes, at: int) -> None:
    first, second, other = new_secret(), new_secret(), new_secret()
    headers = signed_headers([first, second], "msg_1", at, body)
    assert verified(shown(first), headers, body)
    assert verified(shown(second), headers, body)
    assert not verified(shown(other), headers, body)
    assert not verified(shown(first), headers, body + b" ")
    assert not verified(shown(first), headers | {"webhook-timestamp": str(at + 1)}, body)
    assert not verified(shown(first), headers | {"webhook-id": "msg_2"}, body)


def test_a_secret_is_shown_as_whsec_and_has_256_bits() -> None:
    text = shown(new_secret())
    assert text.startswith("whsec_")
    assert len(base64.b64decode(text.removeprefix("whsec_"), validate=True)) == 32


def test_a_sealed_secret_opens_for_its_webhook_only_and_by_its_key_only() -> None:
    org_id, webhook_id, secret = uuid4(), uuid4(), new_secret()
    sealed = SEAL.close(org_id, webhook_id, secret)
    assert secret not in sealed
    assert SEAL.open(org_id, webhook_id, sealed) == secret
    assert SEAL.close(org_id, webhook_id, secret) != sealed
    for seal, org, webhook in (
        (SEAL, org_id, uuid4()),
        (SEAL, uuid4(), webhook_id),
        (Seal(b"l" * 32), org_id, webhook_id),
    ):
        with pytest.raises(ConfigError, match="DATA_KEY"):
            seal.open(org, webhook, sealed)


def test_the_data_key_is_in_no_repr() -> None:
    assert "kkkk" not in repr(SEAL)


def test_the_receiver_of_the_documentation_takes_what_is_sent_and_nothing_else() -> None:
    page = (ROOT / "docs/webhooks.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    receiver, secret, now = names["verified"], new_secret(), int(time.time())
    headers = signed_headers([new_secret(), secret], "msg_1", now, b"{}")
    assert receiver(shown(secret), headers, b"{}")
    assert not receiver(shown(secret), headers, b"{ }")
    assert not receiver(shown(new_secret()), headers, b"{}")
    old = signed_headers([secret], "msg_1", now - 400, b"{}")
    assert not receiver(shown(secret), old, b"{}")
