"""Erases a customer with many calls: `erase_customer`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment.customers.forgetting import step
from ai_services.enrichment.work import Work
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType


async def erase_customer(job: JobContext[Work], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Step by step, each a transaction; tells of the erasure what its receipt does."""
    assert job.org_id is not None, "a customer is an organisation's"
    erasure_id = UUID(args["erasure_id"])
    while True:
        async with job.db.tenant(job.org_id) as tx:
            await job.fence(tx)
            found = await step(tx, job.org_id, erasure_id)
            await job.checkpoint(tx, {"calls": found.calls}, done=found.calls)
        if found.finished_at is not None:
            return {"erasure_id": args["erasure_id"], "calls": found.calls}


# The steps of one wait for those of another anyway.
ERASE_CUSTOMER: Final = JobType(
    "erase_customer",
    erase_customer,
    timedelta(hours=4),
    "Erases a customer with all that is theirs.",
    priority=10,
    exclusive=True,
)
