"""The contract of HTTP between clients, the gateway and the services, for both sides to read.

Names of headers are in lower case, as they are compared; RFC 9110 leaves the case to who writes.
The envelope of failures is in shared/errors.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from shared.errors import InvalidInput, MalformedRequest

REQUEST_ID_HEADER: Final = "x-request-id"  # a UUID
DEADLINE_HEADER: Final = "x-deadline-ms"  # how long the caller still waits
IDEMPOTENCY_KEY_HEADER: Final = "idempotency-key"
# From the gateway to a service only: who asks, and from which address.
INTERNAL_TOKEN_HEADER: Final = "x-internal-token"  # noqa: S105 - a header's name
CLIENT_ADDRESS_HEADER: Final = "x-client-address"

_CANONICAL: Final = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_MILLISECONDS: Final = re.compile("[0-9]{1,9}")
_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")


def canonical_request_id(given: str) -> str | None:
    """The request id that a header's value names, in its one form; None if it is none."""
    if _CANONICAL.fullmatch(given):
        return given
    try:
        return str(UUID(given))
    except ValueError:
        return None


def deadline_ms(value: str) -> int:
    """Milliseconds for which the caller still waits; MalformedRequest for what is no number.

    They are a span, not a time of day, so that no two clocks have to agree.
    """
    if not _MILLISECONDS.fullmatch(value):
        shown = value if len(value) <= 20 else value[:20] + "…"
        raise MalformedRequest.of(
            "X-Deadline-Ms",
            f"{shown!r} is not a number of milliseconds",
            "send digits, such as 2500",
        )
    return int(value)


def idempotency_key(values: Sequence[str], *, required: bool = False) -> str | None:
    """The key among the values of Idempotency-Key; None without one.

    InvalidInput if it is none, or if there is none and one is `required`.
    """
    if not values:
        if required:
            raise InvalidInput.of(
                "Idempotency-Key", "is missing", "send a new one with each new request, a UUID"
            )
        return None
    if len(values) > 1:
        raise InvalidInput.of("Idempotency-Key", "was sent more than once", "send one")
    if not _IDEMPOTENCY_KEY.fullmatch(values[0]):
        raise InvalidInput.of(
            "Idempotency-Key",
            "is empty, too long or holds more than visible ASCII",
            "send 1 to 255 characters, a UUID",
        )
    return values[0]


def success_envelope(data: bytes, request_id: str) -> bytes:
    """The body of a success; `data` is JSON as it is written."""
    return b'{"code":0,"data":%b,"request_id":"%b"}' % (data, request_id.encode())
