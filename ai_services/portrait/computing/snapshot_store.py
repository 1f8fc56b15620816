"""The statements that bring all snapshots of a set of periods up to date, one for each dimension.

One pass over the calls of the range, grouped by user, or customer, and period; what differs from the
stored snapshots is written, snapshots whose calls are gone are deleted, and the sums over all users
and the number of customers are kept beside them. Nothing that is compared depends on the order in which rows are read
(sentiment scores are added as integers of 2^-40, an error below 1e-12 each), so a second run
over the same calls writes nothing.

The text is put together from the constants below, never from input.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from ai_services.portrait.dimension import CUSTOMER, DIMENSIONS, USER
from ai_services.portrait.figures import COLUMNS, COUNTS
from ai_services.portrait.period import PERIOD_TYPES, Period, PeriodType
from shared.calls import (
    CONNECTED,
    FAIL_REASONS,
    HANGUP_CUSTOMER,
    HANGUP_ROBOT,
    INTENTION_LEVELS,
    RISKS,
    SENTIMENTS,
)
from shared.data_access.ports import Transaction

# 0001-01-01 is a Monday. Integer steps from it: several times faster than date_trunc per row.
_START_OF: Final[dict[PeriodType, str]] = {
    "week": "date '0001-01-01' + (call_date - date '0001-01-01') / 7 * 7",
    "month": "date_trunc('month', call_date::timestamp)::date",
    "quarter": "date_trunc('quarter', call_date::timestamp)::date",
}

_CONNECTED: Final = f"call_status = '{CONNECTED}'"
_SCORE_UNIT: Final = 2**40

# The facts of connected calls that are counted.
_CONDITIONS: Final[dict[str, str]] = {
    **{f"level_{level.lower()}_count": f"level_name = '{level}'" for level in INTENTION_LEVELS},
    "robot_hangup_count": f"hangup_by = {HANGUP_ROBOT}",
    "user_hangup_count": f"hangup_by = {HANGUP_CUSTOMER}",
    **{f"{mood}_count": f"sentiment = '{mood}'" for mood in SENTIMENTS},
    **{
        f"{level}_{risk}_risk": f"{risk}_risk = '{level}'"
        for risk in ("complaint", "churn")
        for level in RISKS
    },
    "scored_calls": "sentiment_score IS NOT NULL",
}


def _list(columns: Iterable[str], form: str = "{}") -> str:
    return ", ".join(form.format(column) for column in columns)


_SUMS: Final = {
    "duration_ms": "duration_ms",
    "total_rounds": "rounds",
    "score_units": f"(sentiment_score * {_SCORE_UNIT})::bigint",
}
_TALLIES: Final = ",\n           ".join(
    [
        "count(*) AS total_calls",
        f"count(*) FILTER (WHERE {_CONNECTED}) AS connected_calls",
        *(
            f"coalesce(sum({amount}) FILTER (WHERE {_CONNECTED}), 0) AS {column}"
            for column, amount in _SUMS.items()
        ),
        *(
            f"count(*) FILTER (WHERE {_CONNECTED} AND {condition}) AS {column}"
            for column, condition in _CONDITIONS.items()
        ),
        *(
            f"count(*) FILTER (WHERE call_status = '{reason}') AS {reason}"
            for reason in FAIL_REASONS
        ),
    ]
)
_REASONS: Final = _list(FAIL_REASONS, "'{0}', nullif({0}, 0)")
_REASON_SUMS: Final = _list(FAIL_REASONS, "'{0}', nullif(sum({0}), 0)")
_DERIVED: Final = ("connect_rate", "avg_duration", "avg_rounds", "avg_sentiment_score")
_SNAPSHOT: Final = ("period_start", "period_end", *COLUMNS, *_DERIVED)
_SUMMARY: Final = ("users", *COLUMNS)


# The part that the dimensions have in common: the law itself, for a share of the subjects.
# $1 organisation, $2 type, $3–$5 keys, starts, ends, $6–$7 first and last day, $8 the time; of customers
# the $10th of $9 shares.
_SHARE: Final = {USER: "true", CUSTOMER: "mod(abs(hashtext(customer_id)::bigint), $9) = $10"}
_LAW: Final = {
    (whose, period_type): f"""
WITH wanted AS (
    SELECT * FROM unnest($3::text[], $4::date[], $5::date[])
        AS wanted (period_key, period_start, period_end)
), tally AS (
    SELECT {whose.column}, {_START_OF[period_type]} AS period_start,
           {_TALLIES}
    FROM call_record_enriched
    WHERE org_id = $1 AND call_date BETWEEN $6 AND $7 AND {whose.column} IS NOT NULL
        AND {_SHARE[whose]}
    GROUP BY 1, 2
), fresh AS (
    SELECT {whose.column}, period_key, period_start, period_end, {_list(COUNTS)},
           duration_ms, score_units, {_list(FAIL_REASONS)},
           (duration_ms / 1000.0)::numeric(20, 3) AS total_duration,
           score_units::float8 / {_SCORE_UNIT} AS sentiment_score_sum,
           jsonb_strip_nulls(jsonb_build_object({_REASONS})) AS fail_reason_dist,
           connected_calls::float8 / total_calls AS connect_rate,
           duration_ms::float8 / 1000 / nullif(connected_calls, 0) AS avg_duration,
           total_rounds::float8 / nullif(connected_calls, 0) AS avg_rounds,
           score_units::float8 / {_SCORE_UNIT} / nullif(scored_calls, 0) AS avg_sentiment_score
    FROM tally JOIN wanted USING (period_start)
), changed AS (
    INSERT INTO {whose.snapshots} AS s (
        org_id, period_type, {whose.column}, period_key, computed_at, {_list(_SNAPSHOT)})
    SELECT $1, $2, f.{whose.column}, f.period_key, $8::timestamptz, {_list(_SNAPSHOT, "f.{}")}
    FROM fresh f LEFT JOIN {whose.snapshots} s
        ON s.org_id = $1 AND s.period_type = $2
        AND s.period_key = ANY($3) AND s.period_key = f.period_key AND s.{whose.column} = f.{whose.column}
    WHERE ({_list(_SNAPSHOT, "s.{}")}) IS DISTINCT FROM ({_list(_SNAPSHOT, "f.{}")})
    ON CONFLICT (org_id, period_type, period_key, {whose.column}) DO UPDATE
        SET computed_at = excluded.computed_at, {_list(_SNAPSHOT, "{0} = excluded.{0}")}
    RETURNING s.period_key
), removed AS (
    DELETE FROM {whose.snapshots} s USING wanted w
    WHERE s.org_id = $1 AND s.period_type = $2
        AND s.period_key = ANY($3) AND s.period_key = w.period_key
        AND {_SHARE[whose]}
        AND NOT EXISTS (SELECT FROM tally t
                        WHERE t.{whose.column} = s.{whose.column} AND t.period_start = w.period_start)
    RETURNING s.period_key, s.{whose.column}
)"""  # noqa: S608 - constants only
    for whose in DIMENSIONS
    for period_type in PERIOD_TYPES
}


@cache
def _of_users(period_type: PeriodType) -> str:
    """Their snapshots, and the sums over them."""
    return f"""
{_LAW[USER, period_type]}, summary AS (
    SELECT period_key, count(*) AS users, {_list(COUNTS, "sum({0})::bigint AS {0}")},
           sum(total_duration) AS total_duration,
           sum(score_units)::float8 / {_SCORE_UNIT} AS sentiment_score_sum,
           jsonb_strip_nulls(jsonb_build_object({_REASON_SUMS})) AS fail_reason_dist
    FROM fresh GROUP BY period_key
), summarised AS (
    INSERT INTO period_summary AS s (
        org_id, period_type, period_key, computed_at, {_list(_SUMMARY)})
    SELECT $1, $2, period_key, $8::timestamptz, {_list(_SUMMARY)} FROM summary
    ON CONFLICT (org_id, period_type, period_key) DO UPDATE
        SET computed_at = excluded.computed_at, {_list(_SUMMARY, "{0} = excluded.{0}")}
        WHERE ({_list(_SUMMARY, "s.{}")}) IS DISTINCT FROM ({_list(_SUMMARY, "excluded.{}")})
), emptied AS (
    DELETE FROM period_summary s USING wanted w
    WHERE s.org_id = $1 AND s.period_type = $2 AND s.period_key = w.period_key
        AND NOT EXISTS (SELECT FROM summary WHERE summary.period_key = s.period_key)
)
SELECT period_key, coalesce(users, 0) AS snapshots, coalesce(rows, 0) AS changed,
       coalesce(ids, '{{}}') AS removed, coalesce(total_calls, 0) AS calls
FROM wanted
LEFT JOIN summary USING (period_key)
LEFT JOIN (SELECT period_key, count(*) AS rows FROM changed GROUP BY 1) c USING (period_key)
LEFT JOIN (SELECT period_key, array_agg(user_id) AS ids FROM removed GROUP BY 1) r
    USING (period_key)
ORDER BY period_key
"""  # noqa: S608 - constants only


@cache
def _of_customers(period_type: PeriodType) -> str:
    """Those of one share of customers, and how many they are."""
    return f"""
{_LAW[CUSTOMER, period_type]}
SELECT period_key, count(*) AS customers FROM fresh GROUP BY period_key
"""  # noqa: S608 - constants only


_COUNT_CUSTOMERS: Final = """
UPDATE period_summary s SET customers = counted.customers
FROM unnest($3::text[], $4::bigint[]) AS counted (period_key, customers)
WHERE s.org_id = $1 AND s.period_type = $2 AND s.period_key = counted.period_key
    AND s.customers IS DISTINCT FROM counted.customers
"""
_AT_ONCE: Final = 500_000  # calls of a statement: customers may be as many, and it has a minute


# The groups of a year fit into 128 MB; with the default they would go through temporary files.
# A nested loop over ten thousands of snapshots, which a planner without fresh statistics
# chooses, takes minutes where the hash join takes milliseconds. Compiling costs more than it saves.
_PLANNING: Final = """
SELECT set_config('work_mem', '128MB', true), set_config('enable_nestloop', 'off', true),
       set_config('jit', 'off', true)
"""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What one period holds of users now, how many snapshots are new or differ, and whose went away;
    and how many calls it has.
    """

    period_key: str
    snapshots: int
    changed: int
    removed: Sequence[str]
    calls: int


async def recompute(
    tx: Transaction,
    org_id: UUID,
    period_type: PeriodType,
    periods: Sequence[Period],
    now: datetime,
    *,
    at_once: int = _AT_ONCE,
) -> list[Recomputed]:
    """Make the snapshots of `periods` (one type, at least one, in order) equal to a full recomputation.

    Customers of about `at_once` calls are computed by one statement.
    """
    await tx.execute(_PLANNING)
    values = _values(org_id, period_type, periods, now)
    rows = await tx.fetch(_of_users(period_type), *values)
    found = [Recomputed(**row) for row in rows]
    calls = {one.period_key: one.calls for one in found}
    customers = dict.fromkeys(calls, 0)
    for some, shares in _parts(periods, calls, at_once):
        values = _values(org_id, period_type, some, now)
        for share in range(shares):
            for row in await tx.fetch(_of_customers(period_type), *values, shares, share):
                customers[row["period_key"]] += row["customers"]
    await tx.execute(
        _COUNT_CUSTOMERS, org_id, period_type, list(customers), list(customers.values())
    )
    return found


def _values(
    org_id: UUID, period_type: PeriodType, periods: Sequence[Period], now: datetime
) -> Sequence[Any]:
    return (
        org_id,
        period_type,
        [period.key for period in periods],
        [period.start for period in periods],
        [period.end for period in periods],
        min(period.start for period in periods),
        max(period.end for period in periods),
        now,
    )


def _parts(
    periods: Sequence[Period], calls: Mapping[str, int], at_once: int
) -> Iterator[tuple[Sequence[Period], int]]:
    """Runs of periods that have few calls together; and each with many, in so many shares."""
    some: list[Period] = []
    for period in periods:
        if some and sum(calls[one.key] for one in some) + calls[period.key] > at_once:
            yield some, _shares(some, calls, at_once)
            some = []
        some.append(period)
    yield some, _shares(some, calls, at_once)


def _shares(periods: Sequence[Period], calls: Mapping[str, int], at_once: int) -> int:
    return max(1, -(-sum(calls[one.key] for one in periods) // at_once))
