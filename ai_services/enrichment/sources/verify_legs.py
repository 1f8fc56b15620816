"""Compares a day of a source whose rows are legs: what its calls are by their legs with what is kept.

A call counts on the day of its first leg. Its legs of other days are taken as they are kept: each is
compared on its own day. The legs of one day are held in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

import orjson
import polars as pl

from ai_services.enrichment.customers import arriving
from ai_services.enrichment.customers.staging_store import Staged
from ai_services.enrichment.events import announce_calls
from ai_services.enrichment.importing import Import
from ai_services.enrichment.legs import store as leg_store
from ai_services.enrichment.legs.join import chosen, join
from ai_services.enrichment.legs.joining import merge_legs
from ai_services.enrichment.legs.leg import Leg
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.sources import store
from ai_services.enrichment.sources.compared import Compared, digest_of
from ai_services.enrichment.sources.page import Page, check, delete, put_in
from ai_services.enrichment.sources.routing import Shard
from ai_services.enrichment.sources.settings import SourceSettings
from ai_services.enrichment.sources.shard_reader import ShardReader, Span
from ai_services.enrichment.staging import legs_of, stage
from shared.data_access.ports import Relational, Row

_PART: Final = 1_000  # calls compared, and repaired, at a time


@dataclass(frozen=True, slots=True)
class LegComparison:
    """What compares one source of one organisation, and repairs what differs if it is to."""

    relational: Relational
    org_id: UUID
    settings: SourceSettings
    cipher: PhoneCipher
    repair: bool

    async def day(
        self, reader: ShardReader, shards: Sequence[Shard], day: date, span: Span
    ) -> Compared:
        """Of all tables together: the legs of one call may lie in two of them."""
        assert span.first is not None, "a day has a beginning"
        compared = Compared(self.settings.name, self.settings.layout.calls.template, day)
        # Before the source is read: what comes in meanwhile is no difference.
        async with self.relational.tenant(self.org_id, readonly=True) as tx:
            ours = await store.callids_of_day(tx, self.org_id, self.settings.name, None, day)
        pages = await self._pages(reader, shards, span)
        if pages is None:  # a table is gone: that tells nothing of its calls
            return compared
        compared.rejected = sum(len(page.batch.rejects) for page in pages)
        legs = await asyncio.to_thread(_by_call, pages, self.cipher)
        seen = {*legs, *(one.callid for page in pages for one in page.batch.rejects)}
        for callids in _parts(list(legs)):
            part = {callid: legs[callid] for callid in callids}
            await self._compare(compared, part, pages, span)
        gone = [callid for callid in ours if callid not in seen]
        compared.ours += len(gone)
        compared.extra.add(gone)
        if self.repair:
            for callids in _parts(gone):
                compared.repaired += await self._drop(callids, span)
        return compared

    async def _pages(
        self, reader: ShardReader, shards: Sequence[Shard], span: Span
    ) -> list[Page] | None:
        found: list[Page] = []
        for shard in shards:
            async with aclosing(reader.pages(shard, span)) as raw_pages:
                async for raw in raw_pages:
                    if not raw.columns.names:
                        return None
                    page = await asyncio.to_thread(
                        check, raw, self.settings.preset, self.cipher,
                        first_line=1, now=datetime.now(UTC), timezone=str(reader.zone),
                    )  # fmt: skip
                    found.append(replace(page, staged=b"", raw=replace(raw, rows=(), turns={})))
        return found

    async def _compare(
        self,
        compared: Compared,
        legs: Mapping[str, list[Leg]],
        pages: Sequence[Page],
        span: Span,
    ) -> None:
        first, end = _bounds(span)
        async with self.relational.tenant(self.org_id, readonly=True) as tx:
            kept = await store.kept(tx, self.org_id, list(legs))
            others = await leg_store.beyond_span(tx, self.org_id, list(legs), first, end)
            new = [
                Staged(callid, join(chosen(found))["customer_id"], None)
                for callid, found in legs.items()
                if callid not in kept
            ]
            erased = await arriving.kept_out(tx, self.org_id, new, self.cipher.digests)
        compared.erased += len(erased)
        whole = {callid: list(found) for callid, found in legs.items() if callid not in erased}
        for row in others:
            whole[row["callid"]].append(Leg(*(row[name] for name in Leg._fields)))
        calls = {callid: join(chosen(found)) for callid, found in whole.items()}
        differ = _differing(compared, calls, kept, span)
        if self.repair and differ:
            compared.repaired += await self._put_in(differ, pages, span)

    async def _put_in(self, differ: Sequence[str], pages: Sequence[Page], span: Span) -> int:
        """The source's legs of the day take the place of those that are kept."""
        repaired: set[str] = set()
        async with self.relational.tenant(self.org_id) as tx:
            await leg_store.drop_within(tx, self.org_id, differ, *_bounds(span))
            run = await Import.begin(
                tx, self.org_id, self.settings.name, self.settings.preset.name, listed=False
            )
            for page in pages:
                frame = page.batch.frame.filter(pl.col("callid").is_in(differ))
                if frame.height:
                    batch = replace(page.batch, frame=frame, rejects=[], replaced={}, warnings=[])
                    again = replace(page, batch=batch, staged=stage(frame, self.cipher))
                    stored = await put_in(tx, run, self.settings.name, again, self.cipher)
                    repaired.update(stored.merged.callids)
        return len(repaired)

    async def _drop(self, callids: Sequence[str], span: Span) -> int:
        """Calls that have no leg on that day any more: what is left of them, or nothing."""
        async with self.relational.tenant(self.org_id) as tx:
            left = await leg_store.drop_within(tx, self.org_id, callids, *_bounds(span))
            rest = [callid for callid in callids if callid not in left]
            deleted = await delete(tx, self.org_id, rest, self.settings.name, None) if rest else 0
            run = await Import.begin(
                tx, self.org_id, self.settings.name, self.settings.preset.name, listed=False
            )
            merged = await merge_legs(
                tx, self.org_id, run.timezone, b"", self.cipher.digests, also=left
            )
            await announce_calls(tx, self.org_id, merged)
        return deleted + len(merged.callids)


def _by_call(pages: Sequence[Page], cipher: PhoneCipher) -> dict[str, list[Leg]]:
    """As they would be kept."""
    found: dict[str, list[Leg]] = {}
    for page in pages:
        if page.batch.frame.is_empty():
            continue
        for row in legs_of(page.batch.frame, cipher).iter_rows(named=True):
            phone, turns = row["phone_cipher"], row["turns"]
            row["phone_cipher"] = phone and bytes.fromhex(phone.removeprefix("\\x"))
            row["turns"] = turns and orjson.loads(turns)
            leg = Leg(*(row[name] for name in Leg._fields))
            found.setdefault(row["callid"], []).append(leg)
    return found


def _differing(
    compared: Compared,
    calls: Mapping[str, Mapping[str, Any]],
    kept: Mapping[str, Row],
    span: Span,
) -> list[str]:
    """Note what differs; the callids of what is missing or changed."""
    first, end = _bounds(span)
    missing, changed = list[str](), list[str]()
    for callid, call in calls.items():
        ours = kept.get(callid)
        if ours is not None and ours["source"] not in (compared.source, None):
            compared.moved += 1
            continue
        counts = first <= call["started_at"] < end
        turns = call["turns"] or (ours and ours["turns"])  # what isn't sent again is kept
        theirs = digest_of(callid, call, call["phone_cipher"], turns)
        if counts:
            compared.count_theirs(theirs)
        if ours is None:
            missing.append(callid)
            continue
        here = digest_of(callid, ours, ours["phone_cipher"], ours["turns"])
        if counts:
            compared.count_ours(here)
        if here != theirs:
            changed.append(callid)
    compared.missing.add(missing)
    compared.changed.add(changed)
    return [*missing, *changed]


def _bounds(span: Span) -> tuple[datetime, datetime]:
    assert span.first is not None, "a day has a beginning"
    return span.first, span.end


def _parts(callids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(callids), _PART):
        yield callids[start : start + _PART]
