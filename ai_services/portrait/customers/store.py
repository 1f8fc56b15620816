"""What is read of customers: their newest calls with what was found in them, and lists of snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ai_services.portrait.figures import COLUMNS, Figures
from ai_services.portrait.period import PeriodType
from shared.data_access.ports import Row, Transaction

_FIGURES: Final = ", ".join(f"s.{column}" for column in COLUMNS)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is of; None: whatever it is."""

    customer_id: str | None = None
    min_total_calls: int | None = None
    max_connect_rate: float | None = None
    negative: bool | None = None
    high_complaint_risk: bool | None = None
    high_churn_risk: bool | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    customer_id: str
    period_key: str
    figures: Figures
    as_of: datetime


# A customer whose calls are gone is nobody, though portraits may follow a moment later.
_LIST: Final = f"""
SELECT s.customer_id, s.period_key, s.computed_at, {_FIGURES} FROM customer_portrait_snapshot s
WHERE s.org_id = $1 AND s.period_type = $2 AND s.period_key = $3 AND s.customer_id > $4
  AND ($5::text IS NULL OR s.customer_id = $5)
  AND ($6::bigint IS NULL OR s.total_calls >= $6)
  AND ($7::float8 IS NULL OR s.connect_rate <= $7)
  AND ($8::bool IS NULL OR (s.negative_count > 0) = $8)
  AND ($9::bool IS NULL OR (s.high_complaint_risk > 0) = $9)
  AND ($10::bool IS NULL OR (s.high_churn_risk > 0) = $10)
  AND EXISTS (SELECT FROM call_record_enriched c
              WHERE c.org_id = s.org_id AND c.customer_id = s.customer_id)
ORDER BY s.customer_id LIMIT $11
"""  # noqa: S608 - constants only


async def list_customers(
    tx: Transaction,
    org_id: UUID,
    period_type: PeriodType,
    period_key: str,
    wanted: Wanted,
    *,
    after: str,
    limit: int,
) -> list[Listed]:
    """Customers with calls in the period, by id, from behind `after` ('' = the first)."""
    rows = await tx.fetch(
        _LIST, org_id, period_type, period_key, after, wanted.customer_id,
        wanted.min_total_calls, wanted.max_connect_rate, wanted.negative,
        wanted.high_complaint_risk, wanted.high_churn_risk, limit,
    )  # fmt: skip
    return [
        Listed(row["customer_id"], row["period_key"], Figures.of(row), row["computed_at"])
        for row in rows
    ]


@dataclass(frozen=True, slots=True)
class CustomerCall:
    """One call with a customer and what analysis found in it; times are local where they say so."""

    callid: str
    started_at: datetime
    local: datetime  # when it started, in the organisation's time zone, without an offset
    user_id: str
    call_status: str
    duration_ms: int
    level_name: str | None
    sentiment: str | None
    complaint_risk: str | None
    churn_risk: str | None
    reason: str | None
    analyzer: str | None
    updated_at: datetime
    summary: str | None
    topic: str | None
    follow_up: str | None
    resolution: str | None
    callbacks: Sequence[Any]
    evidence: Sequence[Any]


_CALLS: Final = """
SELECT c.callid, c.started_at, c.started_at AT TIME ZONE o.timezone AS local, c.user_id,
       c.call_status, c.duration_ms, c.level_name, c.sentiment, c.complaint_risk, c.churn_risk,
       c.reason, c.analyzer, c.updated_at, i.summary, i.topic, i.follow_up, i.resolution,
       coalesce(i.callbacks, '[]') AS callbacks, coalesce(i.evidence, '[]') AS evidence
FROM call_record_enriched c
JOIN organisation o ON o.org_id = c.org_id
LEFT JOIN call_insight i ON i.org_id = c.org_id AND i.callid = c.callid
WHERE c.org_id = $1 AND c.customer_id = $2
ORDER BY c.started_at DESC, c.callid DESC LIMIT $3
"""


async def newest_calls(
    tx: Transaction, org_id: UUID, customer_id: str, limit: int
) -> list[CustomerCall]:
    """The customer's calls, newest first."""
    rows: list[Row] = await tx.fetch(_CALLS, org_id, customer_id, limit)
    return [CustomerCall(**row) for row in rows]


async def local_now(tx: Transaction, org_id: UUID) -> datetime:
    """The time in the organisation's time zone, without an offset."""
    now: datetime = await tx.fetchval(
        "SELECT now() AT TIME ZONE timezone FROM organisation WHERE org_id = $1", org_id
    )
    return now


async def one_with(tx: Transaction, org_id: UUID, customer_id: str, limit: int) -> list[str]:
    """Ids of customers who were merged into this one."""
    rows = await tx.fetch(
        """
        SELECT customer_id FROM customer_alias
        WHERE org_id = $1 AND survivor = $2 ORDER BY customer_id LIMIT $3
        """,
        org_id,
        customer_id,
        limit,
    )
    return [row["customer_id"] for row in rows]
