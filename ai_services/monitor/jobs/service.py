"""Use cases about jobs and schedules, each one transaction of one organisation."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from shared.cursor import Listing, Page, number
from shared.data_access.ports import Relational, Transaction
from shared.errors import Conflict, NotFound, StoreConflict
from shared.jobs import scheduling
from shared.jobs.enqueue import enqueue
from shared.jobs.rebuilding import rebuild_name
from shared.jobs.store import jobs, schedules
from shared.jobs.store.jobs import Job
from shared.jobs.store.schedules import DeclaredType, Schedule
from shared.jobs.store.state import State
from shared.services import SERVICES

_ID: Final = re.compile(r"[0-9]{1,19}")
_MAX_ID: Final = 2**63 - 1
_PROJECTIONS: Final = tuple(
    one.name for service in SERVICES for one in service.projections if one.rebuilt
)
_ALL: Final = 1_000  # schedules that are shown: as many as there are kinds of job


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule with the kind of job that it runs."""

    schedule: Schedule
    kind: DeclaredType

    @property
    def paused(self) -> bool:
        """By the organisation, or for all of them."""
        return self.schedule.paused or self.kind.paused


def job_id_of(text: str) -> int:
    """The id that a path names. NotFound for what is none."""
    if not (_ID.fullmatch(text) and int(text) <= _MAX_ID):
        raise NotFound("There is no such job: its id is a whole number.")
    return int(text)


async def list_jobs(
    db: Relational,
    org_id: UUID,
    name: str | None,
    state: State | None,
    *,
    cursor: str | None,
    limit: int,
) -> Page[Job]:
    """Newest first."""
    listing = Listing("jobs", (str(org_id), name, state), number)
    before = listing.position(cursor)
    async with db.tenant(org_id) as tx:
        found = await jobs.list_jobs(tx, name=name, state=state, before=before, limit=limit + 1)
    return listing.page(found, limit, lambda job: (job.job_id,))


async def get_job(db: Relational, org_id: UUID, job_id: int) -> Job:
    async with db.tenant(org_id) as tx:
        return await jobs.get_job(tx, job_id)


async def some_jobs(db: Relational, org_id: UUID, ids: Collection[int]) -> list[Job]:
    """Those of these that there are, the newest first."""
    async with db.tenant(org_id) as tx:
        return await jobs.some_jobs(tx, ids)


async def run_job(db: Relational, org_id: UUID, name: str) -> int:
    """The id of the job. NotFound without such a schedule; Conflict while its last is unfinished."""
    async with db.tenant(org_id) as tx:
        return await scheduling.run_now(tx, (await _schedule(tx, name)).schedule_id)


async def rebuild_projection(db: Relational, org_id: UUID, projection: str) -> int:
    """The id of the job: of the one that does it already, if it is unfinished. NotFound."""
    if projection not in _PROJECTIONS:
        known = ", ".join(_PROJECTIONS)
        raise NotFound(f"There is no projection {projection[:100]!r}: there is {known}.")
    async with db.tenant(org_id) as tx:
        name = rebuild_name(projection)
        return (await enqueue(tx, name, {}, org_id=org_id, key=projection)).job_id


async def cancel_job(db: Relational, org_id: UUID, job_id: int) -> Job:
    """The job as it stands then. NotFound; Conflict for one that has ended otherwise."""
    return await _changed(db, org_id, job_id, jobs.cancel)


async def pause_job(db: Relational, org_id: UUID, job_id: int) -> Job:
    """The job as it stands then. NotFound; Conflict for one that has ended or is to be cancelled."""
    return await _changed(db, org_id, job_id, jobs.pause)


async def resume_job(db: Relational, org_id: UUID, job_id: int) -> Job:
    """The job as it stands then. NotFound; Conflict for one that isn't paused."""
    return await _changed(db, org_id, job_id, jobs.resume)


async def retry_job(db: Relational, org_id: UUID, job_id: int) -> Job:
    """Queue a dead or cancelled job again, at its checkpoint. NotFound; Conflict for any other."""
    try:
        return await _changed(db, org_id, job_id, jobs.retry)
    except StoreConflict as error:
        raise Conflict(
            f"Job {job_id} can't be retried: another job of its key or schedule has taken its "
            "place. Wait until that has ended, or cancel it."
        ) from error


async def _changed(
    db: Relational,
    org_id: UUID,
    job_id: int,
    change: Callable[[Transaction, int], Awaitable[None]],
) -> Job:
    async with db.tenant(org_id) as tx:
        await change(tx, job_id)
        return await jobs.get_job(tx, job_id)


async def list_schedules(db: Relational, org_id: UUID) -> list[Scheduled]:
    """By name."""
    async with db.tenant(org_id) as tx:
        kinds = {kind.name: kind for kind in await schedules.declared_types(tx)}
        found = await schedules.list_schedules(tx, limit=_ALL)
    return [Scheduled(one, kinds[one.name]) for one in found]


async def put_schedule(
    db: Relational, org_id: UUID, name: str, cron: str | None, *, paused: bool
) -> Scheduled:
    """`cron` None: the declared time, which holds again within a minute. InvalidInput, NotFound."""
    async with db.tenant(org_id) as tx:
        found = await _schedule(tx, name)
        changed = await scheduling.change_schedule(tx, found.schedule_id, cron=cron, paused=paused)
        if cron is None and changed.own:
            await scheduling.reset_schedule(tx, found.schedule_id)
        return await _scheduled(tx, name)


async def change_schedule(
    db: Relational,
    org_id: UUID,
    name: str,
    *,
    cron: str | None = None,
    paused: bool | None = None,
) -> Scheduled:
    """What is None stays as it is. InvalidInput, NotFound."""
    async with db.tenant(org_id) as tx:
        found = await _schedule(tx, name)
        await scheduling.change_schedule(tx, found.schedule_id, cron=cron, paused=paused)
        return await _scheduled(tx, name)


async def reset_schedule(db: Relational, org_id: UUID, name: str) -> Scheduled:
    """The declared time holds again within a minute; one that is paused stays so. NotFound."""
    async with db.tenant(org_id) as tx:
        await scheduling.reset_schedule(tx, (await _schedule(tx, name)).schedule_id)
        return await _scheduled(tx, name)


async def _scheduled(tx: Transaction, name: str) -> Scheduled:
    (kind,) = await schedules.declared_types(tx, name)
    return Scheduled(await _schedule(tx, name), kind)


async def _schedule(tx: Transaction, name: str) -> Schedule:
    found = await schedules.list_schedules(tx, name=name, limit=1)
    if not found:
        raise NotFound(f"There is no schedule {name[:100]!r}. GET /api/v1/schedules lists them.")
    return found[0]
