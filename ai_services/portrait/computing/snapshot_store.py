"""The statements that bring all snapshots of a set of periods up to date, one for each dimension.

One pass over the calls of the range, grouped by subject and period; what differs from the
stored snapshots is written, snapshots whose calls are gone are deleted, and the sums over all users
and the number of customers are kept beside them. Nothing that is compared depends on the order in
which rows are read, so a second run over the same calls writes nothing.

Calls of which the change log still holds something are taken as they were when they were last
counted (`tally.STANDING`): each statement sees calls, log and snapshots at one moment, and what is left
in the log is added later, by whoever holds the organisation's turn.

The text is put together from the constants below, never from input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from ai_services.portrait.dimension import AGENT, CUSTOMER, DIMENSIONS, TASK, USER, Dimension
from ai_services.portrait.law.tally import (
    ADDITIVE,
    AMOUNTS,
    AS_STORED,
    FOLLOWING,
    FOLLOWING_SUMS,
    STANDING,
    START_OF,
    SUMS,
    derived,
    listed,
)
from ai_services.portrait.period import PERIOD_TYPES, Period, PeriodType
from shared.data_access.ports import Transaction

_SNAPSHOT: Final = ("period_start", "period_end", *ADDITIVE, *FOLLOWING)
_SUMMARY: Final = ("users", *ADDITIVE, *FOLLOWING_SUMS)
_FOLLOWING: Final = ", ".join(f"{derived(what)} AS {column}" for column, what in FOLLOWING.items())
_FOLLOWING_SUMS: Final = ", ".join(
    f"{derived(what)} AS {column}" for column, what in FOLLOWING_SUMS.items()
)


# The part that the dimensions have in common: the law itself, for a share of the subjects.
# $1 organisation, $2 type, $3–$5 keys, starts, ends, $6–$7 first and last day, $8 the time; of customers
# the $10th of $9 shares.
_SHARE: Final = {
    **dict.fromkeys(DIMENSIONS, "true"),
    CUSTOMER: "mod(abs(hashtext(customer_id)::bigint), $9) = $10",
}
_LAW: Final = {
    (whose, period_type): f"""
WITH wanted AS (
    SELECT * FROM unnest($3::text[], $4::date[], $5::date[])
        AS wanted (period_key, period_start, period_end)
), tally AS (
    SELECT {whose.column}, period_start, {SUMS}
    FROM (SELECT {whose.column}, {START_OF[period_type]} AS period_start, {AMOUNTS}
          FROM ({STANDING}) AS calls WHERE {whose.column} IS NOT NULL AND {_SHARE[whose]}) AS added
    GROUP BY 1, 2 HAVING sum(total_calls) <> 0
), stored AS (
    SELECT {whose.column}, period_key, period_start, period_end, {AS_STORED}
    FROM tally JOIN wanted USING (period_start)
), fresh AS (
    SELECT *, {_FOLLOWING} FROM stored
), changed AS (
    INSERT INTO {whose.snapshots} AS s (
        org_id, period_type, {whose.column}, period_key, computed_at, {listed(_SNAPSHOT)})
    SELECT $1, $2, f.{whose.column}, f.period_key, $8::timestamptz, {listed(_SNAPSHOT, "f.{}")}
    FROM fresh f LEFT JOIN {whose.snapshots} s
        ON s.org_id = $1 AND s.period_type = $2
        AND s.period_key = ANY($3) AND s.period_key = f.period_key AND s.{whose.column} = f.{whose.column}
    WHERE ({listed(_SNAPSHOT, "s.{}")}) IS DISTINCT FROM ({listed(_SNAPSHOT, "f.{}")})
    ON CONFLICT (org_id, period_type, period_key, {whose.column}) DO UPDATE
        SET computed_at = excluded.computed_at, {listed(_SNAPSHOT, "{0} = excluded.{0}")}
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
_COUNTS: Final = [column for column in ADDITIVE if column != "total_duration"]


@cache
def _of_users(period_type: PeriodType) -> str:
    """Their snapshots, and the sums over them."""
    return f"""
{_LAW[USER, period_type]}, sums AS (
    SELECT period_key, count(*) AS users, {listed(_COUNTS, "sum({0})::bigint AS {0}")},
           sum(total_duration) AS total_duration
    FROM stored GROUP BY period_key
), summary AS (
    SELECT *, {_FOLLOWING_SUMS} FROM sums
), summarised AS (
    INSERT INTO period_summary AS s (
        org_id, period_type, period_key, computed_at, {listed(_SUMMARY)})
    SELECT $1, $2, period_key, $8::timestamptz, {listed(_SUMMARY)} FROM summary
    ON CONFLICT (org_id, period_type, period_key) DO UPDATE
        SET computed_at = excluded.computed_at, {listed(_SUMMARY, "{0} = excluded.{0}")}
        WHERE ({listed(_SUMMARY, "s.{}")}) IS DISTINCT FROM ({listed(_SUMMARY, "excluded.{}")})
    RETURNING s.period_key
), emptied AS (
    DELETE FROM period_summary s USING wanted w
    WHERE s.org_id = $1 AND s.period_type = $2 AND s.period_key = w.period_key
        AND NOT EXISTS (SELECT FROM summary WHERE summary.period_key = s.period_key)
    RETURNING s.period_key
)
SELECT period_key, coalesce(users, 0) AS snapshots, coalesce(rows, 0) AS changed,
       coalesce(ids, '{{}}') AS removed, coalesce(total_calls, 0) AS calls,
       coalesce(rows, 0) + coalesce(cardinality(ids), 0)
           + (SELECT count(*) FROM summarised one WHERE one.period_key = wanted.period_key)
           + (SELECT count(*) FROM emptied one WHERE one.period_key = wanted.period_key) AS wrong
FROM wanted
LEFT JOIN summary USING (period_key)
LEFT JOIN (SELECT period_key, count(*) AS rows FROM changed GROUP BY 1) c USING (period_key)
LEFT JOIN (SELECT period_key, array_agg(user_id) AS ids FROM removed GROUP BY 1) r
    USING (period_key)
ORDER BY period_key
"""  # noqa: S608 - constants only


@cache
def _of_others(whose: Dimension, period_type: PeriodType) -> str:
    """Those of one dimension, of customers one share: how many there are, and how many were wrong."""
    return f"""
{_LAW[whose, period_type]}
SELECT period_key, count(*) FILTER (WHERE place = 'fresh') AS subjects,
       count(*) FILTER (WHERE place = 'wrong') AS wrong
FROM (SELECT period_key, 'fresh' AS place FROM fresh
      UNION ALL SELECT period_key, 'wrong' FROM changed
      UNION ALL SELECT period_key, 'wrong' FROM removed) AS counted
GROUP BY period_key
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
    wrong: int  # rows of all dimensions that were not what they are now


async def plan_for_many(tx: Transaction) -> None:
    """Let the statements of this transaction be planned for as many rows as they have."""
    await tx.execute(_PLANNING)


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
    await plan_for_many(tx)
    values = _values(org_id, period_type, periods, now)
    rows = await tx.fetch(_of_users(period_type), *values)
    found = [Recomputed(**row) for row in rows]
    calls = {one.period_key: one.calls for one in found}
    wrong = {one.period_key: one.wrong for one in found}
    for whose in (TASK, AGENT):
        for row in await tx.fetch(_of_others(whose, period_type), *values):
            wrong[row["period_key"]] += row["wrong"]
    customers = dict.fromkeys(calls, 0)
    for some, shares in _parts(periods, calls, at_once):
        values = _values(org_id, period_type, some, now)
        for share in range(shares):
            for row in await tx.fetch(_of_others(CUSTOMER, period_type), *values, shares, share):
                customers[row["period_key"]] += row["subjects"]
                wrong[row["period_key"]] += row["wrong"]
    await tx.execute(
        _COUNT_CUSTOMERS, org_id, period_type, list(customers), list(customers.values())
    )
    return [replace(one, wrong=wrong[one.period_key]) for one in found]


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
