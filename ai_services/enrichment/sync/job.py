"""Fetches what organisations' sources have: `sync_call_records`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from ai_services.enrichment import store
from ai_services.enrichment.importing import Import
from ai_services.enrichment.imports import store as import_store
from ai_services.enrichment.imports.fenced import COUNTS, Place, bring_in
from ai_services.enrichment.sources.job import SYNC_SOURCE
from ai_services.enrichment.sources.request import Request
from ai_services.enrichment.sync.source import Delivery, Organisation, Supply
from ai_services.enrichment.work import Work
from shared.data_access.ports import Transaction
from shared.errors import Conflict, InvalidInput, NotFound
from shared.jobs.context import JobContext
from shared.jobs.enqueue import enqueue
from shared.jobs.job_type import JobType
from shared.phones import mask_phones

_CHANGED: Final = "It was taken away or changed while it was imported."


@dataclass(slots=True)
class _Under:
    """What is under way, as checkpoints hold it: a delivery by its key, the import that it becomes,
    up to which line that is; `settled` once the import has ended and the delivery is to be settled.
    """

    key: str
    import_id: str
    line: int = 0
    settled: bool = False
    error: str | None = None


async def sync_call_records(job: JobContext[Work], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Have every connected system read, by a job of its own each; import every delivery that is
    ready, one after another.

    Tells how many `sources` and deliveries (`files`) there were, how many came in, were `failed`,
    `waiting` or `refused`, and their rows; `jobs` are those that read the systems, by name.
    `from`, `to` and `source` narrow what is read of these; with any of them no file is looked for.
    """
    assert job.org_id is not None, "it is scheduled for organisations"
    whose = await _organisation(job, job.org_id)
    reading = await _read_systems(job, whose, args)
    if args:
        return {"jobs": reading}
    supplies = [await source.look(whose) for source in job.state.sources]
    return {**await _Sync(job, job.org_id).run(supplies), "jobs": reading}


async def _read_systems(
    job: JobContext[Work], whose: Organisation, args: Mapping[str, Any]
) -> dict[str, int]:
    """The jobs that do, which go on by themselves: a system that is away keeps nobody waiting.

    One that is still being read is left alone; what is new since comes with the next time.
    """
    connected, only = job.state.connected, args.get("source")
    if only is None:
        wanted = [] if connected is None else connected.read_for(whose.slug)
    elif connected is None:
        raise NotFound("No systems are connected: the setting SOURCES names no file.")
    else:
        wanted = [connected.source_of(whose.slug, only)]
    days = {name: args[name] for name in ("from", "to") if args.get(name) is not None}
    Request.of(days, ZoneInfo("UTC"), datetime.now(UTC))  # before anything is begun
    found: dict[str, int] = {}
    async with job.db.tenant(whose.org_id) as tx:
        await job.fence(tx)
        for one in wanted:
            if one.kind == "push":
                raise InvalidInput.of(
                    "source", f"{one.name} sends by itself", "name one that is read"
                )
            asked = {"source": one.name, **days}
            begun = await enqueue(tx, SYNC_SOURCE, asked, org_id=whose.org_id, key=one.name)
            if days and not begun.created:
                raise Conflict(
                    f"{one.name} is being read by job {begun.job_id}: wait for its end, or cancel it, "
                    "and ask again."
                )
            found[one.name] = begun.job_id
    return found


class _Sync:
    """One claim's part of a run. `_totals` are of the deliveries that are through, in all claims."""

    def __init__(self, job: JobContext[Work], org_id: UUID) -> None:
        self._job = job
        self._org_id = org_id
        cursor = job.cursor or {}
        self._totals: dict[str, int] = dict(cursor.get("totals", _nothing()))
        self._bytes: int = cursor.get("bytes", 0)  # of the deliveries that are through
        under = cursor.get("under")
        self._under = None if under is None else _Under(**under, line=cursor.get("line", 0))
        self._total = 0

    async def run(self, supplies: list[Supply]) -> dict[str, Any]:
        deliveries = [one for supply in supplies for one in supply.deliveries]
        self._total = self._bytes + sum(one.size for one in deliveries)
        if self._under is not None and self._under.key not in {one.key for one in deliveries}:
            await self._give_up(self._under)
        # What was begun comes first: there is one place for what is under way.
        for one in sorted(deliveries, key=lambda one: not self._is_under(one)):
            await self._bring_in(one)
        return {
            "sources": sum(supply.sources for supply in supplies),
            "waiting": sum(supply.waiting for supply in supplies),
            "refused": sum(supply.refused for supply in supplies),
            **self._totals,
        }

    def _is_under(self, delivery: Delivery) -> bool:
        return self._under is not None and self._under.key == delivery.key

    async def _bring_in(self, delivery: Delivery) -> None:
        under = self._under
        if under is None:
            under = self._under = await self._begin(delivery)
        if not under.settled:
            await self._import(delivery, under)
        await delivery.settle(UUID(under.import_id), under.error)
        self._under = None

    async def _begin(self, delivery: Delivery) -> _Under:
        async with self._job.db.tenant(self._org_id) as tx:
            await self._job.fence(tx)
            run = await self._run_of(tx, delivery)
            under = _Under(delivery.key, str(run.import_id))
            await self._checkpoint(tx, under)
        return under

    async def _run_of(self, tx: Transaction, delivery: Delivery) -> Import:
        name, job_id = mask_phones(delivery.name), self._job.job_id
        return await Import.begin(tx, self._org_id, name, delivery.preset, job_id=job_id)

    async def _import(self, delivery: Delivery, under: _Under) -> None:
        import_id = UUID(under.import_id)
        async with self._job.db.tenant(self._org_id) as tx:
            found = await import_store.get_import(tx, self._org_id, import_id)
            assert found is not None, "it was begun with its checkpoint"
            if found["finished_at"] is not None:  # the job was cancelled, and is retried
                await self._job.fence(tx)
                run = await self._run_of(tx, delivery)
                under.import_id = str(run.import_id)
                await self._checkpoint(tx, under)
            else:
                run = await Import.resume(tx, self._org_id, import_id)
        place = Place(self._cursor(under), under.line, self._bytes, self._total)
        read = partial(delivery.batches, found["started_at"])
        under.error = await bring_in(self._job, run, read, place)
        await self._end(under, delivery.size)

    async def _give_up(self, under: _Under) -> None:
        """Its rest is gone, or another thing by now."""
        if not under.settled:
            under.error = _CHANGED
            await self._end(under, 0)
        self._under = None

    async def _end(self, under: _Under, size: int) -> None:
        """The import with its counts, in one transaction with the checkpoint."""
        under.settled = True
        import_id = UUID(under.import_id)
        async with self._job.db.tenant(self._org_id) as tx:
            await self._job.fence(tx)
            await import_store.finish_import(tx, self._org_id, import_id, under.error)
            found = await import_store.get_import(tx, self._org_id, import_id)
            assert found is not None
            under.error = found["error"]
            self._totals["files"] += 1
            self._totals["failed" if under.error else "imported"] += 1
            for name in COUNTS:
                self._totals[name] += found[name]
            self._bytes += size
            await self._checkpoint(tx, under)

    async def _checkpoint(self, tx: Transaction, under: _Under) -> None:
        cursor = {**self._cursor(under), "line": under.line}
        await self._job.checkpoint(tx, cursor, done=self._bytes, total=self._total)

    def _cursor(self, under: _Under) -> dict[str, Any]:
        """A checkpoint but for its line."""
        begun = {
            "key": under.key,
            "import_id": under.import_id,
            "settled": under.settled,
            "error": under.error,
        }
        return {"under": begun, "totals": self._totals, "bytes": self._bytes}


def _nothing() -> dict[str, int]:
    return dict.fromkeys(("files", "imported", "failed", *COUNTS), 0)


async def _organisation(job: JobContext[Work], org_id: UUID) -> Organisation:
    async with job.db.tenant(org_id, readonly=True) as tx:
        slug = await store.organisation_slug(tx, org_id)
    if slug is None:
        raise NotFound("There is no such organisation.")
    return Organisation(org_id, slug)


SYNC_CALL_RECORDS: Final = JobType(
    "sync_call_records",
    sync_call_records,
    timedelta(hours=2),
    "Fetches the calls that the organisation's sources have.",
    cron="0 2 * * *",
    exclusive=True,
)
