"""The queries of the portrait service, but for the recomputation (snapshot_store.py).

Computations of one organisation and period type take turns by an advisory lock that lives as
long as the transaction, so a killed process holds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from ai_services.portrait.figures import COLUMNS, Figures
from ai_services.portrait.period import Period, PeriodType
from shared.data_access.ports import Row, Transaction

_FIGURES: Final = ", ".join(COLUMNS)


# Computing: whose turn it is, which periods, what state they are in.


async def try_turn(tx: Transaction, org_id: UUID, period_type: PeriodType) -> bool:
    """Whether nobody computes these periods now; if so, they are ours for this transaction."""
    return bool(
        await tx.fetchval(
            "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", _turn(org_id, period_type)
        )
    )


async def await_turn(tx: Transaction, org_id: UUID, period_type: PeriodType) -> None:
    """Wait until nobody computes these periods and make them ours for this transaction.

    Someone else's turn lasts as long as a statement may.
    """
    await tx.execute("SET LOCAL lock_timeout = '55s'")
    await tx.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", _turn(org_id, period_type)
    )


def _turn(org_id: UUID, period_type: PeriodType) -> str:
    return f"portrait:{org_id}:{period_type}"


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
) -> list[str]:
    """Mark `periods` as computing; returns the keys of all that are now.

    More than were asked for, if a computation died: whoever has the turn takes over its periods.
    """
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
            status = CASE WHEN period_end < $4 THEN 'completed' ELSE 'pending' END
        WHERE org_id = $1 AND period_type = $2 AND period_key = ANY($3::text[])
        """,
        org_id,
        period_type,
        keys,
        today,
        now,
    )


# Reading.


async def registered_periods(
    tx: Transaction, org_id: UUID, period_type: PeriodType, limit: int
) -> list[Row]:
    """period_key and status, newest first."""
    return await tx.fetch(
        """
        SELECT period_key, status FROM period_registry
        WHERE org_id = $1 AND period_type = $2 ORDER BY period_key DESC LIMIT $3
        """,
        org_id,
        period_type,
        limit,
    )


async def is_registered(
    tx: Transaction, org_id: UUID, period_type: PeriodType, period_key: str
) -> bool:
    return bool(
        await tx.fetchval(
            """
            SELECT EXISTS (SELECT FROM period_registry
                           WHERE org_id = $1 AND period_type = $2 AND period_key = $3)
            """,
            org_id,
            period_type,
            period_key,
        )
    )


async def user_figures(
    tx: Transaction, org_id: UUID, user_id: str, period_type: PeriodType, first: str, last: str
) -> dict[str, Figures]:
    """period_key → the user's figures, from key `first` to key `last`, where there are any."""
    rows = await tx.fetch(
        f"""
        SELECT period_key, {_FIGURES} FROM user_portrait_snapshot
        WHERE org_id = $1 AND user_id = $2 AND period_type = $3 AND period_key BETWEEN $4 AND $5
        """,  # noqa: S608 - column names of Figures
        org_id,
        user_id,
        period_type,
        first,
        last,
    )
    return {row["period_key"]: Figures.of(row) for row in rows}


async def newest_of_user(
    tx: Transaction, org_id: UUID, user_id: str, period_type: PeriodType
) -> str | None:
    """Key of the newest period in which the user has a snapshot."""
    key: str | None = await tx.fetchval(
        """
        SELECT max(period_key) FROM user_portrait_snapshot
        WHERE org_id = $1 AND user_id = $2 AND period_type = $3
        """,
        org_id,
        user_id,
        period_type,
    )
    return key


@dataclass(frozen=True, slots=True)
class Sums:
    """The figures of all users of an organisation in one period, and how many they are."""

    users: int
    figures: Figures


async def summaries(
    tx: Transaction, org_id: UUID, period_type: PeriodType, first: str, last: str
) -> dict[str, Sums]:
    """period_key → sums, from key `first` to key `last`, where there are calls."""
    rows = await tx.fetch(
        f"""
        SELECT period_key, users, {_FIGURES} FROM period_summary
        WHERE org_id = $1 AND period_type = $2 AND period_key BETWEEN $3 AND $4
        """,  # noqa: S608 - column names of Figures
        org_id,
        period_type,
        first,
        last,
    )
    return {row["period_key"]: Sums(row["users"], Figures.of(row)) for row in rows}


async def summarised_range(
    tx: Transaction, org_id: UUID, period_type: PeriodType
) -> tuple[str, str] | None:
    """Keys of the oldest and the newest period with calls; None if there are none."""
    row = await tx.fetchrow(
        """
        SELECT min(period_key) AS oldest, max(period_key) AS newest FROM period_summary
        WHERE org_id = $1 AND period_type = $2
        """,
        org_id,
        period_type,
    )
    return None if row is None or row["oldest"] is None else (row["oldest"], row["newest"])


# For the projection.


async def snapshots_of(
    tx: Transaction,
    org_id: UUID,
    period_type: PeriodType,
    period_key: str,
    *,
    after: str,
    limit: int,
) -> list[tuple[str, Figures]]:
    """A page of (user, figures) of one period, by user, from behind `after` ('' = the first)."""
    rows = await tx.fetch(
        f"""
        SELECT user_id, {_FIGURES} FROM user_portrait_snapshot
        WHERE org_id = $1 AND period_type = $2 AND period_key = $3 AND user_id > $4
        ORDER BY user_id LIMIT $5
        """,  # noqa: S608 - column names of Figures
        org_id,
        period_type,
        period_key,
        after,
        limit,
    )
    return [(row["user_id"], Figures.of(row)) for row in rows]


async def users_of(
    tx: Transaction,
    org_id: UUID,
    period_type: PeriodType,
    period_key: str,
    users: Sequence[str],
) -> set[str]:
    """Those of `users` that have a snapshot in the period."""
    rows = await tx.fetch(
        """
        SELECT user_id FROM user_portrait_snapshot
        WHERE org_id = $1 AND period_type = $2 AND period_key = $3 AND user_id = ANY($4::text[])
        """,
        org_id,
        period_type,
        period_key,
        users,
    )
    return {row["user_id"] for row in rows}


async def summarised_keys(
    tx: Transaction, org_id: UUID, period_type: PeriodType
) -> list[tuple[str, int]]:
    """(key, number of snapshots) of every period with calls, oldest first."""
    rows = await tx.fetch(
        """
        SELECT period_key, users FROM period_summary
        WHERE org_id = $1 AND period_type = $2 ORDER BY period_key
        """,
        org_id,
        period_type,
    )
    return [(row["period_key"], row["users"]) for row in rows]


# What there is, all periods together.


async def totals(tx: Transaction, org_id: UUID) -> Row:
    """Periods that are computed, and portraits."""
    row = await tx.fetchrow(
        """SELECT (SELECT count(*) FROM period_registry
                   WHERE org_id = $1 AND status = 'completed') AS periods,
                  (SELECT count(*) FROM user_portrait_snapshot WHERE org_id = $1) AS portraits""",
        org_id,
    )
    assert row is not None, "a SELECT without FROM returns a row"
    return row


async def last_computed(tx: Transaction, org_id: UUID) -> datetime | None:
    """When a period was last computed; None if none ever was."""
    computed: datetime | None = await tx.fetchval(
        "SELECT max(computed_at) FROM period_registry WHERE org_id = $1", org_id
    )
    return computed


async def busiest_user(tx: Transaction, org_id: UUID) -> str | None:
    """The user with most calls in the newest quarter; None without portraits."""
    user: str | None = await tx.fetchval(
        """SELECT user_id FROM user_portrait_snapshot WHERE org_id = $1 AND period_type = 'quarter'
           ORDER BY period_key DESC, total_calls DESC, user_id LIMIT 1""",
        org_id,
    )
    return user
