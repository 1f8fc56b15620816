"""Imports a file that was sent: `import_calls`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from ai_services.enrichment.importing import Import
from ai_services.enrichment.imports import file_store, store
from ai_services.enrichment.imports.fenced import Place, bring_in, result_of
from ai_services.enrichment.imports.how_to_read import HowToRead
from ai_services.enrichment.imports.stored_file import StoredFile
from ai_services.enrichment.work import Work
from shared.errors import JobInVain, NotFound
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType

_GONE = "The file is no longer kept. Send it again."


async def import_calls(job: JobContext[Work], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Bring in what isn't in yet, then let go of the file; tells of the import as `result_of`."""
    assert job.org_id is not None, "a file is an organisation's"
    org_id, import_id = job.org_id, UUID(args["import_id"])
    async with job.db.tenant(org_id) as tx:
        found = await store.get_import(tx, org_id, import_id)
        run = await Import.resume(tx, org_id, import_id)
        size = await file_store.file_size(tx, org_id, import_id)
    if found is None:
        raise NotFound(f"There is no import {import_id}.")
    if found["finished_at"] is not None:
        if (job.cursor or {}).get("ended"):  # its process was killed after that
            return result_of(found)
        raise JobInVain(f"The import has ended. {found['error']} Send the file again.")
    error: str | None = _GONE
    if size is not None:
        file = StoredFile(
            job.db, job.state.data_key, org_id, import_id, name=args["name"], size=size
        )
        how = HowToRead.of_args(args["how"])
        place = Place({}, (job.cursor or {}).get("line", 0), 0, size)
        read = partial(how.batches, file, found["started_at"], country=job.state.country)
        error = await bring_in(job, run, read, place)
    async with job.db.tenant(org_id) as tx:
        await job.checkpoint(tx, {"ended": True})
        await store.finish_import(tx, org_id, import_id, error)
        await file_store.delete_file(tx, org_id, import_id)
        done = await store.get_import(tx, org_id, import_id)
    assert done is not None
    return result_of(done)


# One after another, as they were sent, so that of two files with the same call the one that was sent later counts.
IMPORT_CALLS: Final = JobType(
    "import_calls",
    import_calls,
    timedelta(hours=4),
    "Imports a file of calls that was sent.",
    exclusive=True,
    in_order=True,
)
