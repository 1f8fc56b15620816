"""What enrichment announces over the outbox, each in the transaction that writes it.

Events name calls, not what is true of them: a listener reads that when it applies them, and so
ends in the same state whether an event comes late, twice or together with its neighbours. Only
what the tables no longer tell goes along: where a corrected or deleted call belonged before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment.deleting.store import Gone
from ai_services.enrichment.store import Merged
from shared.data_access.ports import Transaction

KEY: Final = "calls"  # an organisation's calls are one ordered stream: docs/decisions/0005
_IDS_PER_EVENT: Final = 500


async def announce_calls(tx: Transaction, org_id: UUID, merged: Merged) -> None:
    """Every call that a batch brought in or changed, and what the moved ones left behind."""
    await _announce(tx, org_id, merged.callids, merged.left, merged.left_days)


async def announce_deleted(tx: Transaction, org_id: UUID, gone: Sequence[Gone]) -> None:
    """Every call that is gone, and whose it was: listeners find that it isn't there any more."""
    left = {(one.user_id, one.customer_id) for one in gone if one.customer_id is not None}
    left_days = {(one.user_id, one.call_date.isoformat()) for one in gone}
    await _announce(tx, org_id, [one.callid for one in gone], left, left_days)


async def announce_analyses(tx: Transaction, org_id: UUID, callids: Sequence[str]) -> None:
    """Every call whose analysis was saved."""
    await tx.emit_many(org_id, "analyses", [(KEY, payload) for payload in _pages(callids)])


async def _announce(
    tx: Transaction,
    org_id: UUID,
    callids: Sequence[str],
    left: Collection[tuple[str, str]],
    left_days: Collection[tuple[str, str]],
) -> None:
    payloads = list(_pages(callids))
    if left:
        payloads[0]["left"] = sorted(left)
    if left_days:
        payloads[0]["left_days"] = sorted(left_days)
    await tx.emit_many(org_id, "calls", [(KEY, payload) for payload in payloads])


def _pages(callids: Sequence[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(callids), _IDS_PER_EVENT):
        yield {"callids": callids[start : start + _IDS_PER_EVENT]}
