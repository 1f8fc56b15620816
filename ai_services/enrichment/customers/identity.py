"""A customer's identity from the number that was called, for sources that know no more.

The same number is the same customer however it is written, and nobody can read the number from the
identity: it is a keyed hash, by a key that each organisation has of its own.
"""

from __future__ import annotations

import base64
import hmac
from typing import Final
from uuid import UUID

from ai_services.enrichment.validation.phone_number import normalise

PREFIX: Final = "tel:"
_BYTES: Final = 20  # 160 bit: no two numbers of a country meet


def identity_key(data_key: bytes, org_id: UUID) -> bytes:
    return hmac.digest(data_key, b"looma customer\0" + org_id.bytes, "sha256")


def customer_of(phone: str, key: bytes, country: str) -> str | None:
    """`tel:` and 32 characters; None for what is no number that could be dialled from anywhere.

    `country` (ISO 3166, two letters) is that of numbers without a country code.
    """
    number = e164(phone, country)
    if number is None:
        return None
    digest = hmac.digest(key, number.encode(), "sha256")[:_BYTES]
    return PREFIX + base64.b32encode(digest).decode().lower()


def e164(phone: str, country: str) -> str | None:
    """`+8613812345678` of `138-1234-5678`, `008613812345678` or `１３８１２３４５６７８`.

    None for what can't be dialled from anywhere: an extension, a number within its city only.
    """
    number = normalise(phone, country)
    return number if number is not None and number.startswith("+") else None
