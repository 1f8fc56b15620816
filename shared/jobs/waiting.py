"""Waiting for a job: what `Prefer: wait=N` (RFC 7240, §4.3) asks for, and doing so."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from typing import Final
from uuid import UUID

from shared.data_access.ports import Relational
from shared.jobs.store import jobs
from shared.jobs.store.jobs import Job

MAX_WAIT_S: Final = 60
_POLL_S: Final = 0.2
_WAIT: Final = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?\s*(;.*)?', re.IGNORECASE | re.DOTALL)


def wait_preference(prefer: Iterable[str]) -> int | None:
    """The seconds that the first `wait` of these header fields asks for, 60 at most; None: no wait.

    A preference that can't be read counts as not sent, as RFC 7240 has it.
    """
    for preference in ",".join(prefer).split(","):
        found = _WAIT.fullmatch(preference.strip())
        if found:
            return min(int(found[1]), MAX_WAIT_S)
    return None


async def until_ended(db: Relational, org_id: UUID, job_id: int, seconds: float) -> Job:
    """The job once it has ended, or as it stands after `seconds`. NotFound."""
    deadline = time.monotonic() + seconds
    while True:
        async with db.tenant(org_id) as tx:
            job = await jobs.get_job(tx, job_id)
        left = deadline - time.monotonic()
        if job.finished_at is not None or left <= 0:
            return job
        await asyncio.sleep(min(_POLL_S, left))
