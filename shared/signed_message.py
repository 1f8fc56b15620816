"""Signatures of messages between systems, as Standard Webhooks has them: made, and checked.

Three headers: an id that stays the same however often a message is sent, when it was sent (Unix
seconds), and HMAC-SHA-256 over `id.timestamp.body` for each secret that counts.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.errors import InvalidInput, Unauthenticated

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
MARK: Final = "whsec_"
REPLAY_S: Final = 300  # a message that was sent longer ago, or so far ahead, is refused
_LONGEST_ID: Final = 200
_FEWEST_BYTES: Final = 24  # of a secret
_VERSION: Final = "v1,"


@dataclass(frozen=True, slots=True)
class SignedMessage:
    message_id: str
    sent_at: int


def sign(secret: bytes, message_id: str, at: int, body: bytes) -> str:
    """One signature of a message sent at `at` (Unix seconds)."""
    mac = hmac.digest(secret, b"%b.%d.%b" % (message_id.encode(), at, body), "sha256")
    return _VERSION + base64.b64encode(mac).decode()


def secret_of(shown: str) -> bytes:
    """From `whsec_` and base64, as owners have it. ValueError for anything else, or one too short."""
    try:
        secret = base64.b64decode(shown.removeprefix(MARK), validate=True)
    except ValueError:
        raise ValueError(f"it is no {MARK} with base64 behind it") from None
    if len(secret) < _FEWEST_BYTES:
        raise ValueError(f"it has {len(secret)} bytes; {_FEWEST_BYTES} are the least")
    return secret


def check_signed(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[bytes], now: float
) -> SignedMessage:
    """Whose message it is. Unauthenticated unless one of the secrets signed it, and lately.

    Nothing else is said of a message that isn't signed: its id and time are believed afterwards only.
    """
    message_id, sent = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    refused = Unauthenticated(
        f"The message is not signed with this source's secret. Send {ID}, {TIMESTAMP} and "
        f"{SIGNATURE} as Standard Webhooks has them."
    )
    plain = message_id.isascii() and sent.isascii()  # bytes of headers may be no characters at all
    if not (plain and message_id and sent.isdigit() and len(sent) <= 12):
        raise refused
    given = [one.encode(errors="replace") for one in headers.get(SIGNATURE, "").split(" ")[:20]]
    made = [sign(secret, message_id, int(sent), body).encode() for secret in secrets]
    # Each with each, whatever is found: how long it takes tells nothing.
    if not sum(hmac.compare_digest(one, other) for one in given for other in made):
        raise refused
    if abs(now - int(sent)) > REPLAY_S:
        raise Unauthenticated(
            f"The message was signed for another time: {TIMESTAMP} is more than {REPLAY_S // 60} "
            "minutes away from now. Sign it when it is sent, and check both clocks."
        )
    if len(message_id) > _LONGEST_ID or not message_id.isprintable():
        raise InvalidInput.of(
            ID, "is too long or can't be shown", f"send up to {_LONGEST_ID} characters"
        )
    return SignedMessage(message_id, int(sent))
