"""What becomes of corrections when an analyser judges a call again: they hold."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ai_services.enrichment.analysis.corrections import store
from shared.data_access.ports import Transaction


async def keep_corrections(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> None:
    """Let corrections hold of calls whose analysis has just been written, or forgotten.

    Called by whoever did that, once, in the same transaction, with the calls locked: what stands in
    the tables is the analyser's.
    """
    facts = await store.of_calls(tx, org_id, callids)
    if not facts:
        return
    current = await store.current(tx, org_id, list(facts))
    await store.write_analysed(
        tx,
        org_id,
        {
            callid: {fact: current[callid][fact] for fact in of_call}
            for callid, of_call in facts.items()
        },
    )
    await store.lay(tx, org_id, facts)
