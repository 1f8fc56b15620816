"""A page of a source's table as it is stored: checked, staged, then merged in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import polars as pl

from ai_services.enrichment.deleting.calls import delete_calls
from ai_services.enrichment.importing import Import
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.reading.read_file import Batch
from ai_services.enrichment.sources import store
from ai_services.enrichment.sources.rows import read_rows
from ai_services.enrichment.sources.shard_reader import RawPage
from ai_services.enrichment.staging import stage
from ai_services.enrichment.store import Merged
from ai_services.enrichment.validation.record import FRAME_SCHEMA
from shared.data_access.ports import Transaction
from shared.phones import mask_phones

_NAMED: Final = 3  # calls that a note names
_EMPTY: Final = Batch(pl.DataFrame(schema=FRAME_SCHEMA), [], {}, 0)


@dataclass(frozen=True, slots=True)
class Page:
    raw: RawPage
    batch: Batch
    staged: bytes
    deleted: Sequence[str]


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a page's rows; `others` were left out as they are another table's."""

    merged: Merged
    batch: Batch
    others: int
    deleted: int

    @property
    def outcomes(self) -> dict[str, int]:
        return {**outcomes_of_rows(self.batch, self.merged), "deleted": self.deleted}


def outcomes_of_rows(batch: Batch, merged: Merged) -> dict[str, int]:
    """How many rows became what; the further rows of a call are duplicates."""
    return {
        "inserted": len(merged.inserted),
        "updated": len(merged.updated),
        "unchanged": batch.calls - len(merged.inserted) - len(merged.updated),
        "duplicate": batch.duplicates,
        "rejected": len(batch.rejects),
    }


def check(
    raw: RawPage,
    preset: Preset,
    cipher: PhoneCipher,
    *,
    first_line: int,
    now: datetime,
    timezone: str,
) -> Page:
    """In a thread. `timezone` is that of times without an offset."""
    if not raw.rows:
        return Page(raw, _EMPTY, b"", ())
    read = read_rows(
        raw.rows, raw.columns, preset, raw.turns,
        place=raw.shard.table, first_line=first_line, now=now, timezone=timezone,
        country=cipher.country,
    )  # fmt: skip
    return Page(raw, read.batch, stage(read.batch.frame, cipher), read.deleted)


async def put_in(
    tx: Transaction, run: Import, source: str, page: Page, cipher: PhoneCipher
) -> Stored:
    """Merge it; calls that another table of this or another source brought in stay as they are, but
    that the legs of a call may lie in several tables of a source.
    """
    shard = page.raw.shard.table
    batch, staged = page.batch, page.staged
    callids = batch.frame["callid"].unique().to_list()
    place = None if batch.of_legs else shard
    others = await store.elsewhere(tx, run.org_id, callids, source, place) if callids else {}
    if others:
        batch = _without(batch, others, shard)
        staged = stage(batch.frame, cipher)
    merged = await run.merge(tx, batch, staged, cipher.digests)
    callids = batch.frame["callid"].unique(maintain_order=True).to_list()
    brought = [one for one in callids if one not in merged.erased]
    if brought:
        await store.own(tx, run.org_id, brought, source, shard)
    deleted = 0
    if page.deleted:
        deleted = await delete(tx, run.org_id, page.deleted, source, shard)
    return Stored(merged, batch, len(others), deleted)


async def delete(
    tx: Transaction, org_id: UUID, callids: Sequence[str], source: str, shard: str | None
) -> int:
    """Delete those that came from there, and tell whoever derives something of them."""
    owned = await store.owned(tx, org_id, callids, source, shard)
    return len(await delete_calls(tx, org_id, owned)) if owned else 0


def _without(batch: Batch, others: Mapping[str, str], shard: str) -> Batch:
    left_out = batch.frame.filter(pl.col("callid").is_in(list(others)))
    replaced = {**batch.replaced, **dict(zip(left_out["line"], left_out["callid"], strict=True))}
    named = ", ".join(f"{callid} ({others[callid]})" for callid in sorted(others)[:_NAMED])
    note = (
        f"{shard} has {len(others):,} calls that came from another table before; they stay as that "
        f"one has them: {mask_phones(named)}{'…' if len(others) > _NAMED else ''}."
    )
    frame = batch.frame.filter(~pl.col("callid").is_in(list(others)))
    return replace(batch, frame=frame, replaced=replaced, warnings=[*batch.warnings, note])
