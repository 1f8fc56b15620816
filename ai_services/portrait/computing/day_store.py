"""What is kept by day, made equal to a full recomputation: the hours and the durations of calls.

As for snapshots, calls are taken as they were when they were last counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final
from uuid import UUID

from ai_services.portrait.law.durations import BUCKET
from ai_services.portrait.law.tally import STANDING, listed
from shared.calls import CONNECTED
from shared.data_access.ports import Transaction

# $2 first and $3 last day.
SUBJECTS: Final = """
    SELECT dimension, subject, calls.*
    FROM ({source}) AS calls, LATERAL (
        VALUES ('user', user_id), ('task', task_id), ('agent', agent_id), ('organisation', '')
    ) AS of (dimension, subject)
    WHERE subject IS NOT NULL"""
_STANDING: Final = SUBJECTS.format(source=STANDING.replace("$6", "$2").replace("$7", "$3"))


_RENEW: Final = """
WITH fresh AS MATERIALIZED ({fresh}), written AS (
    INSERT INTO {table} AS s (org_id, {key}, {counts})
    SELECT $1, {of_fresh} FROM fresh f LEFT JOIN {table} s
        ON s.org_id = $1 AND s.call_date BETWEEN $2 AND $3 AND {same}
    WHERE s.org_id IS NULL OR {differs}
    ORDER BY {order}
    ON CONFLICT (org_id, {key}) DO UPDATE SET {set}
    RETURNING 1
), removed AS (
    DELETE FROM {table} s WHERE s.org_id = $1 AND s.call_date BETWEEN $2 AND $3
        AND NOT EXISTS (SELECT FROM fresh f
                        WHERE {same})
    RETURNING s.calls
)
SELECT (SELECT count(*) FROM written) + (SELECT count(*) FROM removed WHERE calls <> 0)
"""


def _renew(table: str, place: str, counts: Sequence[str], fresh: str) -> str:
    """Only what differs is written: a conflict with a row that is right costs as much as a change of it."""
    key = ("dimension", "subject", "call_date", place)
    return _RENEW.format(
        table=table,
        key=listed(key),
        counts=listed(counts),
        of_fresh=listed((*key, *counts), "f.{}"),
        order=listed(key, "f.{}"),
        same=" AND ".join(f"s.{one} = f.{one}" for one in key),
        differs=" OR ".join(f"s.{one} <> f.{one}" for one in counts),
        set=listed(counts, "{0} = excluded.{0}"),
        fresh=fresh,
    )


_HOURS: Final = _renew(
    "portrait_hour",
    "hour",
    ("calls", "connected"),
    f"""
    SELECT dimension, subject, call_date,
           extract(hour FROM started_at AT TIME ZONE $4)::smallint AS hour, sum(sign) AS calls,
           coalesce(sum(sign) FILTER (WHERE call_status = '{CONNECTED}'), 0) AS connected
    FROM ({_STANDING}) AS calls GROUP BY 1, 2, 3, 4 HAVING sum(sign) <> 0
""",  # noqa: S608 - constants only
)
_DURATIONS: Final = _renew(
    "portrait_duration",
    "bucket",
    ("calls",),
    f"""
    SELECT dimension, subject, call_date, {BUCKET} AS bucket, sum(sign) AS calls
    FROM ({_STANDING}) AS calls WHERE call_status = '{CONNECTED}'
    GROUP BY 1, 2, 3, 4 HAVING sum(sign) <> 0
""",  # noqa: S608 - constants only
)


async def renew_days(tx: Transaction, org_id: UUID, first: date, last: date, zone: str) -> int:
    """Only in the organisation's turn; hours are in `zone`. Says how many rows were wrong."""
    hours: int = await tx.fetchval(_HOURS, org_id, first, last, zone)
    durations: int = await tx.fetchval(_DURATIONS, org_id, first, last)
    return hours + durations
