"""What is read of the calls of a period, the newest that a subject has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import DIMENSIONS, ORGANISATION, Subject
from ai_services.portrait.period import Period
from shared.calls import CONNECTED
from shared.data_access.ports import Row, Transaction

READ_CALLS: Final = 5_000  # of a subject and period, the newest days first
EXAMPLES: Final = 3

_WHOSE: Final = {
    **{whose: f"{whose.column} = $2" for whose in DIMENSIONS},
    ORGANISATION: "$2 = ''",
}
# By day, not by time: that order has an index for the organisation, too.
_NEWEST: Final = {
    whose: f"""
        WITH newest AS MATERIALIZED (
            SELECT org_id, callid, customer_id, user_id, started_at, complaint_risk, reason
            FROM call_record_enriched
            WHERE org_id = $1 AND {_WHOSE[whose]} AND call_date BETWEEN $3 AND $4
              AND call_status = '{CONNECTED}'
            ORDER BY call_date DESC LIMIT {READ_CALLS})
        """  # noqa: S608 - constants only
    for whose in _WHOSE
}
_TOPICS: Final = {
    whose: f"""
        {_NEWEST[whose]}
        SELECT i.topic AS text, count(*) AS calls,
               (array_agg(n.callid ORDER BY n.started_at DESC, n.callid))[1:{EXAMPLES}] AS examples
        FROM newest n JOIN call_insight i ON i.org_id = n.org_id AND i.callid = n.callid
        WHERE i.topic IS NOT NULL
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $5
        """  # noqa: S608 - constants only
    for whose in _WHOSE
}
_REASONS: Final = {
    whose: f"""
        {_NEWEST[whose]}
        SELECT reason AS text, count(*) AS calls,
               (array_agg(callid ORDER BY started_at DESC, callid))[1:{EXAMPLES}] AS examples
        FROM newest WHERE complaint_risk = 'high' AND reason IS NOT NULL
        GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $5
        """  # noqa: S608 - constants only
    for whose in _WHOSE
}
_FOLLOW_UPS: Final = {
    whose: f"""
        {_NEWEST[whose]}
        SELECT n.callid, n.customer_id, n.user_id, n.started_at, i.follow_up
        FROM newest n JOIN call_insight i ON i.org_id = n.org_id AND i.callid = n.callid
        WHERE i.follow_up IS NOT NULL AND NOT EXISTS (
            SELECT FROM call_record_enriched later
            WHERE later.org_id = n.org_id AND later.customer_id = n.customer_id
              AND later.started_at > n.started_at AND later.call_status = '{CONNECTED}')
        ORDER BY n.started_at DESC, n.callid LIMIT $5
        """  # noqa: S608 - constants only
    for whose in _WHOSE
}


@dataclass(frozen=True, slots=True)
class Told:
    """A topic or a reason, in how many calls, and some of these, newest first."""

    text: str
    calls: int
    examples: Sequence[str]


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What is to be done about a call, while nobody spoke with the customer since."""

    callid: str
    customer_id: str | None
    user_id: str
    started_at: datetime
    follow_up: str


async def topics(
    tx: Transaction, org_id: UUID, subject: Subject, period: Period, limit: int
) -> list[Told]:
    """What calls were about, the most frequent first."""
    rows = await _read(tx, _TOPICS[subject.dimension], org_id, subject, period, limit)
    return [Told(**row) for row in rows]


async def complaint_reasons(
    tx: Transaction, org_id: UUID, subject: Subject, period: Period, limit: int
) -> list[Told]:
    """Why calls have a high complaint risk, the most frequent first."""
    rows = await _read(tx, _REASONS[subject.dimension], org_id, subject, period, limit)
    return [Told(**row) for row in rows]


async def open_follow_ups(
    tx: Transaction, org_id: UUID, subject: Subject, period: Period, limit: int
) -> list[FollowUp]:
    """Newest first."""
    rows = await _read(tx, _FOLLOW_UPS[subject.dimension], org_id, subject, period, limit)
    return [FollowUp(**row) for row in rows]


async def _read(
    tx: Transaction, query: str, org_id: UUID, subject: Subject, period: Period, limit: int
) -> list[Row]:
    return await tx.fetch(query, org_id, subject.id, period.start, period.end, limit)
