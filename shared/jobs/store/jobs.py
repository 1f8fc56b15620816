"""Queries of jobs: lists, details, cancelling, pausing, resuming, retrying, cleaning up.

In a tenant transaction these see and touch the organisation's own jobs, in a system transaction all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.data_access.ports import Row, Transaction
from shared.errors import Conflict, NotFound
from shared.jobs.progress import Progress, progress_of
from shared.jobs.store.state import State

_COLUMNS = """
    job_id, org_id, name, args, priority, state, run_at, created_at, started_at, claimed_at,
    finished_at, stop, worker, failures, lost, error, result, done, total, done_before,
    schedule_id, scheduled_for, clock_timestamp() AS now
"""
_LIST = f"""
SELECT {_COLUMNS} FROM job
WHERE ($1::text IS NULL OR name = $1) AND ($2::text IS NULL OR state = $2)
  AND ($3::bigint IS NULL OR schedule_id = $3) AND job_id < $4
ORDER BY job_id DESC LIMIT $5
"""  # noqa: S608 - constants only
_SOME = f"""
SELECT {_COLUMNS} FROM job WHERE job_id = ANY($1) ORDER BY job_id DESC
"""  # noqa: S608 - constants only
_GET = f"SELECT {_COLUMNS} FROM job WHERE job_id = $1"  # noqa: S608 - constants only
# What runs is asked to stop, and does so at its next effect or within a second.
_CANCEL = """
UPDATE job SET stop = CASE WHEN state = 'running' THEN 'cancelled' END,
    state = CASE WHEN state = 'running' THEN state ELSE 'cancelled' END,
    finished_at = CASE WHEN state = 'running' THEN NULL ELSE clock_timestamp() END
WHERE job_id = $1 AND finished_at IS NULL
"""
_PAUSE = """
UPDATE job SET stop = CASE WHEN state = 'running' THEN 'paused' END,
    state = CASE WHEN state = 'running' THEN state ELSE 'paused' END
WHERE job_id = $1 AND finished_at IS NULL AND stop IS DISTINCT FROM 'cancelled'
"""
_RESUME = """
UPDATE job SET stop = NULL,
    state = CASE WHEN state = 'running' THEN state
                 WHEN run_at > clock_timestamp() THEN 'waiting' ELSE 'queued' END
WHERE job_id = $1 AND (state = 'paused' OR stop = 'paused')
"""
# It goes on at its checkpoint, with all its attempts before it again.
_RETRY = """
UPDATE job SET state = 'queued', finished_at = NULL, failures = 0, lost = 0, spent = interval '0',
    run_at = clock_timestamp()
WHERE job_id = $1 AND state IN ('dead', 'cancelled')
"""
_DEPTH = """
SELECT name, count(*) AS queued,
       greatest(0, extract(epoch FROM clock_timestamp() - min(run_at)))::float8 AS oldest_s
FROM job WHERE state = 'queued' AND name = ANY($1) GROUP BY name
"""
_DEAD = """
SELECT type.name, count(job.job_id) AS dead
FROM job_type type LEFT JOIN job ON job.name = type.name AND job.state = 'dead'
    AND job.finished_at > clock_timestamp() - interval '24 hours'
GROUP BY type.name
"""
# now() stands still in a transaction, so that an index can be asked for what is later.
_TOTALS = """
SELECT (SELECT count(*) FROM job WHERE state = 'waiting') AS waiting,
       (SELECT count(*) FROM job WHERE state = 'queued') AS queued,
       (SELECT count(*) FROM job WHERE state = 'running') AS running,
       (SELECT count(*) FROM job WHERE state = 'dead'
        AND finished_at > now() - interval '24 hours') AS dead,
       (SELECT CASE WHEN count(*) > 0
               THEN greatest(0, extract(epoch FROM now() - min(run_at)))::float8 END
        FROM job WHERE state = 'queued') AS oldest_s
"""
_CLEAN = """
DELETE FROM job WHERE job_id IN (
    SELECT job_id FROM job WHERE finished_at < clock_timestamp() - make_interval(secs => $1)
    ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED)
"""
_NEWEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands; `stop` is what a running one was asked to be and isn't yet."""

    job_id: int
    org_id: UUID | None
    name: str
    args: Mapping[str, Any]
    priority: int
    state: State
    run_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    stop: State | None
    worker: str | None
    failures: int
    lost: int
    error: str | None
    result: Mapping[str, Any] | None
    schedule_id: int | None
    scheduled_for: datetime | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class Depth:
    """Of one name: jobs that could begin now, and since when the oldest of them could."""

    queued: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """Of all names: jobs by what they are now, and the dead of 24 hours that weren't retried.

    `oldest_s` is since when the oldest queued job could begin; None without one.
    """

    waiting: int
    queued: int
    running: int
    dead: int
    oldest_s: float | None


async def list_jobs(
    tx: Transaction,
    *,
    name: str | None = None,
    state: State | None = None,
    schedule_id: int | None = None,
    before: int | None = None,
    limit: int = 50,
) -> list[Job]:
    """Newest first; `before` is the id that the page before ended with."""
    before = _NEWEST if before is None else before
    return [_job(row) for row in await tx.fetch(_LIST, name, state, schedule_id, before, limit)]


async def get_job(tx: Transaction, job_id: int) -> Job:
    """NotFound if there is none that this transaction may see."""
    row = await tx.fetchrow(_GET, job_id)
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    return _job(row)


async def some_jobs(tx: Transaction, ids: Collection[int]) -> list[Job]:
    """Those of these jobs that there are, the newest first."""
    return [_job(row) for row in await tx.fetch(_SOME, list(ids))]


async def cancel(tx: Transaction, job_id: int) -> None:
    """At once if it isn't running; else it is asked to stop, and may still succeed before it does.

    Cancelling a cancelled job changes nothing. NotFound; Conflict for one that has ended otherwise.
    """
    if not await tx.execute(_CANCEL, job_id):
        await _refuse(tx, job_id, "cancelled", "cancelled")


async def pause(tx: Transaction, job_id: int) -> None:
    """Keep it from running until `resume`; one that runs stops at its next effect. As `cancel`."""
    if not await tx.execute(_PAUSE, job_id):
        await _refuse(tx, job_id, "paused", "paused")


async def resume(tx: Transaction, job_id: int) -> None:
    """Let a paused job run, from its checkpoint on. NotFound; Conflict if it isn't paused."""
    if not await tx.execute(_RESUME, job_id):
        await _refuse(tx, job_id, "resumed")


async def retry(tx: Transaction, job_id: int) -> None:
    """Queue a dead or cancelled job again. NotFound; Conflict for any other.

    StoreConflict if its key or schedule has another job in its place by now.
    """
    if not await tx.execute(_RETRY, job_id):
        await _refuse(tx, job_id, "retried")


async def depths(tx: Transaction, names: Collection[str]) -> dict[str, Depth]:
    """Each name's depth; those without a job in the queue are missing."""
    rows = await tx.fetch(_DEPTH, list(names))
    return {row["name"]: Depth(row["queued"], row["oldest_s"]) for row in rows}


async def dead_of_a_day(tx: Transaction) -> dict[str, int]:
    """How many jobs of each declared name died within 24 hours; 0 for those of which none did."""
    return {row["name"]: row["dead"] for row in await tx.fetch(_DEAD)}


async def totals(tx: Transaction) -> Totals:
    row = await tx.fetchrow(_TOTALS)
    assert row is not None
    return Totals(**row)


async def clean(tx: Transaction, older_than_s: float, limit: int = 1000) -> int:
    """Delete up to `limit` jobs that ended that long ago; how many that were. System only."""
    return await tx.execute(_CLEAN, older_than_s, limit)


async def _refuse(tx: Transaction, job_id: int, what: str, same: str = "") -> None:
    job = await get_job(tx, job_id)
    if job.state != same:
        raise Conflict(f"Job {job_id} is {job.stop or job.state}: it can't be {what}.")


def _job(row: Row) -> Job:
    values = {name: row[name] for name in Job.__slots__ if name != "progress"}
    since = row["claimed_at"] if row["state"] == "running" else None
    progress = progress_of(
        row["done"], row["total"], before=row["done_before"], since=since, now=row["now"]
    )
    return Job(**values, progress=progress)
