"""Puts jobs into the queue, in the transaction of whoever wants them done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from shared.data_access.ports import Transaction
from shared.errors import StoreConflict

_ATTEMPTS: Final = 10
# A job that is to wait becomes one of the queue when its time has come (`promote`).
_ENQUEUE = """
INSERT INTO job (org_id, name, args, priority, exclusive, dedupe_key, state, run_at,
                 schedule_id, scheduled_for)
VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $7::float8 > 0 THEN 'waiting' ELSE 'queued' END,
        clock_timestamp() + make_interval(secs => $7), $8, $9)
ON CONFLICT DO NOTHING
RETURNING job_id
"""
_SAME_KEY = """
SELECT job_id FROM job
WHERE owner = coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
  AND name = $2 AND dedupe_key = $3 AND finished_at IS NULL
"""
_NEWEST_KEY = """
SELECT job_id, dedupe_key FROM job
WHERE owner = $1 AND name = $2 AND dedupe_key IS NOT NULL AND finished_at IS NULL
  AND stop IS DISTINCT FROM 'cancelled'
ORDER BY job_id DESC LIMIT 1
"""
_UNFINISHED_OF_SCHEDULE = """
SELECT job_id FROM job WHERE schedule_id = $1 AND finished_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """`created` is False for a job that was there already: it has the same key, or schedule."""

    job_id: int
    created: bool


async def add(
    tx: Transaction,
    *,
    org_id: UUID | None,
    name: str,
    args: Mapping[str, Any],
    priority: int,
    exclusive: bool,
    dedupe_key: str | None = None,
    delay_s: float = 0.0,
    schedule_id: int | None = None,
    scheduled_for: Any = None,
) -> Enqueued:
    """One unfinished job at most of each (organisation, name, key), and of each schedule.

    StoreConflict if others take its place and end again and again.
    """
    for _ in range(_ATTEMPTS):
        job_id = await tx.fetchval(
            _ENQUEUE, org_id, name, dict(args), priority, exclusive, dedupe_key, float(delay_s),
            schedule_id, scheduled_for,
        )  # fmt: skip
        if job_id is not None:
            return Enqueued(job_id, created=True)
        found = None
        if dedupe_key is not None:
            found = await tx.fetchval(_SAME_KEY, org_id, name, dedupe_key)
        if found is None and schedule_id is not None:
            found = await tx.fetchval(_UNFINISHED_OF_SCHEDULE, schedule_id)
        if found is not None:
            return Enqueued(found, created=False)
        # It has finished in between: the next attempt finds its place free.
    raise StoreConflict(f"Jobs {name!r} of this key come and go. Try again.")


async def newest_key(tx: Transaction, org_id: UUID, name: str) -> tuple[int, str] | None:
    """The organisation's last job of that name that has a key and is to be done: its id and key."""
    row = await tx.fetchrow(_NEWEST_KEY, org_id, name)
    return None if row is None else (row["job_id"], row["dedupe_key"])
