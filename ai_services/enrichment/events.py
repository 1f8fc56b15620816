"""What enrichment announces over the outbox, each in the transaction that writes it.

Events name calls, not what is true of them: a listener reads that when it applies them, and so
ends in the same state whether an event comes late, twice or together with its neighbours. Only
what the tables no longer tell goes along: where a corrected call belonged before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment.store import Merged
from shared.data_access.ports import Transaction

KEY: Final = "calls"  # an organisation's calls are one ordered stream: docs/decisions/0005
_IDS_PER_EVENT: Final = 500


async def announce_calls(tx: Transaction, org_id: UUID, merged: Merged) -> None:
    """Every call that a batch brought in or changed, and what the moved ones left behind."""
    payloads = list(_pages(merged.callids))
    if merged.left:
        payloads[0]["left"] = sorted(merged.left)
    if merged.left_days:
        payloads[0]["left_days"] = sorted(merged.left_days)
    await tx.emit_many(org_id, "calls", [(KEY, payload) for payload in payloads])


async def announce_analyses(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> None:
    """Every call whose analysis was saved."""
    await tx.emit_many(org_id, "analyses", [(KEY, payload) for payload in _pages(callids)])


def _pages(callids: Sequence[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(callids), _IDS_PER_EVENT):
        yield {"callids": callids[start : start + _IDS_PER_EVENT]}
