"""The queries that delete calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class Gone:
    """A call that was deleted."""

    callid: str
    user_id: str
    customer_id: str | None
    call_date: date
    has_transcript: bool


async def delete_calls(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> list[Gone]:
    """Those of them that there are, by callid. What hangs on a call goes with it: its transcript, legs,
    insight, dead letter, and which source it came from.
    """
    rows = await tx.fetch(
        """DELETE FROM call_record_enriched
           WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
           RETURNING callid, user_id, customer_id, call_date, has_transcript""",
        org_id, list(callids),
    )  # fmt: skip
    return sorted((Gone(**row) for row in rows), key=lambda one: one.callid)
