"""A customer's identity from the number that was called, for sources that know no more.

The same number is the same customer however it is written, and nobody can read the number from the
identity: it is a keyed hash, by a key that each organisation has of its own.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final
from uuid import UUID

PREFIX: Final = "tel:"
_BYTES: Final = 20  # 160 bit: no two numbers of a country meet


def identity_key(data_key: bytes, org_id: UUID) -> bytes:
    return hmac.digest(data_key, b"looma customer\0" + org_id.bytes, "sha256")


def customer_of(number: str, key: bytes) -> str | None:
    """`tel:` and 32 characters, of a number in its one spelling (validation/phone_number.py); None for
    what can't be dialled from anywhere: an extension, a number within its city only.
    """
    if not number.startswith("+"):
        return None
    digest = hmac.digest(key, number.encode(), "sha256")[:_BYTES]
    return PREFIX + base64.b32encode(digest).decode().lower()
