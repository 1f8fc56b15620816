"""The statements that count what happened to calls, batch by batch, in the order of its numbers.

A batch is taken out of the log and added to every portrait that it touches by one statement, so that it
is counted exactly once, whoever is killed when: both are kept, or neither. Batches of an organisation are
counted one at a time (`try_turn`).

Numbers are given while the call is locked, so those of one call are in the order of its commits, and whoever
sees one sees all before it. A batch has the lowest numbers there are; what is
counted of a call is therefore always how it stood at some moment, or nothing, and no sum is ever
below zero, though numbers of other calls may be committed out of order.

The text is put together from constants, never from input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import AGENT, DIMENSIONS, TASK, USER
from ai_services.portrait.law.durations import BUCKET
from ai_services.portrait.law.tally import (
    ADDITIVE,
    AMOUNTS,
    AS_STORED,
    CONNECTED_CALL,
    FOLLOWING,
    FOLLOWING_SUMS,
    START_OF,
    SUMS,
    derived,
    listed,
)
from ai_services.portrait.period import PeriodType
from shared.calls import FAIL_REASONS
from shared.data_access.ports import Row, Transaction

_LOCK: Final = "hashtextextended('portrait/' || $1::uuid::text, 0)"
_TRY: Final = f"SELECT pg_try_advisory_xact_lock({_LOCK})"
_AWAIT: Final = f"SELECT pg_advisory_xact_lock({_LOCK})"
_SHARE: Final = f"SELECT pg_advisory_xact_lock_shared({_LOCK})"

# The subjects that are few: their calls are added up once for all of them, and then by each.
_FEW: Final = (USER, TASK, AGENT)
_KEYS: Final[dict[PeriodType, str]] = {
    "week": """to_char(start, 'IYYY"-W"IW'), start, start + 6""",
    "month": "to_char(start, 'YYYY-MM'), start, (start + interval '1 month')::date - 1",
    "quarter": """to_char(start, 'YYYY"-Q"Q'), start, (start + interval '3 months')::date - 1""",
}
_PERIODS: Final = "\n    UNION ALL ".join(
    f"""SELECT call_date, '{period_type}' AS period_type, {_KEYS[period_type]}
    FROM days, LATERAL (SELECT {START_OF[period_type]} AS start) AS of"""  # noqa: S608 - constants only
    for period_type in _KEYS
)
_SNAPSHOT: Final = (*ADDITIVE, *FOLLOWING)
_NAMED: Final = "number, period_type, period_key, period_start, period_end"


_FOLLOWING: Final = listed(derived(what) for what in FOLLOWING.values())
_FOLLOWING_SUMS: Final = listed(derived(what) for what in FOLLOWING_SUMS.values())
_BOTH: Final = "s.{0} + excluded.{0}"
# Most changes are of no call that failed: what is built for each row costs more than all sums of it.
_NOT_OF_FAILED: Final = " AND ".join(f"excluded.{reason}_count = 0" for reason in FAIL_REASONS)
_SAME_REASONS: Final = f"CASE WHEN {_NOT_OF_FAILED} THEN s.fail_reason_dist ELSE {derived(FOLLOWING['fail_reason_dist'], _BOTH)} END"
_ADD: Final = ", ".join(
    [
        *(f"{column} = {_BOTH.format(column)}" for column in ADDITIVE),
        *(
            f"{column} = {derived(what, _BOTH)}"
            for column, what in FOLLOWING.items()
            if column != "fail_reason_dist"
        ),
        f"fail_reason_dist = {_SAME_REASONS}",
    ]
)
_SOURCE: Final = {whose: "little" if whose in _FEW else "claimed" for whose in DIMENSIONS}
_WHO: Final = {
    whose: ", array_agg(subject) AS changed" if whose is USER else "" for whose in DIMENSIONS
}
# Adds the tally of a dimension to its snapshots; says which are new, and which have nothing left.
_UPSERT: Final = {
    whose: f""", {whose.name}_tally AS (
    SELECT {whose.column}, number, {SUMS}
    FROM {_SOURCE[whose]} JOIN dated USING (call_date) WHERE {whose.column} IS NOT NULL
    GROUP BY 1, 2
), {whose.name}_delta AS (
    SELECT {whose.column}, {_NAMED}, {AS_STORED}
    FROM {whose.name}_tally JOIN periods USING (number)
), {whose.name}_counted AS (
    INSERT INTO {whose.snapshots} AS s (
        org_id, {whose.column}, period_type, period_key, period_start, period_end, computed_at,
        {listed(_SNAPSHOT)})
    SELECT $1, {whose.column}, period_type, period_key, period_start, period_end, now(),
        {listed(ADDITIVE)}, {_FOLLOWING}
    FROM {whose.name}_delta ORDER BY number, {whose.column}
    ON CONFLICT (org_id, period_type, period_key, {whose.column}) DO UPDATE
    SET computed_at = excluded.computed_at, {_ADD}
    RETURNING {whose.column} AS subject, period_type, period_key, xmax = 0 AS new, total_calls = 0 AS gone
), {whose.name}_kept AS (
    SELECT period_type, period_key,
           count(*) FILTER (WHERE new) - count(*) FILTER (WHERE gone) AS more,
           array_agg(subject) FILTER (WHERE gone) AS gone
           {_WHO[whose]}
    FROM {whose.name}_counted GROUP BY 1, 2
)"""  # noqa: S608 - constants only
    for whose in DIMENSIONS
}


# A duration beside what it adds.
_AMOUNTS: Final = AMOUNTS + ", duration_ms AS lasted"
_PLUS: Final = ", ".join(f"coalesce(s.{column}, 0) + d.{column} AS {column}" for column in ADDITIVE)
_GONE: Final = ", ".join(
    f"coalesce({whose.name}_kept.gone, '{{}}') AS {whose.name}_gone" for whose in DIMENSIONS
)
_KEPT: Final = "\n".join(
    f"LEFT JOIN {whose.name}_kept USING (period_type, period_key)" for whose in DIMENSIONS
)
_LASTED: Final = BUCKET.replace("duration_ms", "lasted")
_ALL: Final = "".join(_UPSERT.values())
_SUMMED: Final = (*ADDITIVE, *FOLLOWING_SUMS)
_COUNT: Final = f"""
WITH claimed AS MATERIALIZED (
    DELETE FROM portrait_change
    WHERE org_id = $1 AND seq <= coalesce(
        (SELECT seq FROM portrait_change WHERE org_id = $1 ORDER BY seq OFFSET $2 LIMIT 1),
        9223372036854775807)
    RETURNING user_id, customer_id, task_id, agent_id, call_date, started_at, changed_at,
        {CONNECTED_CALL} AS is_connected, {_AMOUNTS}
), little AS MATERIALIZED (
    SELECT user_id, task_id, agent_id, call_date, {SUMS} FROM claimed GROUP BY 1, 2, 3, 4
), days AS MATERIALIZED (
    SELECT DISTINCT call_date FROM claimed
), numbered AS MATERIALIZED (
    SELECT *, dense_rank() OVER (ORDER BY period_type, period_start) AS number FROM (
    {_PERIODS}) AS of (call_date, period_type, period_key, period_start, period_end)
), dated AS MATERIALIZED (
    SELECT call_date, number FROM numbered
), periods AS MATERIALIZED (
    SELECT DISTINCT {_NAMED} FROM numbered
){_ALL}, together AS (
    SELECT number, {SUMS} FROM little JOIN dated USING (call_date) GROUP BY 1
), sums AS MATERIALIZED (
    SELECT d.period_type, d.period_key, coalesce(s.users, 0) + coalesce(u.more, 0) AS users,
           coalesce(s.customers, 0) + coalesce(c.more, 0) AS customers,
           {_PLUS}
    FROM (SELECT {_NAMED}, {AS_STORED} FROM together JOIN periods USING (number)) AS d
    LEFT JOIN user_kept u ON (u.period_type, u.period_key) = (d.period_type, d.period_key)
    LEFT JOIN customer_kept c ON (c.period_type, c.period_key) = (d.period_type, d.period_key)
    LEFT JOIN LATERAL (SELECT * FROM period_summary s WHERE s.org_id = $1
        AND s.period_type = d.period_type AND s.period_key = d.period_key OFFSET 0) AS s ON true
), summarised AS (
    INSERT INTO period_summary AS s (
        org_id, period_type, period_key, computed_at, users, customers, {listed(_SUMMED)})
    SELECT $1, period_type, period_key, now(), users, customers,
        {listed(ADDITIVE)}, {_FOLLOWING_SUMS}
    FROM sums WHERE users > 0
    ON CONFLICT (org_id, period_type, period_key) DO UPDATE
    SET computed_at = excluded.computed_at, users = excluded.users, customers = excluded.customers,
        {listed(_SUMMED, "{0} = excluded.{0}")}
), emptied AS (
    DELETE FROM period_summary s USING sums n WHERE n.users = 0 AND s.org_id = $1
        AND s.period_type = n.period_type AND s.period_key = n.period_key
), subjects AS (
    SELECT dimension, subject, call_date, is_connected, lasted, total_calls,
           extract(hour FROM started_at AT TIME ZONE $3)::smallint AS hour
    FROM claimed, LATERAL (VALUES ('user', user_id), ('task', task_id), ('agent', agent_id),
                                  ('organisation', '')) AS of (dimension, subject)
    WHERE subject IS NOT NULL
), hours AS (
    INSERT INTO portrait_hour AS s (org_id, dimension, subject, call_date, hour, calls, connected)
    SELECT $1, dimension, subject, call_date, hour, sum(total_calls),
           coalesce(sum(total_calls) FILTER (WHERE is_connected), 0)
    FROM subjects GROUP BY dimension, subject, call_date, hour
    ORDER BY dimension, subject, call_date, hour
    ON CONFLICT (org_id, dimension, subject, call_date, hour) DO UPDATE
    SET calls = s.calls + excluded.calls, connected = s.connected + excluded.connected
), durations AS (
    INSERT INTO portrait_duration AS s (org_id, dimension, subject, call_date, bucket, calls)
    SELECT $1, dimension, subject, call_date, bucket, sum(total_calls)
    FROM (SELECT *, {_LASTED} AS bucket
          FROM subjects WHERE is_connected) AS of
    GROUP BY dimension, subject, call_date, bucket HAVING sum(total_calls) <> 0
    ORDER BY dimension, subject, call_date, bucket
    ON CONFLICT (org_id, dimension, subject, call_date, bucket) DO UPDATE
    SET calls = s.calls + excluded.calls
)
SELECT period_type, period_key, period_start, period_end, changes, changed_at, last,
       coalesce(user_kept.changed, '{{}}') AS changed, {_GONE}
FROM periods
JOIN (SELECT count(*) AS changes, min(changed_at) AS changed_at, NOT EXISTS (
          SELECT FROM portrait_change WHERE org_id = $1 ORDER BY seq OFFSET $2 + 1) AS last
      FROM claimed) AS all_of ON true
{_KEPT}
ORDER BY period_type, period_key
"""  # noqa: S608 - constants only
_REMOVE: Final = {
    whose: f"""
DELETE FROM {whose.snapshots} s
USING unnest($2::text[], $3::text[], $4::text[]) AS gone (period_type, period_key, subject)
WHERE s.org_id = $1 AND s.period_type = gone.period_type AND s.period_key = gone.period_key
  AND s.{whose.column} = gone.subject AND s.total_calls = 0
"""  # noqa: S608 - constants only
    for whose in DIMENSIONS
}
_IS_WAITING: Final = "SELECT EXISTS (SELECT FROM portrait_change WHERE org_id = $1)"
# The plans that fit any batch: what is joined in memory is hashed, what is stored is looked up by key.
_PLANNING: Final = """
SELECT set_config('work_mem', '64MB', true), set_config('enable_mergejoin', 'off', true),
       set_config('enable_seqscan', 'off', true)
"""
_STATE: Final = """
SELECT o.timezone AS local, c.timezone AS counted, coalesce(c.trusted, true) AS trusted
FROM organisation o LEFT JOIN portrait_counting c USING (org_id) WHERE org_id = $1
"""
_BEGIN: Final = """
INSERT INTO portrait_counting (org_id, timezone, trusted) VALUES ($1, $2, true)
ON CONFLICT (org_id) DO NOTHING
"""
_BEHIND: Final = """
SELECT org_id, CASE WHEN c.trusted THEN o.timezone END AS zone
FROM portrait_counting c JOIN organisation o USING (org_id)
WHERE NOT c.trusted OR c.timezone <> o.timezone
"""
_TRUST: Final = "UPDATE portrait_counting SET trusted = true WHERE org_id = $1 AND NOT trusted"
# Skips from organisation to organisation in the index, as in the outbox.
_WAITING: Final = """
WITH RECURSIVE waiting AS (
    (SELECT org_id, changed_at FROM portrait_change ORDER BY org_id, seq LIMIT 1)
    UNION ALL
    SELECT following.* FROM waiting, LATERAL (
        SELECT c.org_id, c.changed_at FROM portrait_change c WHERE c.org_id > waiting.org_id
        ORDER BY c.org_id, c.seq LIMIT 1) AS following
)
SELECT org_id, changed_at, coalesce(trusted, true) AS trusted,
       greatest(0, extract(epoch FROM clock_timestamp() - changed_at))::float8 AS age_s
FROM waiting LEFT JOIN portrait_counting USING (org_id)
"""


@dataclass(frozen=True, slots=True)
class State:
    """`local` is the organisation's time zone, `zone` the one in which hours are counted.

    Until it is `trusted` its portraits are computed, not counted.
    """

    local: str
    zone: str
    trusted: bool


@dataclass(frozen=True, slots=True)
class Waiting:
    """An organisation of which something is to be counted, the oldest since `age_s` seconds."""

    org_id: UUID
    trusted: bool
    age_s: float


@dataclass(frozen=True, slots=True)
class Behind:
    """An organisation that a job is needed for: its time zone has become `zone`; None: it isn't trusted."""

    org_id: UUID
    zone: str | None


@dataclass(frozen=True, slots=True)
class Touched:
    """A period in which something was counted: whose of the users' snapshots have changed, and gone."""

    period_type: PeriodType
    period_key: str
    period_start: date
    period_end: date
    changed: Sequence[str]
    removed: Sequence[str]


@dataclass(frozen=True, slots=True)
class Batch:
    """What was counted: `changes` rows of the log, the oldest from `changed_at`; the `last` there were."""

    changes: int
    changed_at: datetime
    last: bool
    touched: Sequence[Touched]


async def waiting(tx: Transaction) -> list[Waiting]:
    """Every organisation of which something isn't counted yet; needs a system transaction."""
    rows = await tx.fetch(_WAITING)
    return [Waiting(row["org_id"], row["trusted"], row["age_s"]) for row in rows]


async def behind(tx: Transaction) -> list[Behind]:
    """Needs a system transaction."""
    return [Behind(**row) for row in await tx.fetch(_BEHIND)]


async def pending(tx: Transaction) -> int:
    """How many changes of all organisations aren't counted; needs a system transaction."""
    changes: int = await tx.fetchval("SELECT count(*) FROM portrait_change")
    return changes


async def try_turn(tx: Transaction, org_id: UUID) -> bool:
    """Make the organisation's portraits ours for this transaction, unless they are somebody's."""
    return bool(await tx.fetchval(_TRY, org_id))


async def await_turn(tx: Transaction, org_id: UUID) -> None:
    """As `try_turn`, when whoever has them is through; StoreUnavailable after 55 s."""
    await tx.execute("SET LOCAL lock_timeout = '55s'")
    await tx.execute(_AWAIT, org_id)


async def share_turn(tx: Transaction, org_id: UUID) -> None:
    """As `await_turn`, but with others who share it; while anybody does nothing is counted.

    So all of them compute the same: what calls have been by the last count, whatever becomes of them.
    """
    await tx.execute("SET LOCAL lock_timeout = '55s'")
    await tx.execute(_SHARE, org_id)


async def state(tx: Transaction, org_id: UUID) -> State | None:
    """How counting stands, begun if it never was; None for an unknown organisation. After a turn."""
    row = await tx.fetchrow(_STATE, org_id)
    if row is None:
        return None
    if row["counted"] is None:
        await tx.execute(_BEGIN, org_id, row["local"])
    return State(row["local"], row["counted"] or row["local"], row["trusted"])


async def trust(tx: Transaction, org_id: UUID) -> None:
    """From now on its portraits are what was counted: all of them have been computed."""
    await tx.execute(_TRUST, org_id)


async def set_zone(tx: Transaction, org_id: UUID, zone: str) -> None:
    """Hours are counted in `zone` from now on; in the organisation's turn, with all days renewed."""
    await tx.execute("UPDATE portrait_counting SET timezone = $2 WHERE org_id = $1", org_id, zone)


async def forget_log(tx: Transaction, org_id: UUID) -> None:
    """Of an organisation that there is no more."""
    await tx.execute("DELETE FROM portrait_change WHERE org_id = $1", org_id)


async def count(tx: Transaction, org_id: UUID, zone: str, limit: int) -> Batch | None:
    """Add the next changes of about `limit` calls to all portraits; None if there are none.

    Only in the organisation's turn, and only if it is trusted. Hours are in `zone`.
    """
    if not await tx.fetchval(_IS_WAITING, org_id):
        return None
    await tx.execute(_PLANNING)
    rows = await tx.fetch(_COUNT, org_id, limit, zone)
    if not rows:
        return None
    for whose, statement in _REMOVE.items():
        gone = [
            (row["period_type"], row["period_key"], subject)
            for row in rows
            for subject in row[f"{whose.name}_gone"]
        ]
        if gone:
            types, keys, subjects = zip(*gone, strict=True)
            await tx.execute(statement, org_id, types, keys, subjects)
    first = rows[0]
    touched = [_touched(row) for row in rows]
    return Batch(first["changes"], first["changed_at"], first["last"], touched)


def _touched(row: Row) -> Touched:
    gone = set(row["user_gone"])
    return Touched(
        row["period_type"], row["period_key"], row["period_start"], row["period_end"],
        [user for user in row["changed"] if user not in gone], sorted(gone),
    )  # fmt: skip
