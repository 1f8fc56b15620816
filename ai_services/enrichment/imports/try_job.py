"""Reads a file that was sent through, and stores nothing of it: `try_import`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment.importing import told
from ai_services.enrichment.imports import file_store
from ai_services.enrichment.imports.how_to_read import HowToRead
from ai_services.enrichment.imports.stored_file import StoredFile
from ai_services.enrichment.imports.trying_out import TriedOut
from ai_services.enrichment.work import Work
from shared.errors import InvalidInput, JobInVain
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType


async def try_import(job: JobContext[Work], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Tells what an import would find, as `TriedOut.to_result` and why it would end early, if so."""
    assert job.org_id is not None, "a file is an organisation's"
    org_id, import_id = job.org_id, UUID(args["import_id"])
    async with job.db.tenant(org_id, readonly=True) as tx:
        size = await file_store.file_size(tx, org_id, import_id)
    if size is None:
        raise JobInVain("The file is no longer kept. Send it again.")
    file = StoredFile(job.db, job.state.data_key, org_id, import_id, name=args["name"], size=size)
    batches = HowToRead.of_args(args["how"]).batches(
        file, datetime.now(UTC), country=job.state.country
    )
    found, error = TriedOut(), None
    try:
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            job.stop_if_asked()
            found.add(batch)
            job.progress(batch.bytes_read, size)
    except InvalidInput as refused:
        error = told(refused)
    async with job.db.tenant(org_id) as tx:
        await job.fence(tx)
        await file_store.delete_file(tx, org_id, import_id)
    return {**found.to_result(), "error": error}


TRY_IMPORT: Final = JobType(
    "try_import",
    try_import,
    timedelta(hours=1),
    "Reads a file of calls through and stores nothing of it.",
    exclusive=True,
)
