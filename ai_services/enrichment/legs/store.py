"""The queries about legs of calls. A leg that comes again without its transcript keeps it, as calls do.

Whoever joins legs holds the organisation's lock until it commits: of two that bring in legs of one call
at once, the second would otherwise not see those of the first, and the call would be made of its own only.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from ai_services.enrichment.legs.leg import Leg
from shared.data_access.ports import Row, Transaction

STAGED_COLUMNS: Final = ("callid", *Leg._fields)
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('call_leg ' || $1::text, 0))"
_CREATE_STAGING: Final = """
CREATE TEMPORARY TABLE leg_staging (
    callid text COLLATE "C", leg_id text COLLATE "C", task_id text, agent_id text, user_id text,
    customer_id text, started_at timestamptz, duration_ms integer, bill_ms integer, rounds integer,
    level_name text, hangup_by smallint, call_status text, phone_cipher bytea, phone_masked text, turns jsonb
) ON COMMIT DROP
"""
_LEG_BYTES: Final = 200  # of one without its transcript
_WEIGHED: Final = """
SELECT callid, sum($2::int + coalesce(pg_column_size(turns), 0))::bigint AS weight
FROM (SELECT callid, turns FROM leg_staging
      UNION ALL
      SELECT callid, turns FROM call_leg
      WHERE org_id = (SELECT $1::uuid) AND callid = ANY(ARRAY(SELECT DISTINCT callid FROM leg_staging))) legs
GROUP BY callid ORDER BY callid
"""
# Beyond so much before it no transcript of a call's legs counts, whatever its letters (MAX_TRANSCRIPT_CHARS
# of four bytes, MAX_TURNS with their keys): it isn't read. Nor are those of legs that nobody answered.
_MOST_BEFORE: Final = 5_000_000  # bytes, as they are kept
_ALL_OF_CALLS: Final = """
WITH legs AS (
    SELECT s.callid, s.leg_id, s.task_id, s.agent_id, s.user_id, s.customer_id, s.started_at,
           s.duration_ms, s.bill_ms, s.rounds, s.level_name, s.hangup_by, s.call_status,
           s.phone_cipher, s.phone_masked, coalesce(s.turns, k.turns) AS turns
    FROM leg_staging s
    LEFT JOIN call_leg k
        ON k.org_id = (SELECT $1::uuid) AND k.callid = s.callid AND k.leg_id = s.leg_id
    WHERE s.callid = ANY($2::text[])
    UNION ALL
    SELECT callid, leg_id, task_id, agent_id, user_id, customer_id, started_at, duration_ms, bill_ms,
           rounds, level_name, hangup_by, call_status, phone_cipher, phone_masked, turns
    FROM call_leg k
    WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
      AND NOT EXISTS (SELECT FROM leg_staging s WHERE s.callid = k.callid AND s.leg_id = k.leg_id))
SELECT callid, leg_id, task_id, agent_id, user_id, customer_id, started_at, duration_ms, bill_ms,
       rounds, level_name, hangup_by, call_status, phone_cipher, phone_masked,
       CASE WHEN call_status = 'connected' AND coalesce(sum(pg_column_size(turns)) OVER before, 0) <= $3
            THEN turns END AS turns
FROM legs
WINDOW before AS (PARTITION BY callid, call_status = 'connected'
                  ORDER BY started_at, duration_ms, user_id, leg_id
                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
"""
_MERGE: Final = """
INSERT INTO call_leg AS k (
    org_id, callid, leg_id, task_id, agent_id, user_id, customer_id, started_at, duration_ms, bill_ms,
    rounds, level_name, hangup_by, call_status, phone_cipher, phone_masked, turns)
SELECT $1, callid, leg_id, task_id, agent_id, user_id, customer_id, started_at, duration_ms, bill_ms,
       rounds, level_name, hangup_by, call_status, phone_cipher, phone_masked, turns
FROM leg_staging s
WHERE EXISTS (SELECT FROM call_record_enriched c WHERE c.org_id = $1 AND c.callid = s.callid)
ORDER BY callid, leg_id
ON CONFLICT (org_id, callid, leg_id) DO UPDATE SET
    task_id = EXCLUDED.task_id, agent_id = EXCLUDED.agent_id, user_id = EXCLUDED.user_id,
    customer_id = EXCLUDED.customer_id, started_at = EXCLUDED.started_at, duration_ms = EXCLUDED.duration_ms,
    bill_ms = EXCLUDED.bill_ms, rounds = EXCLUDED.rounds, level_name = EXCLUDED.level_name,
    hangup_by = EXCLUDED.hangup_by, call_status = EXCLUDED.call_status,
    phone_cipher = EXCLUDED.phone_cipher, phone_masked = EXCLUDED.phone_masked,
    turns = coalesce(EXCLUDED.turns, k.turns), updated_at = now()
WHERE (k.task_id, k.agent_id, k.user_id, k.customer_id, k.started_at, k.duration_ms, k.bill_ms,
       k.rounds, k.level_name, k.hangup_by, k.call_status, k.phone_cipher, k.turns)
    IS DISTINCT FROM
      (EXCLUDED.task_id, EXCLUDED.agent_id, EXCLUDED.user_id, EXCLUDED.customer_id,
       EXCLUDED.started_at, EXCLUDED.duration_ms, EXCLUDED.bill_ms, EXCLUDED.rounds, EXCLUDED.level_name,
       EXCLUDED.hangup_by, EXCLUDED.call_status, EXCLUDED.phone_cipher,
       coalesce(EXCLUDED.turns, k.turns))
"""
_BEYOND_SPAN: Final = """
SELECT callid, leg_id, task_id, agent_id, user_id, customer_id, started_at, duration_ms, bill_ms,
       rounds, level_name, hangup_by, call_status, phone_cipher, phone_masked, turns
FROM call_leg
WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
  AND NOT (started_at >= $3 AND started_at < $4)
"""
_LEGS: Final = """
SELECT leg_id, task_id, agent_id, user_id, customer_id, started_at, duration_ms, bill_ms, rounds,
       level_name, hangup_by, call_status, phone_masked
FROM call_leg WHERE org_id = (SELECT $1::uuid) AND callid = $2
ORDER BY started_at, duration_ms, user_id, leg_id LIMIT $3
"""


async def stage(tx: Transaction, org_id: UUID, rows_csv: bytes) -> None:
    """`rows_csv` holds STAGED_COLUMNS, each leg once. Locks the organisation's legs until the end."""
    await tx.execute(_LOCK, str(org_id))
    await tx.execute(_CREATE_STAGING)
    await tx.copy_csv("leg_staging", STAGED_COLUMNS, rows_csv)


async def staged_calls(tx: Transaction, org_id: UUID) -> list[tuple[str, int]]:
    """Whose legs are staged, in order, and what all legs of each take, in bytes as they are kept."""
    rows = await tx.fetch(_WEIGHED, org_id, _LEG_BYTES)
    return [(row["callid"], row["weight"]) for row in rows]


async def legs_of(
    tx: Transaction, org_id: UUID, callids: Sequence[str], most_before: int = _MOST_BEFORE
) -> list[Row]:
    """STAGED_COLUMNS of all their legs: those staged, and those kept that these don't replace. Without the
    transcripts that can't count.
    """
    return await tx.fetch(_ALL_OF_CALLS, org_id, list(callids), most_before)


async def merge_staged(tx: Transaction, org_id: UUID) -> None:
    """Keep what is staged, of calls that are there: what was erased isn't."""
    await tx.execute(_MERGE, org_id)
    await tx.execute("DROP TABLE leg_staging")


async def drop_beyond(
    tx: Transaction, org_id: UUID, callids: Sequence[str], leg_ids: Sequence[str]
) -> None:
    """Legs that a call has too many of, by the pairs."""
    await tx.execute(
        """DELETE FROM call_leg k USING unnest($2::text[], $3::text[]) AS gone (callid, leg_id)
           WHERE k.org_id = (SELECT $1::uuid) AND k.callid = gone.callid
             AND k.leg_id = gone.leg_id""",
        org_id, list(callids), list(leg_ids),
    )  # fmt: skip


async def beyond_span(
    tx: Transaction, org_id: UUID, callids: Sequence[str], first: dt.datetime, end: dt.datetime
) -> list[Row]:
    """STAGED_COLUMNS of those legs of the calls that don't begin from `first` until `end`."""
    return await tx.fetch(_BEYOND_SPAN, org_id, list(callids), first, end)


async def drop_within(
    tx: Transaction, org_id: UUID, callids: Sequence[str], first: dt.datetime, end: dt.datetime
) -> list[str]:
    """Those legs of the calls that begin from `first` until `end`; tells which calls have others."""
    await tx.execute(
        """DELETE FROM call_leg WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[])
           AND started_at >= $3 AND started_at < $4""",
        org_id, list(callids), first, end,
    )  # fmt: skip
    rows = await tx.fetch(
        """SELECT DISTINCT callid FROM call_leg
           WHERE org_id = (SELECT $1::uuid) AND callid = ANY($2::text[]) ORDER BY callid""",
        org_id, list(callids),
    )  # fmt: skip
    return [row["callid"] for row in rows]


async def legs(tx: Transaction, org_id: UUID, callid: str, limit: int) -> list[Row]:
    """Of a call, by their start; none for one that came as a single row."""
    return await tx.fetch(_LEGS, org_id, callid, limit)
