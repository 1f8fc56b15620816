"""An organisation's time zone has changed: the dates of its calls follow, and the hours of its days.

Dates are rewritten page by page, and each call that moves to another day is counted there as any
other that is corrected. Hours are counted in one zone at a time: in the transaction that sets
the new one all days are renewed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from ai_services.portrait.computing.day_store import renew_days
from ai_services.portrait.counting import store as counting
from ai_services.portrait.period import between
from ai_services.portrait.periods import period_store
from shared.data_access.ports import Transaction
from shared.jobs.context import JobContext

_PAGE: Final = 5_000  # calls that a transaction looks at
# In the order of callids, as imports and analyses lock them.
_REDATE: Final = """
WITH page AS MATERIALIZED (
    SELECT callid, call_date <> (started_at AT TIME ZONE $3)::date AS moves
    FROM call_record_enriched WHERE org_id = $1 AND callid > $2 ORDER BY callid LIMIT $4
), held AS MATERIALIZED (
    SELECT callid FROM call_record_enriched
    WHERE org_id = $1 AND callid IN (SELECT callid FROM page WHERE moves)
    ORDER BY callid FOR UPDATE
), moved AS (
    UPDATE call_record_enriched c
    SET call_date = (started_at AT TIME ZONE $3)::date, updated_at = now()
    FROM held WHERE c.org_id = $1 AND c.callid = held.callid
    RETURNING 1
)
SELECT max(callid) AS last, (SELECT count(*) FROM moved) AS moved FROM page
"""


async def follow(job: JobContext[Any], org_id: UUID) -> Mapping[str, Any]:
    """How many calls have another date: {"zone", "moved"}. Goes on where it was killed."""
    zone, last, moved = _reached(job.cursor)
    while last is not None:
        async with job.db.tenant(org_id) as tx:
            await job.fence(tx)
            how = await counting.state(tx, org_id)
            if how is None:
                return {"zone": None, "moved": moved}
            if how.local != zone:
                zone, last = how.local, ""
            last, some = await redate(tx, org_id, zone, last)
            moved += some
            await job.checkpoint(tx, {"zone": zone, "last": last, "moved": moved})
    async with job.db.tenant(org_id) as tx:
        await job.fence(tx)
        await count_hours_in(tx, org_id, str(zone))
    return {"zone": zone, "moved": moved}


def _reached(cursor: Mapping[str, Any] | None) -> tuple[str | None, str | None, int]:
    return (None, "", 0) if cursor is None else (cursor["zone"], cursor["last"], cursor["moved"])


async def redate(tx: Transaction, org_id: UUID, zone: str, after: str) -> tuple[str | None, int]:
    """Give the calls behind `after` their dates in `zone`: the last of them (None: there are none), and how
    many have moved.
    """
    page = await tx.fetchrow(_REDATE, org_id, after, zone, _PAGE)
    assert page is not None  # an aggregate without GROUP BY returns a row
    return page["last"], page["moved"]


async def count_hours_in(tx: Transaction, org_id: UUID, zone: str) -> None:
    """Hours are those of `zone` from now on."""
    await counting.await_turn(tx, org_id)
    extent = await period_store.extent(tx, org_id, "month")
    if extent is not None:
        for quarter in between("quarter", *extent):
            await renew_days(tx, org_id, quarter.start, quarter.end, zone)
    await counting.set_zone(tx, org_id, zone)
