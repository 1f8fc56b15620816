"""What an organisation has, put together from what its services say of their tables."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from ai_services.enrichment import store as calls
from ai_services.portrait import store as portraits
from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class Holdings:
    """`first` and `last` are local dates of calls, None without any."""

    calls: int
    transcripts: int
    analysed: int
    users: int
    periods: int
    portraits: int
    first: str | None
    last: str | None


async def holdings(tx: Transaction, org_id: UUID) -> Holdings:
    return Holdings(**await calls.totals(tx, org_id), **await portraits.totals(tx, org_id))


async def portraits_outdated(tx: Transaction, org_id: UUID) -> bool:
    """Whether a call changed after the last computation, or there was none."""
    changed = await calls.last_change(tx, org_id)
    computed = await portraits.last_computed(tx, org_id)
    return changed is None or computed is None or changed > computed
