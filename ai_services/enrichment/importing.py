"""Bringing validated batches in: staging rows, one merge per batch, events, counts, rejects.

Each batch of a file is one transaction with its calls, transcripts, outbox events, counts and
rejects: a process killed in the middle leaves whole batches, and the same file again changes
nothing but what is missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self
from uuid import UUID

import polars as pl

from ai_services.enrichment import import_store, store
from ai_services.enrichment.events import announce_calls
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.read_file import Batch
from shared.data_access.ports import Relational, Transaction
from shared.errors import NotFound


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """Rows of one import so far. `duplicates` are rows that a later row of the file replaced."""

    import_id: UUID
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    bytes_read: int = 0

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
        cls, tx: Transaction, org_id: UUID, source: str, preset: str, *, listed: bool = True
    ) -> Self:
        """NotFound for an organisation that is none."""
        timezone = await store.organisation_timezone(tx, org_id)
        if timezone is None:
            raise NotFound("There is no such organisation.")
        if not listed:
            return cls(org_id, timezone)
        return cls(org_id, timezone, await import_store.start_import(tx, org_id, source, preset))

    async def merge(self, tx: Transaction, batch: Batch, staged: bytes) -> store.Merged:
        """Calls, transcripts, events, counts and rejects of a batch; all or nothing with `tx`."""
        merged = store.Merged()
        if staged:
            has_turns = batch.frame["turns"].null_count() < batch.frame.height
            merged = await store.merge_calls(
                tx, self.org_id, self.timezone, staged, transcripts=has_turns
            )
            await announce_calls(tx, self.org_id, merged)
        if self.import_id is not None:
            await _record(tx, self.org_id, self.import_id, batch, merged)
        return merged

    async def finish(self, tx: Transaction) -> None:
        if self.import_id is not None:
            await import_store.finish_import(tx, self.org_id, self.import_id)


async def _record(
    tx: Transaction, org_id: UUID, import_id: UUID, batch: Batch, merged: store.Merged
) -> None:
    await import_store.keep_rejects(
        tx,
        org_id,
        import_id,
        [(r.line, r.field, r.value, r.problem, r.fix, r.raw) for r in batch.rejects],
    )
    await import_store.count_import(
        tx,
        org_id,
        import_id,
        inserted=len(merged.inserted),
        updated=len(merged.updated),
        unchanged=batch.frame.height - len(merged.inserted) - len(merged.updated),
        duplicates=batch.duplicates,
        rejected=len(batch.rejects),
    )


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
    reader = _Reader(batches, cipher)
    ahead = asyncio.create_task(reader.next())
    try:
        while (item := await ahead) is not None:
            ahead = asyncio.create_task(reader.next())
            batch, staged = item
            async with relational.tenant(org_id) as tx:
                merged = await run.merge(tx, batch, staged)
            counts = _add(counts, batch, merged)
            on_progress(counts, batch)
    finally:
        if not ahead.done():
            # The reader thread can't be interrupted; its batch is simply not stored.
            await asyncio.wait([ahead])
    async with relational.tenant(org_id) as tx:
        await run.finish(tx)
    return counts


def stage(frame: pl.DataFrame, cipher: PhoneCipher) -> bytes:
    """CSV for COPY with the columns of `store.STAGING_COLUMNS`; phone numbers leave encrypted."""
    if frame.is_empty():
        return b""
    phones = frame["phone"].to_list() if frame["phone"].null_count() < frame.height else []
    if phones:
        pairs = [cipher.protect(phone) if phone is not None else None for phone in phones]
        ciphers = [f"\\x{pair[0].hex()}" if pair else None for pair in pairs]
        masks = [pair[1] if pair else None for pair in pairs]
        protected = [
            pl.Series("phone_cipher", ciphers, pl.String),
            pl.Series("phone_masked", masks, pl.String),
        ]
    else:
        empty = pl.lit(None, pl.String)
        return _to_csv(frame.with_columns(empty.alias("phone_cipher"), empty.alias("phone_masked")))
    return _to_csv(frame.with_columns(protected))


def _to_csv(frame: pl.DataFrame) -> bytes:
    rows = frame.select(store.STAGING_COLUMNS)
    text: str = rows.write_csv(include_header=False, datetime_format="%Y-%m-%dT%H:%M:%S%.6f+00:00")
    return text.encode()


class _Reader:
    """Reads and stages one batch at a time in a thread: parsing never blocks the event loop."""

    def __init__(self, batches: Iterator[Batch], cipher: PhoneCipher) -> None:
        self._batches = batches
        self._cipher = cipher

    async def next(self) -> tuple[Batch, bytes] | None:
        return await asyncio.to_thread(self._next)

    def _next(self) -> tuple[Batch, bytes] | None:
        batch = next(self._batches, None)
        return None if batch is None else (batch, stage(batch.frame, self._cipher))


def _add(counts: ImportCounts, batch: Batch, merged: store.Merged) -> ImportCounts:
    inserted, updated = len(merged.inserted), len(merged.updated)
    return replace(
        counts,
        inserted=counts.inserted + inserted,
        updated=counts.updated + updated,
        unchanged=counts.unchanged + batch.frame.height - inserted - updated,
        duplicates=counts.duplicates + batch.duplicates,
        rejected=counts.rejected + len(batch.rejects),
        bytes_read=batch.bytes_read,
    )
