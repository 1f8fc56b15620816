"""The queries about calls that are staged, between their arrival and their merge into those there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from shared.data_access.ports import Transaction

_BRING_HOME: Final = """
WITH moved AS (
    UPDATE call_staging s SET given_customer_id = s.customer_id, customer_id = a.survivor
    FROM customer_alias a WHERE a.org_id = $1 AND a.customer_id = s.customer_id)
SELECT EXISTS (SELECT FROM erased_id WHERE org_id = $1 AND kept_out)
"""
_STAGED: Final = "SELECT callid, customer_id, given_customer_id FROM call_staging"
_LEAVE_OUT: Final = "DELETE FROM call_staging WHERE callid = ANY($1::text[])"


@dataclass(frozen=True, slots=True)
class Staged:
    callid: str
    customer_id: str | None
    given_customer_id: str | None


async def bring_home(tx: Transaction, org_id: UUID) -> bool:
    """Give calls of merged customers to whom these are one with; whether anything stays out at all."""
    return bool(await tx.fetchval(_BRING_HOME, org_id))


async def staged(tx: Transaction) -> list[Staged]:
    return [Staged(**row) for row in await tx.fetch(_STAGED)]


async def leave_out(tx: Transaction, callids: Sequence[str]) -> None:
    await tx.execute(_LEAVE_OUT, list(callids))
