"""Deletes calls that are named."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ai_services.enrichment.deleting import store
from ai_services.enrichment.deleting.store import Gone
from ai_services.enrichment.events import announce_deleted
from shared.data_access.ports import Transaction

MOST_AT_ONCE = 1_000  # in a transaction: imports wait for the rows that it holds


async def delete_calls(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> list[Gone]:
    """Those of these that there were; `MOST_AT_ONCE` at most are to be named.

    Search, graph and portraits follow by the outbox, in the same transaction.
    """
    gone = await store.delete_calls(tx, org_id, callids)
    await announce_deleted(tx, org_id, gone)
    return gone
