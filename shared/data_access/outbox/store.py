"""The outbox's queries. All run in a transaction across organisations, or in one of `org_id`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.data_access.ports import Row, Transaction

# Skips from organisation to organisation in the index: the cost is one probe for each.
_PENDING = """
WITH RECURSIVE pending AS (
    (SELECT org_id FROM outbox WHERE projection = $1 ORDER BY org_id LIMIT 1)
    UNION ALL
    SELECT (SELECT o.org_id FROM outbox o WHERE o.projection = $1 AND o.org_id > pending.org_id
            ORDER BY o.org_id LIMIT 1)
    FROM pending WHERE pending.org_id IS NOT NULL
)
SELECT org_id FROM pending WHERE org_id IS NOT NULL
"""
# The first event of each lane (of each key, that is, or of the few that share a hash). A later one
# of a lane is out of everybody's reach as long as an earlier one exists, claimed or not.
_HEADS = """
SELECT id, org_id, topic, key, payload, attempts, created_at, lane FROM outbox o
WHERE projection = $1 AND org_id = $2 AND not_before <= now()
  AND NOT EXISTS (SELECT FROM outbox earlier WHERE earlier.lane = o.lane AND earlier.id < o.id)
ORDER BY id LIMIT $3
FOR UPDATE OF o SKIP LOCKED
"""
# Who holds a lane's first event holds the lane. The comparisons after the first are for lanes that
# share a hash, written so that no other index tempts the planner.
_FOLLOWERS = """
SELECT id, org_id, topic, key, payload, attempts, created_at, lane FROM outbox
WHERE lane = ANY($3) AND id > $4
  AND projection IS NOT DISTINCT FROM $1 AND org_id IS NOT DISTINCT FROM $2
ORDER BY id LIMIT $5
"""
_LOCK = "hashtextextended('outbox/' || $1::text || '/' || $2::uuid::text, 0)"
_SHARE = f"SELECT pg_try_advisory_xact_lock_shared({_LOCK})"
_EXCLUDE = f"SELECT pg_advisory_xact_lock({_LOCK})"
_BURY = """
WITH dead AS (DELETE FROM outbox WHERE id = $1 RETURNING *)
INSERT INTO outbox_dead_letter
    (id, org_id, projection, topic, key, payload, attempts, error, created_at)
SELECT id, org_id, projection, topic, key, payload, attempts + 1, $2, created_at FROM dead
"""
_REPLAY = """
WITH risen AS (DELETE FROM outbox_dead_letter WHERE id = ANY($1) RETURNING *)
INSERT INTO outbox (org_id, projection, topic, key, payload)
SELECT org_id, projection, topic, key, payload FROM risen ORDER BY id
"""
_DEAD_LETTERS = """
SELECT id, org_id, projection, topic, key, payload, attempts, error, created_at, died_at
FROM outbox_dead_letter
WHERE ($1::text IS NULL OR projection = $1) AND id > $2
ORDER BY id LIMIT $3
"""
_DEPTH = """
SELECT projection, count(*) AS waiting,
       greatest(0, extract(epoch FROM now() - min(created_at)))::float8 AS lag_seconds, 0 AS dead
FROM outbox GROUP BY projection
UNION ALL
SELECT projection, 0, 0, count(*) FROM outbox_dead_letter GROUP BY projection
"""


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    id: int
    org_id: UUID
    topic: str
    key: str
    payload: Any  # as it was emitted, through JSON
    attempts: int  # how often it failed before
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    id: int
    org_id: UUID
    projection: str
    topic: str
    key: str
    payload: Any
    attempts: int
    error: str
    created_at: datetime
    died_at: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """Of one projection: events waiting, age of the oldest in seconds, events given up."""

    waiting: int = 0
    lag_seconds: float = 0.0
    dead: int = 0


async def organisations(tx: Transaction, projection: str) -> list[UUID]:
    """Who has events waiting."""
    return [row["org_id"] for row in await tx.fetch(_PENDING, projection)]


async def claim(tx: Transaction, projection: str, org_id: UUID, limit: int) -> list[OutboxEvent]:
    """Up to about `limit` events in order, ours until `tx` ends; none while someone rebuilds."""
    if not await tx.fetchval(_SHARE, projection, org_id):
        return []
    rows = await tx.fetch(_HEADS, projection, org_id, limit)
    if rows and len(rows) < limit:
        lanes = [row["lane"] for row in rows]
        first = rows[0]["id"]
        later = await tx.fetch(_FOLLOWERS, projection, org_id, lanes, first, limit)
        claimed = {row["id"]: row for row in (*rows, *later)}
        rows = [claimed[event_id] for event_id in sorted(claimed)]
    return [_event(row) for row in rows]


async def exclude_relays(tx: Transaction, projection: str, org_id: UUID) -> None:
    """Keep relays from this organisation's events until `tx` ends, however long it is idle."""
    await tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    await tx.fetchval(_EXCLUDE, projection, org_id)


async def done(tx: Transaction, ids: Sequence[int]) -> None:
    if ids:
        await tx.execute("DELETE FROM outbox WHERE id = ANY($1)", list(ids))


async def postpone(tx: Transaction, event_id: int, seconds: float) -> None:
    await tx.execute(
        "UPDATE outbox SET attempts = attempts + 1, "
        "not_before = clock_timestamp() + make_interval(secs => $2) WHERE id = $1",
        event_id,
        seconds,
    )


async def bury(tx: Transaction, event_id: int, error: str) -> None:
    await tx.execute(_BURY, event_id, error)


async def replay(tx: Transaction, ids: Sequence[int]) -> int:
    return await tx.execute(_REPLAY, list(ids))


async def dead_letters(
    tx: Transaction, projection: str | None, after: int, limit: int
) -> list[DeadLetter]:
    return [
        DeadLetter(**dict(row)) for row in await tx.fetch(_DEAD_LETTERS, projection, after, limit)
    ]


async def depth(tx: Transaction) -> dict[str, Depth]:
    """Projection → its depth; projections without any event are missing."""
    found: dict[str, Depth] = {}
    for row in await tx.fetch(_DEPTH):
        seen = found.get(row["projection"], Depth())
        found[row["projection"]] = Depth(
            seen.waiting + row["waiting"],
            max(seen.lag_seconds, row["lag_seconds"]),
            seen.dead + row["dead"],
        )
    return found


def _event(row: Row) -> OutboxEvent:
    return OutboxEvent(**{name: row[name] for name in OutboxEvent.__slots__})
