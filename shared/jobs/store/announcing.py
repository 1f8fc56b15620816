"""Jobs that died are told of over the outbox, in the transaction in which they did.

The key is the job's id. The payload has `job_id`, `name`, `failures` (attempts that failed), `lost` (claims
whose worker was lost since the last checkpoint), `error`, `scheduled_for`, `created_at`, `finished_at`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.data_access.ports import Transaction

TOPIC: Final = "jobs"
_DEAD: Final = """
SELECT org_id, job_id, jsonb_build_object(
    'job_id', job_id, 'name', name, 'failures', failures, 'lost', lost, 'error', error,
    'scheduled_for', scheduled_for, 'created_at', created_at, 'finished_at', finished_at) AS told
FROM job WHERE job_id = ANY($1) AND org_id IS NOT NULL ORDER BY job_id
"""


async def announce_dead(tx: Transaction, job_ids: Sequence[int]) -> None:
    """Nobody is told of the platform's own jobs: they are no organisation's."""
    for row in await tx.fetch(_DEAD, job_ids) if job_ids else ():
        await tx.emit(row["org_id"], TOPIC, str(row["job_id"]), row["told"])
