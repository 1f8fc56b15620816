"""What is kept by day, made equal to a full recomputation: the hours and the durations of calls.

As for snapshots, calls are taken as they were when they were last counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final
from uuid import UUID

from ai_services.portrait.law.durations import BUCKET
from ai_services.portrait.law.tally import STANDING, listed
from shared.calls import CONNECTED
from shared.data_access.ports import Transaction

# $2 first and $3 last day.
_STANDING: Final = STANDING.replace("$6", "$2").replace("$7", "$3")
# One grouping for each dimension: together they would have to be sorted as text.
_SUBJECTS: Final = {
    "user": "user_id",
    "task": "task_id",
    "agent": "agent_id",
    "organisation": "''::text",
}


_OF_SUBJECT: Final = """SELECT '{dimension}' AS dimension, {subject} AS subject, call_date, {place}, {sums}
    FROM standing WHERE {subject} IS NOT NULL GROUP BY 2, 3, 4 HAVING sum(sign) <> 0"""


def _by_subject(place: str, counts: Mapping[str, str]) -> str:
    """What each subject has by day and `place`, of the calls in `standing`; `counts` are sums by their names."""
    sums = listed(f"{amount} AS {name}" for name, amount in counts.items())
    return "\n    UNION ALL ".join(
        _OF_SUBJECT.format(dimension=dimension, subject=subject, place=place, sums=sums)
        for dimension, subject in _SUBJECTS.items()
    )


_RENEW: Final = """
WITH standing AS MATERIALIZED ({standing}), fresh AS MATERIALIZED (
    {fresh}
), written AS (
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


def _renew(table: str, place: str, counts: Mapping[str, str], standing: str) -> str:
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
        standing=standing,
        fresh=_by_subject(place, counts),
    )


_HOURS: Final = _renew(
    "portrait_hour",
    "hour",
    {
        "calls": "sum(sign)",
        "connected": "coalesce(sum(sign) FILTER (WHERE is_connected), 0)",
    },
    f"""
    SELECT user_id, task_id, agent_id, call_date, sign, call_status = '{CONNECTED}' AS is_connected,
           extract(hour FROM started_at AT TIME ZONE $4)::smallint AS hour
    FROM ({_STANDING}) AS calls
""",  # noqa: S608 - constants only
)
_DURATIONS: Final = _renew(
    "portrait_duration",
    "bucket",
    {"calls": "sum(sign)"},
    f"""
    SELECT user_id, task_id, agent_id, call_date, sign, {BUCKET} AS bucket
    FROM ({_STANDING}) AS calls WHERE call_status = '{CONNECTED}'
""",  # noqa: S608 - constants only
)


async def renew_days(tx: Transaction, org_id: UUID, first: date, last: date, zone: str) -> int:
    """Only in the organisation's turn; hours are in `zone`. Says how many rows were wrong."""
    hours: int = await tx.fetchval(_HOURS, org_id, first, last, zone)
    durations: int = await tx.fetchval(_DURATIONS, org_id, first, last)
    return hours + durations
