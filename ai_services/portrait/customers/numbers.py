"""Whose phone number it is: the enrichment service knows, which alone holds the key of identities."""

from __future__ import annotations

from pydantic import BaseModel

from shared.errors import InvalidInput
from shared.security import Principal
from shared.serving.peers import Peers


class _NumberIn(BaseModel):
    number: str


class _Identity(BaseModel):
    customer_id: str | None


async def customer_of(
    peers: Peers, principal: Principal, number: str, request_id: str
) -> str | None:
    """The id that the number makes of a customer; None where it makes none."""
    found = await peers.ask(
        "enrichment", "POST", "/internal/v1/customers/identity", principal,
        answer=_Identity, body=_NumberIn(number=number), request_id=request_id, timeout=5.0,
    )  # fmt: skip
    return found.customer_id


async def named(
    peers: Peers, principal: Principal, customer_id: str | None, number: str | None, request_id: str
) -> str | None:
    """The customer that a request names by id or by number; None for one that names nobody.

    InvalidInput where both are given, or the number makes no customer.
    """
    if number is None:
        return customer_id
    if customer_id is not None:
        raise InvalidInput.of("number", "is given together with id", "send one of them")
    found = await customer_of(peers, principal, number, request_id)
    if found is None:
        problem = "is no number that can be called from anywhere"
        raise InvalidInput.of("number", problem, "send it with its country code, +86 …")
    return found
