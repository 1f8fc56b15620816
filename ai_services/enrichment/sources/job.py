"""Reads a source: `sync_source`.

Its tables are read by several readers at a time, and written by one: pages wait in a short queue, so
that a slow store slows the reading. A page comes in whole, in one transaction with the place that it
ends at; whoever goes on after a kill begins there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from ai_services.enrichment import store as calls
from ai_services.enrichment.importing import Import
from ai_services.enrichment.imports import store as import_store
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.sources import store
from ai_services.enrichment.sources.opening import open_database, open_transcripts
from ai_services.enrichment.sources.page import Page, check, put_in
from ai_services.enrichment.sources.progress import Part, Progress
from ai_services.enrichment.sources.request import Request, midnight
from ai_services.enrichment.sources.routing import Layout, Shard
from ai_services.enrichment.sources.settings import SourceSettings
from ai_services.enrichment.sources.shard_reader import ShardReader
from ai_services.enrichment.work import Work
from shared.data_access.ports import Row, Transaction
from shared.errors import InvalidInput, LoomaError, NotFound, UpstreamError, UpstreamUnavailable
from shared.jobs.backoff import Retry
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType
from shared.phones import mask_phones

_ROUNDS: Final = 3  # of looking for tables that appeared meanwhile
_NAMED: Final = 5  # tables that an error names


async def sync_source(job: JobContext[Work], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Bring in what is new in the source `args` names, or its calls `from` one day `to` another.

    Tells of the rows by outcome, of the tables that were read, and of those that could not be.
    """
    assert job.org_id is not None, "a source is an organisation's"
    async with job.db.tenant(job.org_id, readonly=True) as tx:
        slug = await calls.organisation_slug(tx, job.org_id)
        zone = await calls.organisation_timezone(tx, job.org_id)
    connected = job.state.connected
    if slug is None or zone is None or connected is None:
        raise NotFound("No sources are connected: the setting SOURCES names no file.")
    settings = connected.source_of(slug, str(args.get("source")))
    try:
        return await _Sync(job, job.org_id, settings, ZoneInfo(zone)).run(args)
    except UpstreamUnavailable:
        connected.metrics.failed(settings.name, "away")
        raise
    except UpstreamError:
        connected.metrics.failed(settings.name, "refused")
        raise


class _Sync:
    """One claim's part of a run."""

    def __init__(
        self, job: JobContext[Work], org_id: UUID, settings: SourceSettings, zone: ZoneInfo
    ) -> None:
        self._job = job
        self._org_id = org_id
        self._settings = settings
        self._zone = zone
        self._cipher = PhoneCipher(job.state.data_key, org_id, job.state.country)
        self._told: set[str] = set()
        self._line = 0

    async def run(self, args: Mapping[str, Any]) -> dict[str, Any]:
        run, progress, self._started = await self._begin(args)
        request = Request.of(args, self._zone, self._started)
        self._line = progress.line
        async with open_transcripts(self._settings) as transcripts:
            reader = ShardReader(
                self._settings, open_database(self._settings), transcripts, self._zone
            )
            gaps: list[str] = []
            for _ in range(_ROUNDS):
                parts, missing = await self._parts(reader, request, progress)
                gaps = gaps or missing
                if not parts:
                    break
                if progress.total is None:
                    progress.total = await self._count(reader, parts)
                await self._read(reader, run, progress, parts)
        return await self._end(request, progress, gaps)

    async def _begin(self, args: Mapping[str, Any]) -> tuple[Import, Progress, datetime]:
        """The import that the run is, begun with its first checkpoint or found by the last one.

        One that has been ended meanwhile, as the job's was that is tried again, stays as it is: the
        run goes on in another. If it was taken back, what it had read is to be read again.
        """
        job = self._job
        async with job.db.tenant(self._org_id) as tx:
            await job.fence(tx)
            progress = None if job.cursor is None else Progress(**job.cursor)
            if progress is not None:
                import_id = UUID(progress.import_id)
                before = await import_store.hold_import(tx, self._org_id, import_id)
                if before is None:
                    raise NotFound(f"There is no import {import_id}.")
                if before["finished_at"] is None:
                    run = await Import.resume(tx, self._org_id, import_id)
                    return run, progress, datetime.fromisoformat(progress.started)
                if before["take_back_at"] is not None:
                    progress = None
            await store.begin_sync(tx, self._org_id, self._settings.name)
            run, started = await self._new_import(tx, args)
            if progress is None:
                progress = Progress(str(run.import_id), started.isoformat())
            progress.import_id = str(run.import_id)
            await job.checkpoint(tx, progress.json(), done=progress.rows)
        return run, progress, datetime.fromisoformat(progress.started)

    async def _new_import(
        self, tx: Transaction, args: Mapping[str, Any]
    ) -> tuple[Import, datetime]:
        """And when it was begun."""
        days = "–".join(str(args[name]) for name in ("from", "to") if args.get(name))
        source, preset = f"{self._settings.name} {days}".strip(), self._settings.preset.name
        run = await Import.begin(tx, self._org_id, source, preset, job_id=self._job.job_id)
        assert run.import_id is not None, "it is listed"
        found = await import_store.hold_import(tx, self._org_id, run.import_id)
        assert found is not None, "it was begun here"
        return run, found["started_at"]

    async def _parts(
        self, reader: ShardReader, request: Request, progress: Progress
    ) -> tuple[list[Part], list[str]]:
        """The tables that are still to be read, and those of months that there should be."""
        layout, settings = self._settings.layout, self._settings
        there = await reader.shards()
        if not there:
            raise UpstreamError(
                f"Source {settings.name}: there is no table {layout.calls.template}, or its user may "
                "not see it. Check `table`, and GRANT SELECT on it."
            )
        async with self._job.db.tenant(self._org_id, readonly=True) as tx:
            known = await store.shards(tx, self._org_id, settings.name)
        first = request.first or settings.since
        last = (request.end - timedelta(microseconds=1)).astimezone(self._zone).date()
        shards = layout.reaching(there, first, last)
        if request.is_incremental:  # a table that can't grow any more is read to its end once
            shards = [one for one in shards if not _is_over(layout, one, known, self._zone, last)]
        through = {*progress.done, *progress.failed}
        parts = [
            self._part(request, one, known.get(one.table))
            for one in shards
            if one.table not in through
        ]
        return parts, layout.gaps(shards)

    def _part(self, request: Request, shard: Shard, known: Row | None) -> Part:
        span = request.span(self._settings, known)
        moves = request.moves(span, self._settings, known)
        return Part(shard, span, moves, request.after(span, self._settings))

    async def _count(self, reader: ShardReader, parts: Sequence[Part]) -> int | None:
        """How many rows there are to be read; None where that can't be told yet."""
        counts = 0
        for part in parts:
            try:
                counts += await reader.count(part.shard, part.span)
            except (InvalidInput, UpstreamError):
                return None  # the reading says why
        return counts

    async def _read(
        self, reader: ShardReader, run: Import, progress: Progress, parts: Sequence[Part]
    ) -> None:
        """`concurrency` readers, each through one table after another; one writer."""
        waiting = list(reversed(parts))
        pages: asyncio.Queue[tuple[Part, Page | LoomaError] | None] = asyncio.Queue(2)

        async def read() -> None:
            while waiting:
                part = waiting.pop()
                try:
                    async with aclosing(self._pages(reader, part, progress)) as checked:
                        async for page in checked:
                            await pages.put((part, page))
                except UpstreamUnavailable:
                    raise
                except (InvalidInput, UpstreamError) as error:
                    await pages.put((part, error))

        async def read_all() -> None:
            async with asyncio.TaskGroup() as readers:
                for _ in range(min(self._settings.concurrency, len(parts))):
                    readers.create_task(read())
            await pages.put(None)

        async with _unwrapped(), asyncio.TaskGroup() as group:
            group.create_task(read_all())
            while (item := await pages.get()) is not None:
                part, found = item
                if isinstance(found, Page):
                    await self._store(run, progress, part, found)
                else:
                    await self._fail(progress, part, found)

    async def _pages(
        self, reader: ShardReader, part: Part, progress: Progress
    ) -> AsyncGenerator[Page, None]:
        place = progress.places.get(part.shard.table)
        zone = self._settings.timezone or str(self._zone)
        raw_pages = reader.pages(part.shard, part.span, tuple(place) if place else None)
        async with aclosing(raw_pages) as found:
            async for raw in found:
                first, self._line = self._line + 1, self._line + len(raw.rows)
                yield await asyncio.to_thread(
                    check, raw, self._settings.preset, self._cipher,
                    first_line=first, now=datetime.now(UTC), timezone=zone,
                )  # fmt: skip

    async def _store(self, run: Import, progress: Progress, part: Part, page: Page) -> None:
        job, raw, table = self._job, page.raw, part.shard.table
        name = self._settings.name
        new = [note for note in page.batch.warnings if note not in self._told]
        page.batch.warnings[:] = new
        async with job.db.tenant(self._org_id) as tx:
            await job.fence(tx)
            stored = await put_in(tx, run, name, page, self._cipher)
            progress.note(page, stored)
            through = raw.through if part.moves else None
            if through is not None:  # nobody knows what comes until the end of the last day
                through = min(through, self._started)
            if raw.last:
                progress.places.pop(table, None)
                progress.done.append(table)
            elif raw.position is not None:
                progress.places[table] = list(raw.position)
            await store.advance(
                tx, self._org_id, name, table, through, after=part.after, ended=raw.last
            )
            await job.checkpoint(tx, progress.json(), done=progress.rows, total=progress.total)
        self._told.update(new)
        outcomes = stored.outcomes
        job.state.counts.brought_in(
            self._org_id, {k: v for k, v in outcomes.items() if k != "deleted"}
        )
        if job.state.connected is not None:
            job.state.connected.metrics.rows(name, outcomes)

    async def _fail(self, progress: Progress, part: Part, error: LoomaError) -> None:
        """One table can't be read: the others are."""
        told = mask_phones(error.message)
        progress.failed[part.shard.table] = told[:500]
        async with self._job.db.tenant(self._org_id) as tx:
            await self._job.fence(tx)
            await store.shard_failed(tx, self._org_id, self._settings.name, part.shard.table, told)
            await self._job.checkpoint(tx, progress.json())
        if self._job.state.connected is not None:
            self._job.state.connected.metrics.failed(self._settings.name, "table")

    async def _end(
        self, request: Request, progress: Progress, gaps: Sequence[str]
    ) -> dict[str, Any]:
        failed = progress.failed
        named = "; ".join(list(failed.values())[:_NAMED])
        error = f"{len(failed)} of its tables could not be read: {named}" if failed else None
        notes = [f"There is no table {table}." for table in gaps]
        import_id = UUID(progress.import_id)
        async with self._job.db.tenant(self._org_id) as tx:
            await self._job.fence(tx)
            await import_store.count_import(tx, self._org_id, import_id, notes=notes)
            await import_store.finish_import(tx, self._org_id, import_id, error)
            if request.is_incremental:
                await store.end_sync(tx, self._org_id, self._settings.name, error)
        return {
            "source": self._settings.name,
            "import_id": progress.import_id,
            "rows": progress.rows,
            **progress.outcomes,
            "tables": len(progress.done),
            "failed": dict(list(failed.items())[:_NAMED]),
            "missing": list(gaps)[:_NAMED],
        }


def _is_over(
    layout: Layout, shard: Shard, known: Mapping[str, Row], zone: ZoneInfo, last: date
) -> bool:
    """Whether all of its calls are in: nothing of its tasks is called any more."""
    row, end = known.get(shard.table), layout.end(shard)
    through = None if row is None else row["through"]
    return (
        end is not None and through is not None and end <= last and through >= midnight(end, zone)
    )


@asynccontextmanager
async def _unwrapped() -> AsyncIterator[None]:
    """What a task group raises, as it was raised in it: the first of it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None


# A source that is away for hours is asked again and again; after that, the next day's run goes on.
SYNC_SOURCE: Final = JobType(
    "sync_source",
    sync_source,
    timedelta(hours=24),
    "Reads a connected source: what is new, or the calls of some days.",
    retry=Retry(failures=10, first_s=60.0, longest_s=7200.0),
)
