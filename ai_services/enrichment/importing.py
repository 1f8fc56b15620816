"""Bringing validated batches in: staging rows, one merge per batch, events, counts, rejects.

Each batch of a file is one transaction with its calls, transcripts, outbox events, counts and
rejects: a process killed in the middle leaves whole batches, and the same file again changes
nothing but what is missing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Final, Self
from uuid import UUID

from ai_services.enrichment import store
from ai_services.enrichment.customers import arriving
from ai_services.enrichment.customers.digests import Digests
from ai_services.enrichment.events import announce_calls
from ai_services.enrichment.imports import store as import_store
from ai_services.enrichment.imports.notes_of_calls import notes_of_calls
from ai_services.enrichment.legs.joining import merge_legs
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.read_file import Batch
from ai_services.enrichment.staging import stage
from shared.data_access.ports import Relational, Transaction
from shared.errors import InvalidInput, LoomaError, NotFound
from shared.phones import mask_phones

_LONGEST_ERROR: Final = 2000
_MOST_IN_VAIN: Final = 100_000  # rejected rows of an import of which not one is good
_CUT: Final = "The compressed file is cut off or damaged: what came before that is in."


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """Rows of one import so far. `duplicates` are rows that a later row of the file replaced, `erased`
    those of the unchanged that stay out, `spread` calls whose legs are far apart; `noted` is how many
    notes there are of rows, by field.
    """

    import_id: UUID
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    bytes_read: int = 0
    noted: Mapping[str, int] = field(default_factory=dict)
    erased: int = 0
    spread: int = 0

    @property
    def rows(self) -> int:
        return self.inserted + self.updated + self.unchanged + self.duplicates + self.rejected


@dataclass(frozen=True, slots=True)
class Import:
    """An import under way: begun, batches merged into it, finished; in one transaction or in many.

    One without `import_id` is in no list: it keeps neither counts nor rejects.
    """

    org_id: UUID
    timezone: str
    import_id: UUID | None = None

    @classmethod
    async def begin(
        cls,
        tx: Transaction,
        org_id: UUID,
        source: str,
        preset: str,
        *,
        listed: bool = True,
        import_id: UUID | None = None,
        job_id: int | None = None,
    ) -> Self:
        """NotFound for an organisation that is none. `import_id` None: a new one."""
        timezone = await _timezone(tx, org_id)
        if not listed:
            return cls(org_id, timezone)
        started = await import_store.start_import(tx, org_id, source, preset, import_id, job_id)
        return cls(org_id, timezone, started)

    @classmethod
    async def resume(cls, tx: Transaction, org_id: UUID, import_id: UUID) -> Self:
        """One that was begun."""
        return cls(org_id, await _timezone(tx, org_id), import_id)

    async def merge(
        self, tx: Transaction, batch: Batch, staged: bytes, digests: Digests
    ) -> store.Merged:
        """Calls, transcripts, events, counts and rejects of a batch; all or nothing with `tx`."""
        merged = store.Merged()
        if staged and batch.of_legs:
            merged = await merge_legs(
                tx, self.org_id, self.timezone, staged, digests, import_id=self.import_id
            )
        elif staged:
            has_turns = batch.frame["turns"].null_count() < batch.frame.height
            merged = await store.merge_calls(
                tx,
                self.org_id,
                self.timezone,
                staged,
                digests,
                transcripts=has_turns,
                import_id=self.import_id,
            )
        if staged:
            await announce_calls(tx, self.org_id, merged)
        if self.import_id is not None:
            await _record(tx, self.org_id, self.import_id, batch, merged, digests)
        return merged

    async def check_worth(self, db: Relational) -> None:
        """InvalidInput once so many rows were rejected, and not one was good, that none will be."""
        if self.import_id is None:
            return
        async with db.tenant(self.org_id, readonly=True) as tx:
            row = await import_store.get_import(tx, self.org_id, self.import_id)
        if row is None or row["rejected"] < _MOST_IN_VAIN:
            return
        if not any(row[name] for name in ("inserted", "updated", "unchanged", "duplicates")):
            raise InvalidInput.of(
                "file",
                f"has not one good row among its first {row['rejected']:,}",
                "look at the rejected rows, which say what is wrong, and mend the file or its "
                "column map: the rest was not read",
            )

    async def finish(self, tx: Transaction, error: str | None = None) -> None:
        """`error` says why the rest wasn't taken."""
        if self.import_id is not None:
            await import_store.finish_import(tx, self.org_id, self.import_id, error)


async def _timezone(tx: Transaction, org_id: UUID) -> str:
    timezone = await store.organisation_timezone(tx, org_id)
    if timezone is None:
        raise NotFound("There is no such organisation.")
    return timezone


async def _record(
    tx: Transaction,
    org_id: UUID,
    import_id: UUID,
    batch: Batch,
    merged: store.Merged,
    digests: Digests,
) -> None:
    """Counts, and what is kept of rows: nothing of those that name what was erased and stays out."""
    texts = [f"{one.raw}\t{one.value}" for one in batch.rejects]
    texts += [f"{one.value}\t{one.problem}" for one in batch.notes]
    nameless = await arriving.nameless(tx, org_id, texts, digests) if texts else []
    rejects = list(compress(batch.rejects, nameless))
    await import_store.keep_rejects(
        tx,
        org_id,
        import_id,
        [(r.line, r.field, r.value, r.problem, r.fix, r.raw) for r in rejects],
    )
    await import_store.keep_notes(
        tx,
        org_id,
        import_id,
        [
            (n.line, n.field, n.value, n.problem, n.fix)
            for n in compress(batch.notes, nameless[len(batch.rejects) :])
        ],
    )
    await import_store.count_import(
        tx,
        org_id,
        import_id,
        inserted=len(merged.inserted),
        updated=len(merged.updated),
        unchanged=batch.calls - len(merged.inserted) - len(merged.updated),
        duplicates=batch.duplicates,
        rejected=len(batch.rejects),
        noted=batch.noted,
        notes=batch.warnings,
        stayed_out=len(merged.erased),
        spread=len(merged.spread),
        not_kept=len(batch.rejects) - len(rejects),
        error=_CUT if batch.cut else None,
    )


def notes_of(batch: Batch, merged: store.Merged) -> list[str]:
    """What is worth knowing of what came in at once. What stayed out is in none of its counts but
    `unchanged`.
    """
    return [*batch.warnings, *notes_of_calls(len(merged.erased), len(merged.spread))]


async def import_batches(
    relational: Relational,
    org_id: UUID,
    cipher: PhoneCipher,
    batches: Iterator[Batch],
    *,
    source: str,
    preset: str,
    on_progress: Callable[[ImportCounts, Batch], None] = lambda _counts, _batch: None,
) -> ImportCounts:
    """Read, stage and merge until `batches` ends; the next batch is read while one is stored.

    `on_progress` is called after each batch is committed. Errors of reading and of the store
    are raised after what was committed before them stays.
    """
    async with relational.tenant(org_id) as tx:
        run = await Import.begin(tx, org_id, source, preset)
    assert run.import_id is not None  # it is listed
    counts = ImportCounts(run.import_id)
    try:
        async with aclosing(read_ahead(batches, cipher)) as ahead:
            async for batch, staged in ahead:
                async with relational.tenant(org_id) as tx:
                    merged = await run.merge(tx, batch, staged, cipher.digests)
                counts = _add(counts, batch, merged)
                on_progress(counts, batch)
                if batch.rejects:
                    await run.check_worth(relational)
    except InvalidInput as error:
        async with relational.tenant(org_id) as tx:
            await run.finish(tx, told(error))
        raise
    async with relational.tenant(org_id) as tx:
        await run.finish(tx)
    return counts


def told(error: LoomaError) -> str:
    """As an import keeps it: a file's own words may hold anything."""
    text = error.message.encode(errors="replace").decode().replace("\0", "")
    return mask_phones(text)[:_LONGEST_ERROR]


async def read_ahead(
    batches: Iterator[Batch],
    cipher: PhoneCipher,
    after: int = 0,
    on_passed: Callable[[Batch], None] = lambda _batch: None,
) -> AsyncGenerator[tuple[Batch, bytes], None]:
    """Batches as they are to be merged, one read in a thread while another is stored.

    Lines up to `after` are passed over: an earlier claim of a job has brought them in. `on_passed`
    is called after each batch of them; what it raises ends the reading.
    """
    reader = _Reader(batches, cipher, after, on_passed)
    ahead = asyncio.create_task(reader.next())
    try:
        while (item := await ahead) is not None:
            ahead = asyncio.create_task(reader.next())
            yield item
    finally:
        if not ahead.done():
            # The reader thread can't be interrupted; its batch is simply not stored.
            await asyncio.wait([ahead])
        if not ahead.cancelled():
            ahead.exception()  # where the storing failed, nobody asks for it


class _Reader:
    """Reads and stages one batch at a time in a thread: parsing never blocks the event loop."""

    def __init__(
        self,
        batches: Iterator[Batch],
        cipher: PhoneCipher,
        after: int,
        on_passed: Callable[[Batch], None],
    ) -> None:
        self._batches = batches
        self._cipher = cipher
        self._after = after
        self._on_passed = on_passed

    async def next(self) -> tuple[Batch, bytes] | None:
        while (found := await asyncio.to_thread(self._next)) is not None:
            batch, staged = found
            if staged is not None:
                return batch, staged
            self._on_passed(batch)
        return None

    def _next(self) -> tuple[Batch, bytes | None] | None:
        """The next batch, unstaged where it is passed over; None at the end."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        if self._after and batch.last_line <= self._after:
            return batch, None
        left = batch.after(self._after) if self._after else batch
        return left, stage(left.frame, self._cipher)


def _add(counts: ImportCounts, batch: Batch, merged: store.Merged) -> ImportCounts:
    inserted, updated = len(merged.inserted), len(merged.updated)
    return replace(
        counts,
        inserted=counts.inserted + inserted,
        updated=counts.updated + updated,
        unchanged=counts.unchanged + batch.calls - inserted - updated,
        duplicates=counts.duplicates + batch.duplicates,
        rejected=counts.rejected + len(batch.rejects),
        bytes_read=batch.bytes_read,
        noted=Counter(counts.noted) + Counter(batch.noted),
        erased=counts.erased + len(merged.erased),
        spread=counts.spread + len(merged.spread),
    )
