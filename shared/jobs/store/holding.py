"""The life of a claim: renewed, proved by effects, ended.

The claim's number is part of a key of the row, and an effect holds the row FOR KEY SHARE, as a
foreign key would. Whatever changes the number (another claim, the end of this one) waits for the
effect's transaction or passes the row over; renewing the lease does neither.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from shared.data_access.ports import Transaction
from shared.errors import StopReason
from shared.jobs.store.announcing import announce_dead
from shared.jobs.store.state import State, idle_limit

# Waits for nobody: whoever holds the row is an effect of this claim that stores its checkpoint, and
# as long as it does, nobody else can claim the job.
_RENEW = """
WITH mine AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::bigint[], $5::bigint[])
        AS mine (job_id, fence, due, done, total)
), free AS (
    SELECT job_id FROM job JOIN mine USING (job_id, fence) WHERE mine.due
    FOR NO KEY UPDATE OF job SKIP LOCKED
), renewed AS (
    UPDATE job SET lease_until = clock_timestamp() + make_interval(secs => $6),
        spent = spent + (clock_timestamp() - renewed_at), renewed_at = clock_timestamp(),
        done = mine.done, total = mine.total
    FROM free JOIN mine USING (job_id) WHERE job.job_id = free.job_id AND job.fence = mine.fence
    RETURNING job.job_id
)
SELECT job_id, stop, EXISTS (SELECT FROM renewed WHERE renewed.job_id = job.job_id) AS renewed,
       set_config('idle_in_transaction_session_timeout', $7, true)
FROM job JOIN mine USING (job_id, fence)
"""
_HOLD = """
SELECT coalesce(stop, '') AS stop,
       set_config('idle_in_transaction_session_timeout', $3, true)
FROM job WHERE job_id = $1 AND fence = $2 FOR KEY SHARE
"""
_SAVE = """
UPDATE job SET cursor = $3, done = $4, total = $5, lost = 0,
    lease_until = clock_timestamp() + make_interval(secs => $6),
    spent = spent + (clock_timestamp() - renewed_at), renewed_at = clock_timestamp()
WHERE job_id = $1 AND fence = $2
"""
_END = """
UPDATE job SET
    fence = 0, worker = NULL, lease_until = NULL, stop = NULL,
    state = ending.state,
    finished_at = CASE WHEN ending.state IN ('succeeded', 'dead', 'cancelled')
                       THEN clock_timestamp() END,
    run_at = CASE WHEN ending.state = 'waiting' THEN clock_timestamp() + make_interval(secs => $4)
                  ELSE run_at END,
    failures = failures + $5::int,
    spent = CASE WHEN $5::int > 0 THEN interval '0'
                 ELSE spent + (clock_timestamp() - renewed_at) END,
    error = coalesce($6, error), result = $7, done = $8, total = $9
FROM (SELECT CASE WHEN $3 IN ('queued', 'waiting') THEN coalesce(stop, $3)
                  WHEN $3 = 'paused' THEN coalesce(stop, 'queued') -- resumed meanwhile
                  ELSE $3 END AS state
      FROM job WHERE job_id = $1 AND fence = $2 FOR UPDATE) ending
WHERE job_id = $1 AND fence = $2
RETURNING job.state, set_config('idle_in_transaction_session_timeout', $10, true)
"""


@dataclass(frozen=True, slots=True)
class Holding:
    """A claim as its worker sees it; `due`: its lease or progress has to be written."""

    job_id: int
    fence: int
    due: bool
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Beat:
    """A claim that still holds."""

    stop: StopReason | None
    renewed: bool


async def renew(tx: Transaction, holdings: Collection[Holding], lease_s: float) -> dict[int, Beat]:
    """Extend the leases that are due. Job → what is asked of it; those that are lost are missing."""
    rows = await tx.fetch(
        _RENEW,
        [one.job_id for one in holdings],
        [one.fence for one in holdings],
        [one.due for one in holdings],
        [one.done for one in holdings],
        [one.total for one in holdings],
        lease_s,
        idle_limit(lease_s),
    )
    return {row["job_id"]: Beat(row["stop"], row["renewed"]) for row in rows}


async def hold(tx: Transaction, job_id: int, fence: int, lease_s: float) -> StopReason | None:
    """Keep the claim from others until `tx` ends; says what is asked of it, or that it is lost."""
    row = await tx.fetchrow(_HOLD, job_id, fence, idle_limit(lease_s))
    return "lost" if row is None else row["stop"] or None


async def save(
    tx: Transaction,
    job_id: int,
    fence: int,
    lease_s: float,
    *,
    cursor: Mapping[str, Any],
    done: int,
    total: int | None,
) -> StopReason | None:
    """`hold`, and store a checkpoint unless something is asked of it."""
    asked = await hold(tx, job_id, fence, lease_s)
    if asked is None:
        await tx.execute(_SAVE, job_id, fence, dict(cursor), done, total, lease_s)
    return asked


async def end(
    tx: Transaction,
    job_id: int,
    fence: int,
    lease_s: float,
    state: State,
    *,
    after_s: float = 0.0,
    failed: bool = False,
    error: str | None = None,
    result: Mapping[str, Any] | None = None,
    done: int,
    total: int | None,
) -> State | None:
    """End a claim: the job is in `state`, or in the one that was asked for where it would go on.

    None: the claim was over already.
    """
    found: State | None = await tx.fetchval(
        _END, job_id, fence, state, after_s, int(failed), error,
        None if result is None else dict(result), done, total, idle_limit(lease_s),
    )  # fmt: skip
    if found == "dead":
        await announce_dead(tx, [job_id])
    return found
