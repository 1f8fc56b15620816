"""What every saved analysis brings about, whoever has judged."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ai_services.enrichment.analysis.corrections.keeping import keep_corrections
from ai_services.enrichment.events import announce_analyses
from shared.data_access.ports import Transaction


async def saved_analyses(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> None:
    """What people have decided holds over it, and listeners are told.

    Once, in the transaction that has saved them, with the calls locked.
    """
    await keep_corrections(tx, org_id, callids)
    await announce_analyses(tx, org_id, callids)
