"""Compares what a source has with what came in: by table and day, call by call.

What is read of the source goes through the same checks as when it came in, and nothing is believed
of what is kept but what the tables say now. A day of one table is compared at a time, so that what
is held in memory is the callids of one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Self
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import polars as pl

from ai_services.enrichment import store as calls
from ai_services.enrichment.customers import arriving
from ai_services.enrichment.customers.staging_store import Staged
from ai_services.enrichment.importing import Import
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.sources import store
from ai_services.enrichment.sources.opening import open_database, open_transcripts
from ai_services.enrichment.sources.page import Page, check, delete, put_in
from ai_services.enrichment.sources.request import midnight
from ai_services.enrichment.sources.routing import Shard
from ai_services.enrichment.sources.settings import SourceSettings
from ai_services.enrichment.sources.shard_reader import ShardReader, Span
from ai_services.enrichment.staging import stage
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from shared.data_access.ports import Relational, Row
from shared.errors import NotFound
from shared.phones import mask_phones

_NAMED: Final = 20  # calls that differ, of each kind
_PART: Final = 1_000  # calls deleted at a time
_FIELDS: Final = (
    "task_id", "user_id", "customer_id", "started_at", "duration_ms", "bill_ms", "rounds",
    "level_name", "call_status", "hangup_by",
)  # fmt: skip
_MASK: Final = (1 << 64) - 1


@dataclass(slots=True)
class Differing:
    """How many calls differ in one way, and some of them."""

    count: int = 0
    callids: list[str] = field(default_factory=list)

    def add(self, callids: Iterable[str]) -> None:
        for callid in callids:
            self.count += 1
            if len(self.callids) < _NAMED:
                self.callids.append(callid)


@dataclass(slots=True)
class Compared:
    """One day of one table. `theirs` and `ours` are calls, the sums those of their digests: where
    they are equal, all is. `rejected` rows are in neither, nor is what was `erased` and stays out;
    `moved` calls are another table's.
    """

    source: str
    shard: str
    day: date
    theirs: int = 0
    ours: int = 0
    rejected: int = 0
    erased: int = 0
    moved: int = 0
    their_sum: int = 0
    our_sum: int = 0
    missing: Differing = field(default_factory=Differing)
    changed: Differing = field(default_factory=Differing)
    extra: Differing = field(default_factory=Differing)
    repaired: int = 0

    @property
    def differing(self) -> int:
        return sum(one.count for one in (self.missing, self.changed, self.extra))

    @property
    def differs(self) -> bool:
        return self.differing > 0

    @property
    def is_settled(self) -> bool:
        """Whether nothing differs any more."""
        return self.repaired >= self.differing

    def examples(self) -> list[str]:
        """A line for each way in which calls differ."""
        named = (("missing", self.missing), ("changed", self.changed), ("extra", self.extra))
        return [
            f"{self.shard} {self.day}: {one.count:,} {name}: {mask_phones(', '.join(one.callids))}"
            f"{', …' if one.count > len(one.callids) else ''}"
            for name, one in named
            if one.count
        ]

    def to_json(self) -> dict[str, Any]:
        def shown(one: Differing) -> dict[str, Any]:
            return {"count": one.count, "callids": one.callids}

        return {
            "source": self.source, "table": self.shard, "day": self.day.isoformat(),
            "there": self.theirs, "here": self.ours, "rejected": self.rejected,
            "erased": self.erased, "other_tables": self.moved, "checksum_there": f"{self.their_sum:016x}",
            "checksum_here": f"{self.our_sum:016x}", "missing": shown(self.missing),
            "changed": shown(self.changed), "extra": shown(self.extra), "repaired": self.repaired,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verification:
    """What compares one source of one organisation, and repairs what differs if it is to."""

    relational: Relational
    data_key: bytes
    org_id: UUID
    zone: ZoneInfo
    settings: SourceSettings
    repair: bool = False
    country: str = DEFAULT_COUNTRY  # of phone numbers without a country code

    @classmethod
    async def of(
        cls, relational: Relational, data_key: bytes, org_id: UUID, settings: SourceSettings,
        *, repair: bool = False, country: str = DEFAULT_COUNTRY,
    ) -> Self:  # fmt: skip
        async with relational.tenant(org_id, readonly=True) as tx:
            zone = await calls.organisation_timezone(tx, org_id)
        if zone is None:
            raise NotFound("There is no such organisation.")
        return cls(relational, data_key, org_id, ZoneInfo(zone), settings, repair, country)

    async def days(self, first: date | None, last: date | None) -> AsyncGenerator[Compared, None]:
        """Each table and day from `first` to `last`, local to the organisation; yesterday unless
        given.
        """
        yesterday = datetime.now(self.zone).date() - timedelta(days=1)
        first, last = first or last or yesterday, last or max(first or yesterday, yesterday)
        async with open_transcripts(self.settings) as transcripts:
            reader = ShardReader(
                self.settings, open_database(self.settings), transcripts, self.zone
            )
            shards = self.settings.layout.reaching(await reader.shards(), first, last)
            for number in range((last - first).days + 1):
                for shard in shards:
                    compared = await self._day(reader, shard, first + timedelta(days=number))
                    if compared.theirs or compared.ours:
                        yield compared

    async def _day(self, reader: ShardReader, shard: Shard, day: date) -> Compared:
        compared = Compared(self.settings.name, shard.table, day)
        cipher = PhoneCipher(self.data_key, self.org_id, self.country)
        span = Span(midnight(day, self.zone), midnight(day + timedelta(days=1), self.zone))
        seen: set[str] = set()
        # Before the source is read: what comes in meanwhile is no difference.
        async with self.relational.tenant(self.org_id, readonly=True) as tx:
            ours = await store.callids_of_day(tx, self.org_id, self.settings.name, shard.table, day)
        async with aclosing(reader.pages(shard, span)) as pages:
            async for raw in pages:
                if not raw.columns.names:  # the table is gone: that tells nothing of its calls
                    return compared
                page = await asyncio.to_thread(
                    check, raw, self.settings.preset, cipher,
                    first_line=1, now=datetime.now(UTC), timezone=str(reader.zone),
                )  # fmt: skip
                await self._page(compared, page, cipher, seen)
        await self._extra(compared, ours, seen)
        return compared

    async def _page(
        self, compared: Compared, page: Page, cipher: PhoneCipher, seen: set[str]
    ) -> None:
        compared.rejected += len(page.batch.rejects)
        rows = await asyncio.to_thread(_rows, page, cipher)
        seen.update(rows)
        seen.update(_refused(page))
        if not rows:
            return
        async with self.relational.tenant(self.org_id, readonly=True) as tx:
            kept = await store.kept(tx, self.org_id, list(rows))
            gone = [
                Staged(callid, row["customer_id"], None)
                for callid, row in rows.items()
                if callid not in kept
            ]
            erased = await arriving.kept_out(tx, self.org_id, gone, cipher.digests)
        compared.erased += len(erased)
        for callid in erased:
            del rows[callid]
        differ = await asyncio.to_thread(_compare, compared, rows, kept, cipher)
        if self.repair and differ:
            frame = page.batch.frame.filter(pl.col("callid").is_in(sorted(differ)))
            batch = replace(page.batch, frame=frame, rejects=[], replaced={}, warnings=[])
            again = replace(page, batch=batch, staged=stage(frame, cipher), deleted=())
            async with self.relational.tenant(self.org_id) as tx:
                run = await Import.begin(
                    tx, self.org_id, self.settings.name, self.settings.preset.name, listed=False
                )
                stored = await put_in(tx, run, self.settings.name, again, cipher)
            compared.repaired += len(stored.merged.callids)

    async def _extra(self, compared: Compared, ours: Sequence[str], seen: set[str]) -> None:
        name, shard = self.settings.name, compared.shard
        gone = [callid for callid in ours if callid not in seen]
        compared.ours += len(gone)
        compared.extra.add(gone)
        if not self.repair:
            return
        for start in range(0, len(gone), _PART):
            async with self.relational.tenant(self.org_id) as tx:
                part = gone[start : start + _PART]
                compared.repaired += await delete(tx, self.org_id, part, name, shard)


def _refused(page: Page) -> set[str]:
    """The callids of rows that can't be read any more: they are there all the same."""
    return {one.callid for one in page.batch.rejects if one.callid is not None}


def _rows(page: Page, cipher: PhoneCipher) -> dict[str, dict[str, Any]]:
    """By callid, as they come in: a call without a customer is that of whoever has its number."""
    rows = {row["callid"]: row for row in page.batch.frame.iter_rows(named=True)}
    for row in rows.values():
        if row["customer_id"] is None and row["phone"] is not None:
            row["customer_id"] = cipher.identity(row["phone"])
    return rows


def _compare(
    compared: Compared,
    rows: Mapping[str, Mapping[str, Any]],
    kept: Mapping[str, Row],
    cipher: PhoneCipher,
) -> list[str]:
    """Note what differs; the callids of what is missing or changed."""
    missing, changed = list[str](), list[str]()
    for callid, row in rows.items():
        ours = kept.get(callid)
        if ours is not None and (ours["source"], ours["shard"]) not in (
            (compared.source, compared.shard),
            (None, None),
        ):
            compared.moved += 1
            continue
        theirs = _digest(callid, row, _phone(row, cipher), _turns(row, ours))
        compared.theirs += 1
        compared.their_sum = (compared.their_sum + theirs) & _MASK
        if ours is None:
            missing.append(callid)
            continue
        here = _digest(callid, ours, ours["phone_cipher"], ours["turns"])
        compared.ours += 1
        compared.our_sum = (compared.our_sum + here) & _MASK
        if here != theirs:
            changed.append(callid)
    compared.missing.add(missing)
    compared.changed.add(changed)
    return [*missing, *changed]


def _phone(row: Mapping[str, Any], cipher: PhoneCipher) -> bytes | None:
    return None if row["phone"] is None else cipher.protect(row["phone"])[0]


def _turns(row: Mapping[str, Any], ours: Row | None) -> Any:
    """A transcript that isn't sent again is kept: then ours is as it should be."""
    if row["turns"] is None:
        return None if ours is None else ours["turns"]
    return orjson.loads(row["turns"])


def _digest(callid: str, row: Mapping[str, Any], phone: bytes | None, turns: Any) -> int:
    """64 bits of a call as it is kept, so that sums of them tell equal sets of calls."""
    values: Sequence[Any] = [callid, *(_plain(row[name]) for name in _FIELDS), turns]
    text = orjson.dumps(values, option=orjson.OPT_SORT_KEYS) + (phone or b"")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
