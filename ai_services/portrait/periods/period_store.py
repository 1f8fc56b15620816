"""The queries around periods: which there are, and what state they are in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from ai_services.portrait.period import Period, PeriodType, Status
from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class Registered:
    """A period as it is kept; `calls` are those that its snapshots count, `whole` unless it was computed
    before customers had portraits.
    """

    status: Status
    computed_at: datetime | None
    calls: int
    whole: bool = True


async def local_today(tx: Transaction, org_id: UUID, now: datetime) -> date | None:
    """The date in the organisation's time zone; None for an unknown organisation."""
    today: date | None = await tx.fetchval(
        "SELECT ($2::timestamptz AT TIME ZONE timezone)::date FROM organisation WHERE org_id = $1",
        org_id,
        now,
    )
    return today


async def extent(
    tx: Transaction, org_id: UUID, period_type: PeriodType
) -> tuple[date, date] | None:
    """First and last day with calls or with a registered period; None where there is neither."""
    row = await tx.fetchrow(
        """
        SELECT min(first) AS first, max(last) AS last FROM (
            SELECT min(call_date) AS first, max(call_date) AS last
            FROM call_record_enriched WHERE org_id = $1
            UNION ALL
            SELECT min(period_start), max(period_end)
            FROM period_registry WHERE org_id = $1 AND period_type = $2
        ) AS extents
        """,
        org_id,
        period_type,
    )
    assert row is not None, "an aggregate without GROUP BY returns a row"
    return None if row["first"] is None else (row["first"], row["last"])


async def begin(
    tx: Transaction, org_id: UUID, period_type: PeriodType, periods: Sequence[Period]
) -> None:
    """Mark `periods` as computing."""
    await tx.execute(
        """
        INSERT INTO period_registry AS r (org_id, period_type, period_key, period_start, period_end,
                                          status)
        SELECT $1, $2, key, first, last, 'computing'
        FROM unnest($3::text[], $4::date[], $5::date[]) AS wanted (key, first, last)
        ON CONFLICT (org_id, period_type, period_key) DO UPDATE SET status = 'computing'
        """,
        org_id,
        period_type,
        [period.key for period in periods],
        [period.start for period in periods],
        [period.end for period in periods],
    )


async def begun(tx: Transaction, org_id: UUID, period_type: PeriodType) -> list[str]:
    """The keys of all periods that are marked as computing, oldest first."""
    rows = await tx.fetch(
        """
        SELECT period_key FROM period_registry
        WHERE org_id = $1 AND period_type = $2 AND status = 'computing' ORDER BY period_key
        """,
        org_id,
        period_type,
    )
    return [row["period_key"] for row in rows]


async def finish(
    tx: Transaction,
    org_id: UUID,
    period_type: PeriodType,
    keys: Sequence[str],
    *,
    today: date,
    now: datetime,
) -> None:
    """Mark periods as computed: completed if they were over by then, else still pending."""
    await tx.execute(
        """
        UPDATE period_registry
        SET computed_at = $5,
            status = CASE WHEN period_end < $4 THEN 'completed' ELSE 'pending' END,
            completed_at = CASE WHEN period_end < $4 THEN coalesce(completed_at, $5) END
        WHERE org_id = $1 AND period_type = $2 AND period_key = ANY($3::text[])
        """,
        org_id,
        period_type,
        keys,
        today,
        now,
    )


async def touch(tx: Transaction, org_id: UUID, periods: Sequence[Period], now: datetime) -> None:
    """Something was counted in `periods`: they are registered, and open if they were closed."""
    await tx.execute(
        """
        INSERT INTO period_registry AS r (org_id, period_type, period_key, period_start, period_end,
                                          computed_at)
        SELECT $1, touched.*, $6
        FROM unnest($2::text[], $3::text[], $4::date[], $5::date[]) AS touched
        ON CONFLICT (org_id, period_type, period_key) DO UPDATE SET computed_at = $6,
            status = CASE WHEN r.status = 'computing' THEN r.status ELSE 'pending' END
        """,
        org_id,
        [period.type for period in periods],
        [period.key for period in periods],
        [period.start for period in periods],
        [period.end for period in periods],
        now,
    )


async def close_again(tx: Transaction, org_id: UUID) -> None:
    """Close all periods that were closed before: what reopened them is counted."""
    await tx.execute(
        """
        UPDATE period_registry SET status = 'completed'
        WHERE org_id = $1 AND status = 'pending' AND completed_at IS NOT NULL
        """,
        org_id,
    )


async def close(tx: Transaction, org_id: UUID, periods: Sequence[Period], now: datetime) -> None:
    """`periods` are over, and as their calls are."""
    await tx.execute(
        """
        INSERT INTO period_registry AS r (org_id, period_type, period_key, period_start, period_end,
                                          status, computed_at, completed_at)
        SELECT $1, closed.*, 'completed', $6, $6
        FROM unnest($2::text[], $3::text[], $4::date[], $5::date[]) AS closed
        ON CONFLICT (org_id, period_type, period_key) DO UPDATE SET status = 'completed',
            completed_at = coalesce(r.completed_at, $6)
        """,
        org_id,
        [period.type for period in periods],
        [period.key for period in periods],
        [period.start for period in periods],
        [period.end for period in periods],
        now,
    )


async def days(tx: Transaction, org_id: UUID, before: date) -> Mapping[date, int]:
    """Every day before `before` that has calls, of those that are counted, and how many."""
    rows = await tx.fetch(
        """
        SELECT call_date, sum(calls)::bigint AS calls FROM (
            SELECT call_date, count(*) AS calls FROM call_record_enriched
            WHERE org_id = $1 AND call_date < $2 GROUP BY call_date
            UNION ALL
            SELECT call_date, -sum(sign) FROM portrait_change
            WHERE org_id = $1 AND call_date < $2 GROUP BY call_date
        ) AS both_of GROUP BY call_date
        """,
        org_id,
        before,
    )
    return {row["call_date"]: row["calls"] for row in rows}


async def registered(
    tx: Transaction, org_id: UUID, period_type: PeriodType
) -> Mapping[str, Registered]:
    """Every period that was ever computed or begun, by its key."""
    rows = await tx.fetch(
        """
        SELECT period_key, status, r.computed_at, coalesce(total_calls, 0) AS calls,
               total_calls IS NULL OR customers IS NOT NULL AS whole
        FROM period_registry r LEFT JOIN period_summary s USING (org_id, period_type, period_key)
        WHERE org_id = $1 AND period_type = $2
        """,
        org_id,
        period_type,
    )
    return {
        row["period_key"]: Registered(row["status"], row["computed_at"], row["calls"], row["whole"])
        for row in rows
    }
