"""Taking an import back: the calls that it brought in, and that nothing has changed since, are deleted.

A call that was there before the import stays as the import left it: what it was isn't kept. One that
another import or a request has changed since stays, too: it is no longer this import's. A call that
another import found as it is was not changed by it, and goes. A source is read again from before them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self
from uuid import UUID

import structlog

from ai_services.enrichment.deleting.calls import MOST_AT_ONCE, delete_calls
from ai_services.enrichment.imports import store
from ai_services.enrichment.imports.job import IMPORT_CALLS
from ai_services.enrichment.work import Work
from shared.data_access.ports import Relational, Row, Transaction
from shared.errors import Conflict, NotFound
from shared.jobs.context import JobContext
from shared.jobs.enqueue import enqueue
from shared.jobs.job_type import JobType
from shared.jobs.store import jobs

_log = structlog.get_logger("looma.imports")


@dataclass(frozen=True, slots=True)
class TakenBack:
    """`deleted` calls that the import had brought in. `kept_changed`: others that it had, which were
    changed, or deleted, by something else since. `kept_updated`: calls that were there before it and
    that it changed; they stay as it left them.
    """

    import_id: UUID
    deleted: int
    kept_changed: int
    kept_updated: int

    @classmethod
    def of(cls, run: Row) -> Self:
        inserted, deleted = run["inserted"], run["taken_back"]
        return cls(run["import_id"], deleted, max(0, inserted - deleted), run["updated"])

    def to_result(self) -> dict[str, Any]:
        return {
            "import_id": str(self.import_id),
            "deleted": self.deleted,
            "kept_changed": self.kept_changed,
            "kept_updated": self.kept_updated,
        }


async def ask_to_take_back(db: Relational, org_id: UUID, import_id: UUID) -> int:
    """The job that does it. From now on nothing more of the import comes in. NotFound."""
    async with db.tenant(org_id) as tx:
        await _close(tx, org_id, import_id)
        args = {"import_id": str(import_id)}
        return (await enqueue(tx, TAKE_BACK_IMPORT, args, org_id=org_id, key=str(import_id))).job_id


async def take_back(
    db: Relational,
    org_id: UUID,
    import_id: UUID,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> TakenBack:
    """Take it back here and now; `on_progress` is told how many are deleted, of how many. NotFound."""
    async with db.tenant(org_id) as tx:
        total = (await _close(tx, org_id, import_id))["inserted"]
    done = 0
    while True:
        async with db.tenant(org_id) as tx:
            deleted = await _delete_some(tx, org_id, import_id)
        if not deleted:
            break
        done += deleted
        on_progress(done, total)
    async with db.tenant(org_id) as tx:
        return await _end(tx, org_id, import_id)


async def take_back_import(job: JobContext[Work], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Delete what it brought in, batch by batch; tells of it as `TakenBack.to_result`."""
    assert job.org_id is not None, "an import is an organisation's"
    org_id, import_id = job.org_id, UUID(args["import_id"])
    async with job.db.tenant(org_id) as tx:
        await job.fence(tx)
        total = (await _close(tx, org_id, import_id))["inserted"]
    deleted = 1
    while deleted:
        async with job.db.tenant(org_id) as tx:
            await job.fence(tx)
            deleted = await _delete_some(tx, org_id, import_id)
            await job.checkpoint(tx, {}, done=job.done + deleted, total=total)
    async with job.db.tenant(org_id) as tx:
        await job.fence(tx)
        return (await _end(tx, org_id, import_id)).to_result()


async def _close(tx: Transaction, org_id: UUID, import_id: UUID) -> Row:
    """Let nothing more of it in. Rows are locked as the import itself does: its job, then the import."""
    found = await store.get_import(tx, org_id, import_id)
    if found is None:
        raise NotFound("There is no such import in your organisation.")
    if found["finished_at"] is None and found["job_id"] is not None:
        for job in await jobs.some_jobs(tx, [found["job_id"]]):
            if job.name == IMPORT_CALLS.name and job.finished_at is None:
                with suppress(Conflict):  # it has ended meanwhile
                    await jobs.cancel(tx, job.job_id)
    return await store.close_import(tx, org_id, import_id)


async def _delete_some(tx: Transaction, org_id: UUID, import_id: UUID) -> int:
    callids = await store.calls_of_import(tx, org_id, import_id, MOST_AT_ONCE)
    if not callids:
        return 0
    await store.set_sources_back(tx, org_id, callids)
    deleted = len(await delete_calls(tx, org_id, callids))
    await store.count_taken_back(tx, org_id, import_id, deleted)
    return deleted


async def _end(tx: Transaction, org_id: UUID, import_id: UUID) -> TakenBack:
    told = TakenBack.of(await store.end_take_back(tx, org_id, import_id))
    _log.info("import_taken_back", org_id=str(org_id), **told.to_result())
    return told


TAKE_BACK_IMPORT: Final = JobType(
    "take_back_import",
    take_back_import,
    timedelta(hours=2),
    "Takes an import back: deletes the calls that it brought in.",
    exclusive=True,
)
