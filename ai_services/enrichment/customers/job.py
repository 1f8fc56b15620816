"""Erases a customer with many calls: `erase_customer`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment.customers.forgetting import step
from ai_services.enrichment.work import Work
from shared.data_access.ports import Transaction
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType


async def erase_customer(job: JobContext[Work], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Step by step; tells of the erasure what its receipt does."""
    assert job.org_id is not None, "a customer is an organisation's"
    erasure_id = UUID(args["erasure_id"])
    org_id = job.org_id

    @asynccontextmanager
    async def begin() -> AsyncIterator[Transaction]:
        async with job.db.tenant(org_id) as tx:
            await job.fence(tx)
            yield tx

    while True:
        found = await step(begin, org_id, erasure_id)
        async with begin() as tx:
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
