"""Claims of jobs by workers: lost jobs first, then those that wait, by turns of organisations.

Leases go by the database's clock. Nothing here waits for another transaction: rows that somebody
holds are passed over, so that a process that stands still holds nobody up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from shared.data_access.ports import Row, Transaction
from shared.jobs.fairness import Waiting
from shared.jobs.store.announcing import announce_dead
from shared.jobs.store.state import State, idle_limit

# Also has PostgreSQL end this transaction if its process stands still in it, holding locks.
_LOOK = """
SELECT set_config('idle_in_transaction_session_timeout', $2, true),
    EXISTS (SELECT FROM job WHERE state = 'waiting' AND run_at <= clock_timestamp()) AS due,
    EXISTS (SELECT FROM job WHERE state = 'running' AND (name = ANY($1) OR stop IS NOT NULL)
            AND lease_until < clock_timestamp()) AS lost
"""
_PROMOTE = """
UPDATE job SET state = 'queued' WHERE job_id IN (
    SELECT job_id FROM job WHERE state = 'waiting' AND run_at <= clock_timestamp()
    ORDER BY run_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
"""
# Those that were asked to stop while nobody held them any more, whatever their kind, or have been
# lost too often.
_END_LOST = """
UPDATE job SET state = coalesce(job.stop, 'dead'), fence = 0, worker = NULL, stop = NULL,
    lease_until = NULL, lost = job.lost + 1,
    finished_at = CASE WHEN job.stop = 'paused' THEN NULL ELSE clock_timestamp() END,
    error = CASE WHEN job.stop IS NULL
                 THEN 'Its worker was lost ' || job.lost + 1 || ' times without a checkpoint.'
                 ELSE job.error END
FROM (SELECT job_id
      FROM job LEFT JOIN unnest($1::text[], $2::int[]) AS known (name, most) USING (name)
      WHERE state = 'running' AND lease_until < clock_timestamp()
        AND (stop IS NOT NULL OR lost + 1 >= most)
      FOR UPDATE OF job SKIP LOCKED) ended
WHERE job.job_id = ended.job_id
RETURNING job.job_id, job.name, job.state
"""
_CLAIMED = """
    job.job_id, job.org_id, job.owner, job.name, job.args, job.fence, job.failures, job.cursor,
    job.done, job.total, job.scheduled_for, job.spent
"""
_TAKE_OVER = f"""
UPDATE job SET fence = nextval('job_fence'), worker = $2, lost = lost + 1,
    lease_until = clock_timestamp() + make_interval(secs => $3), renewed_at = clock_timestamp(),
    claimed_at = clock_timestamp(), done_before = done
FROM (SELECT job_id FROM job WHERE state = 'running' AND name = ANY($1)
        AND lease_until < clock_timestamp()
      ORDER BY lease_until LIMIT $4 FOR UPDATE SKIP LOCKED) free
WHERE job.job_id = free.job_id
RETURNING {_CLAIMED}
"""  # noqa: S608 - constants only
# Of jobs that are done in order: whether one that was asked for earlier hasn't ended yet. As keys of
# unfinished jobs have an index, it is one probe.
_BEFORE_IT = """
SELECT FROM job earlier
WHERE earlier.owner = job.owner AND earlier.name = job.name AND earlier.dedupe_key IS NOT NULL
  AND earlier.finished_at IS NULL AND earlier.job_id < job.job_id
"""
# Skips from owner to owner in the index: the cost is two probes for each.
_WAITING = f"""
WITH RECURSIVE known AS (
    SELECT name, exclusive, in_order
    FROM job_type JOIN unnest($1::text[], $2::boolean[]) AS declared (name, in_order) USING (name)
    WHERE NOT paused
), pair AS (
    SELECT name, (SELECT owner FROM job WHERE state = 'queued' AND name = known.name
                  ORDER BY owner LIMIT 1) AS owner FROM known
    UNION ALL
    SELECT name, (SELECT owner FROM job WHERE state = 'queued' AND name = pair.name
                  AND owner > pair.owner ORDER BY owner LIMIT 1) FROM pair
    WHERE owner IS NOT NULL
), busy AS (
    SELECT name, owner, count(*) AS running FROM job WHERE state = 'running' GROUP BY name, owner
)
SELECT pair.name, pair.owner, head.run_at, known.exclusive,
       coalesce((SELECT sum(running) FROM busy WHERE owner = pair.owner), 0)::int AS running
FROM pair JOIN known USING (name), LATERAL (
    SELECT run_at FROM job WHERE state = 'queued' AND name = pair.name AND owner = pair.owner
      AND NOT (known.in_order AND EXISTS ({_BEFORE_IT}))
    ORDER BY priority DESC, run_at, job_id LIMIT 1) head
WHERE pair.owner IS NOT NULL AND (NOT known.exclusive OR NOT EXISTS (
    SELECT FROM busy WHERE name = pair.name AND owner = pair.owner))
"""  # noqa: S608 - constants only
# Jobs that must not overlap are claimed one after another, so that two workers don't take two.
_EXCLUSIVE = """
SELECT name FROM unnest($2::text[]) AS known (name)
WHERE pg_try_advisory_xact_lock(hashtextextended('job/' || known.name || '/' || $1::uuid::text, 0))
"""
_CLAIM = f"""
UPDATE job SET state = 'running', fence = nextval('job_fence'), worker = $4,
    lease_until = clock_timestamp() + make_interval(secs => $5), renewed_at = clock_timestamp(),
    claimed_at = clock_timestamp(), started_at = coalesce(started_at, clock_timestamp()),
    done_before = done, exclusive = best.exclusive  -- as its kind is now, not when it was queued
FROM (
    SELECT job_id, known.exclusive
    FROM unnest($2::text[], $3::boolean[], $7::boolean[]) AS known (name, exclusive, in_order),
    LATERAL (
        SELECT job_id, priority, run_at FROM job
        WHERE state = 'queued' AND name = known.name AND owner = $1
          AND (NOT known.exclusive OR NOT EXISTS (
              SELECT FROM job other
              WHERE other.state = 'running' AND other.name = known.name AND other.owner = $1))
          AND NOT (known.in_order AND EXISTS ({_BEFORE_IT}))
        ORDER BY priority DESC, run_at, job_id
        LIMIT CASE WHEN known.exclusive THEN 1 ELSE $6::int END FOR UPDATE SKIP LOCKED) head
    ORDER BY priority DESC, run_at, job_id LIMIT $6
) best
WHERE job.job_id = best.job_id
RETURNING {_CLAIMED}
"""  # noqa: S608 - constants only


@dataclass(frozen=True, slots=True)
class Known:
    """What a worker can do: the bounds of a job's claims."""

    name: str
    exclusive: bool
    in_order: bool
    max_lost: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that is ours until its lease is over; `fence` is the number of the claim."""

    job_id: int
    org_id: UUID | None
    owner: UUID
    name: str
    args: Mapping[str, Any]
    fence: int
    failures: int
    cursor: Mapping[str, Any] | None
    done: int
    total: int | None
    scheduled_for: datetime | None
    spent: timedelta


@dataclass(frozen=True, slots=True)
class Queue:
    """Who waits, and with jobs of which names that may begin now."""

    waiting: Sequence[Waiting]
    names: Mapping[UUID, Sequence[str]]


async def look(tx: Transaction, known: Collection[Known], lease_s: float) -> tuple[bool, bool]:
    """Whether jobs are due that waited, and whether claims of these names were lost.

    PostgreSQL ends this transaction if it stands still for a lease's time.
    """
    row = await tx.fetchrow(_LOOK, [one.name for one in known], idle_limit(lease_s))
    return (row["due"], row["lost"]) if row is not None else (False, False)


async def promote(tx: Transaction) -> int:
    """Queue the jobs whose time has come."""
    return await tx.execute(_PROMOTE)


async def end_lost(tx: Transaction, known: Collection[Known]) -> list[tuple[str, State]]:
    """End what was lost and isn't taken up again; names and states."""
    names, most = [one.name for one in known], [one.max_lost for one in known]
    rows = await tx.fetch(_END_LOST, names, most)
    await announce_dead(tx, [row["job_id"] for row in rows if row["state"] == "dead"])
    return [(row["name"], row["state"]) for row in rows]


async def take_over(
    tx: Transaction, known: Collection[Known], worker: str, lease_s: float, limit: int
) -> list[Claim]:
    """Up to `limit` jobs whose lease is over, those first that were lost first."""
    names = [one.name for one in known]
    return [_claim(row) for row in await tx.fetch(_TAKE_OVER, names, worker, lease_s, limit)]


async def queue(tx: Transaction, known: Collection[Known]) -> Queue:
    """Whose jobs wait. Names that are paused are left out, and those that must not overlap now."""
    since: dict[UUID, Waiting] = {}
    names: dict[UUID, list[str]] = {}
    declared = [one.name for one in known], [one.in_order for one in known]
    for row in await tx.fetch(_WAITING, *declared):
        owner = row["owner"]
        names.setdefault(owner, []).append(row["name"])
        one = Waiting(owner, row["run_at"], row["running"])
        since[owner] = min(since.get(owner, one), one, key=lambda waiting: waiting.since)
    return Queue(list(since.values()), names)


async def claim(
    tx: Transaction,
    owner: UUID,
    names: Collection[str],
    known: Mapping[str, Known],
    worker: str,
    lease_s: float,
    limit: int,
) -> list[Claim]:
    """Up to `limit` jobs of an owner, of these names, the most urgent first."""
    exclusive = [name for name in names if known[name].exclusive]
    free = set[str]()
    if exclusive:
        free = {row["name"] for row in await tx.fetch(_EXCLUSIVE, owner, exclusive)}
    may = [name for name in names if not known[name].exclusive or name in free]
    if not may:
        return []
    bounds = [known[name].exclusive for name in may]
    in_order = [known[name].in_order for name in may]
    rows = await tx.fetch(_CLAIM, owner, may, bounds, worker, lease_s, limit, in_order)
    return [_claim(row) for row in rows]


def _claim(row: Row) -> Claim:
    return Claim(**{name: row[name] for name in Claim.__slots__})
