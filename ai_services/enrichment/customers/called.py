"""Who has a phone number that somebody types, by the identity that calls to it have."""

from __future__ import annotations

from uuid import UUID

from ai_services.enrichment.customers.identity import customer_of, identity_key
from ai_services.enrichment.validation.phone_number import read_phone


def customer_called(text: str, data_key: bytes, org_id: UUID, country: str) -> str | None:
    """The customer that calls to this number have where their source names none; None for no number, or
    one that can't be dialled from anywhere.
    """
    number = read_phone(text, country).number
    return None if number is None else customer_of(number, identity_key(data_key, org_id))
