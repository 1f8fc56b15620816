"""The queries of the portrait service, but for those of computations (computing/)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import CUSTOMER, DIMENSIONS, Subject
from ai_services.portrait.figures import COLUMNS, Figures
from ai_services.portrait.history.significance import Moments
from ai_services.portrait.period import PeriodType, of_date
from shared.data_access.ports import Row, Transaction

_FIGURES: Final = ", ".join(COLUMNS)
_OF_SUBJECT: Final = {
    whose: f"""
        SELECT period_key, computed_at, analysed_calls, degraded_calls, {_FIGURES} FROM {whose.snapshots}
        WHERE org_id = $1 AND {whose.column} = $2 AND period_type = $3
          AND period_key = ANY($4::text[])
        """  # noqa: S608 - constants only
    for whose in DIMENSIONS
}
_NEWEST_FIRST: Final = {
    whose: f"""
        SELECT period_key, computed_at, analysed_calls, degraded_calls, {_FIGURES} FROM {whose.snapshots}
        WHERE org_id = $1 AND {whose.column} = $2 AND period_type = $3
          AND ($4::text IS NULL OR period_key < $4)
        ORDER BY period_key DESC LIMIT $5
        """  # noqa: S608 - constants only
    for whose in DIMENSIONS
    if whose is not CUSTOMER
}
# Of connected calls, whose duration, turns and scores are summed. `started_at` bounds what an index
# reads, a day more for any time zone.
_MOMENTS: Final = """
    SELECT count(*) AS calls,
           avg(duration_ms / 1000.0)::float8 AS avg_duration,
           var_samp(duration_ms / 1000.0)::float8 AS avg_duration_variance,
           avg(rounds)::float8 AS avg_rounds, var_samp(rounds)::float8 AS avg_rounds_variance,
           count(sentiment_score) AS scored, avg(sentiment_score) AS avg_sentiment_score,
           var_samp(sentiment_score) AS avg_sentiment_score_variance
    FROM call_record_enriched
    WHERE org_id = $1 AND call_date BETWEEN $2 AND $3 AND call_status = 'connected'
      AND started_at >= ($2::date - 1)::timestamp AT TIME ZONE 'UTC'
      AND started_at < ($3::date + 2)::timestamp AT TIME ZONE 'UTC'
    """
_MOMENTS_OF: Final = {whose: f"{_MOMENTS} AND {whose.column} = $4" for whose in DIMENSIONS}
_NEWEST: Final = {
    whose: f"""
        SELECT max(period_key) FROM {whose.snapshots}
        WHERE org_id = $1 AND {whose.column} = $2 AND period_type = $3
        """  # noqa: S608 - constants only
    for whose in DIMENSIONS
}
# By their calls, who are few and have an index by customer, which snapshots have not.
_CUSTOMERS_DAYS: Final = """
SELECT DISTINCT call_date FROM call_record_enriched WHERE org_id = $1 AND customer_id = $2
"""
_CUSTOMERS_NEWEST: Final = """
SELECT max(period_key) FROM customer_portrait_snapshot
WHERE org_id = $1 AND customer_id = $2 AND period_type = $3 AND period_key = ANY($4::text[])
"""


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


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The figures of a subject in one period; `as_of` is when they last changed.

    Of the connected calls so many are `analysed`, and `degraded`: a model was to judge them, and hasn't.
    """

    figures: Figures
    as_of: datetime
    analysed: int
    degraded: int


async def snapshots_of_periods(
    tx: Transaction, org_id: UUID, subject: Subject, period_type: PeriodType, keys: Sequence[str]
) -> dict[str, Snapshot]:
    """period_key → the subject's snapshot, of those of `keys` in which there is one."""
    query = _OF_SUBJECT[subject.dimension]
    return _snapshots(await tx.fetch(query, org_id, subject.id, period_type, list(keys)))


async def snapshots_before(
    tx: Transaction,
    org_id: UUID,
    subject: Subject,
    period_type: PeriodType,
    before: str | None,
    limit: int,
) -> dict[str, Snapshot]:
    """period_key → the subject's snapshot, newest first, of periods before `before`; None: of all."""
    if subject.dimension is not CUSTOMER:
        query = _NEWEST_FIRST[subject.dimension]
        rows = await tx.fetch(query, org_id, subject.id, period_type, before, limit)
        return _snapshots(rows)
    keys = await _keys_of_customer(tx, org_id, subject.id, period_type)
    wanted = [key for key in keys if before is None or key < before]
    found = await snapshots_of_periods(tx, org_id, subject, period_type, wanted)
    return {key: found[key] for key in sorted(found, reverse=True)[:limit]}


async def _keys_of_customer(
    tx: Transaction, org_id: UUID, customer_id: str, period_type: PeriodType
) -> set[str]:
    """Of the periods in which the customer has calls."""
    days = await tx.fetch(_CUSTOMERS_DAYS, org_id, customer_id)
    return {of_date(period_type, row["call_date"]).key for row in days}


def _snapshots(rows: Sequence[Row]) -> dict[str, Snapshot]:
    return {row["period_key"]: _snapshot(row) for row in rows}


def _snapshot(row: Row) -> Snapshot:
    return Snapshot(
        Figures.of(row), row["computed_at"], row["analysed_calls"], row["degraded_calls"]
    )


async def moments(
    tx: Transaction, org_id: UUID, subject: Subject, first: date, last: date
) -> dict[str, Moments]:
    """Mean → moments over the subject's connected calls of these days, where there are two or more."""
    query = _MOMENTS_OF[subject.dimension]
    row = await tx.fetchrow(query, org_id, first, last, subject.id)
    assert row is not None, "an aggregate without groups is one row"
    counts = {"avg_duration": "calls", "avg_rounds": "calls", "avg_sentiment_score": "scored"}
    return {
        mean: Moments(row[count], row[mean], row[f"{mean}_variance"])
        for mean, count in counts.items()
        if row[count] >= 2
    }


async def newest_of(
    tx: Transaction, org_id: UUID, subject: Subject, period_type: PeriodType
) -> str | None:
    """Key of the newest period in which the subject has a snapshot."""
    values = (org_id, subject.id, period_type)
    key: str | None
    if subject.dimension is CUSTOMER:
        keys = await _keys_of_customer(tx, org_id, subject.id, period_type)
        key = await tx.fetchval(_CUSTOMERS_NEWEST, *values, list(keys))
    else:
        key = await tx.fetchval(_NEWEST[subject.dimension], *values)
    return key


async def standing(tx: Transaction, org_id: UUID, customer_id: str) -> str | None:
    """Under whom a customer's calls are: itself, or whom it was merged into; None where there is no call,
    because it never was, or was erased a moment ago.

    Each is looked for by what the index can be asked: behind row-level security that is no `coalesce`.
    """
    found: str | None = await tx.fetchval(
        """
        SELECT coalesce(a.survivor, $2) FROM (VALUES ($2)) AS asked (customer_id)
        LEFT JOIN customer_alias a ON a.org_id = $1 AND a.customer_id = $2
        WHERE EXISTS (SELECT FROM call_record_enriched c
                      WHERE c.org_id = $1 AND c.customer_id = a.survivor)
            OR a.survivor IS NULL AND EXISTS (SELECT FROM call_record_enriched c
                                              WHERE c.org_id = $1 AND c.customer_id = $2)
        """,
        org_id,
        customer_id,
    )
    return found


@dataclass(frozen=True, slots=True)
class Sums:
    """The figures of all users of an organisation in one period, and how many they are."""

    users: int
    figures: Figures
    as_of: datetime | None = None  # when they last changed; the rest as of a Snapshot
    analysed: int = 0
    degraded: int = 0


async def summaries_before(
    tx: Transaction, org_id: UUID, period_type: PeriodType, before: str | None, limit: int
) -> dict[str, Sums]:
    """period_key → sums, newest first, of periods before `before`; None: of all."""
    rows = await tx.fetch(
        f"""
        SELECT period_key, users, computed_at, analysed_calls, degraded_calls, {_FIGURES} FROM period_summary
        WHERE org_id = $1 AND period_type = $2 AND ($3::text IS NULL OR period_key < $3)
        ORDER BY period_key DESC LIMIT $4
        """,  # noqa: S608 - column names of Figures
        org_id,
        period_type,
        before,
        limit,
    )
    return _sums(rows)


def _sums(rows: Sequence[Row]) -> dict[str, Sums]:
    return {
        row["period_key"]: Sums(
            row["users"],
            Figures.of(row),
            row["computed_at"],
            row["analysed_calls"],
            row["degraded_calls"],
        )
        for row in rows
    }


async def summaries(
    tx: Transaction, org_id: UUID, period_type: PeriodType, first: str, last: str
) -> dict[str, Sums]:
    """period_key → sums, from key `first` to key `last`, where there are calls."""
    rows = await tx.fetch(
        f"""
        SELECT period_key, users, computed_at, analysed_calls, degraded_calls, {_FIGURES} FROM period_summary
        WHERE org_id = $1 AND period_type = $2 AND period_key BETWEEN $3 AND $4
        """,  # noqa: S608 - column names of Figures
        org_id,
        period_type,
        first,
        last,
    )
    return _sums(rows)


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


async def snapshots_of_users(
    tx: Transaction,
    org_id: UUID,
    period_type: PeriodType,
    period_key: str,
    users: Sequence[str],
) -> list[tuple[str, Figures]]:
    """(user, figures) of those of `users` that have a snapshot in the period."""
    rows = await tx.fetch(
        f"""
        SELECT user_id, {_FIGURES} FROM user_portrait_snapshot
        WHERE org_id = $1 AND period_type = $2 AND period_key = $3 AND user_id = ANY($4::text[])
        """,  # noqa: S608 - column names of Figures
        org_id,
        period_type,
        period_key,
        users,
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


async def portraits_kept(tx: Transaction) -> list[tuple[UUID, int]]:
    """Organisations with the number of their portraits, most first; needs a system transaction."""
    rows = await tx.fetch(
        """SELECT org_id, sum(users)::bigint AS portraits FROM period_summary
           GROUP BY org_id ORDER BY portraits DESC, org_id"""
    )
    return [(row["org_id"], row["portraits"]) for row in rows]
