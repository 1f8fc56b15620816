"""The use cases of the enrichment service over HTTP, each with the store passed in."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any, Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from ai_services.enrichment import store
from ai_services.enrichment.analysis.chain import store as insights
from ai_services.enrichment.analysis.corrections import store as corrections
from ai_services.enrichment.analysis.corrections.store import Correction
from ai_services.enrichment.counts import OrganisationCounts
from ai_services.enrichment.importing import Import, notes_of
from ai_services.enrichment.imports import store as import_store
from ai_services.enrichment.imports.taking_back import ask_to_take_back
from ai_services.enrichment.legs import store as leg_store
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.projections import COLLECTION
from ai_services.enrichment.reading.read_file import Batch, read_records
from ai_services.enrichment.sources.connected import Connected
from ai_services.enrichment.staging import stage
from ai_services.enrichment.suggesting.suggest import SentFile, Suggestion, is_whole, suggest
from ai_services.enrichment.validation.note import Note
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from ai_services.enrichment.validation.reject import Reject
from shared.cursor import Listing, Page, dated, moment, number, word
from shared.data_access.ports import Relational, Row, Search, Transaction
from shared.errors import NotFound
from shared.instant import FIRST, LAST, parse_bound

_MOST_UNPACKED: Final = 256 << 20  # of a file that a map is suggested for
_MOST_LEGS: Final = 1_000  # are shown of a call
_NO_IMPORT: Final = "There is no such import in your organisation."
_AFTER_ALL: Final = (LAST, "\U0010ffff")  # sorts after every (started_at, callid)


@dataclass(frozen=True, slots=True)
class Stores:
    """What the use cases need, opened once per process.

    `country` is where phone numbers without a country code belong, `keep_out` whether what is erased
    stays out. `workbooks` is the turn to look into one that no job imports, `topics` are those of a
    model of one's own.
    """

    relational: Relational
    search: Search
    data_key: bytes
    counts: OrganisationCounts
    country: str = DEFAULT_COUNTRY
    keep_out: bool = True
    connected: Connected | None = None
    workbooks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    topics: frozenset[str] = frozenset()


# Bringing in.

Status = Literal["inserted", "updated", "unchanged", "duplicate", "rejected", "erased"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record; `callid` None where it can't be told or shown. `notes` say what was
    left out of one that came in.
    """

    callid: str | None
    status: Status
    reject: Reject | None = None
    notes: Sequence[Note] = ()


@dataclass(frozen=True, slots=True)
class Received:
    """One outcome per record, in the order sent; where rejected ones are kept; what else to know."""

    outcomes: Sequence[Outcome]
    import_id: UUID | None
    notes: Sequence[str]


async def add_calls(stores: Stores, org_id: UUID, records: Sequence[bytes]) -> Received:
    """Bring records in, each as its JSON was sent; a bad one is refused by itself and kept."""
    relational = stores.relational
    cipher = PhoneCipher(stores.data_key, org_id, stores.country)
    batch, staged = await asyncio.to_thread(_read_and_stage, records, cipher, stores.country)
    # One transaction: an import that can be seen is whole. It is listed for its rejects only.
    async with relational.tenant(org_id) as tx:
        run = await Import.begin(
            tx, org_id, "POST /api/v1/calls", "calls", listed=bool(batch.rejects)
        )
        merged = await run.merge(tx, batch, staged, cipher.digests)
        await run.finish(tx)
    return Received(outcomes_of(batch, merged), run.import_id, notes_of(batch, merged))


def _read_and_stage(
    records: Sequence[bytes], cipher: PhoneCipher, country: str
) -> tuple[Batch, bytes]:
    batch = read_records(records, country=country)
    return batch, stage(batch.frame, cipher)


def outcomes_of(batch: Batch, merged: store.Merged) -> list[Outcome]:
    """In the order sent. By what the reading told: no record is looked into again."""
    taken = zip(batch.frame["line"], batch.frame["callid"], strict=True)
    outcomes = {line: Outcome(callid, merged.status(callid)) for line, callid in taken}
    for line, callid in batch.replaced.items():
        outcomes[line] = Outcome(callid, "duplicate")
    for reject in batch.rejects:
        outcomes[reject.line] = Outcome(reject.callid, "rejected", reject)
    for line, notes in groupby(batch.notes, key=lambda note: note.line):
        outcomes[line] = replace(outcomes[line], notes=list(notes))
    return [outcome for _, outcome in sorted(outcomes.items())]


async def suggested(stores: Stores, org_id: UUID, sent: SentFile, sheet: str | None) -> Suggestion:
    """A column map for a file, of a text its beginning; times without an offset are taken for local.

    Workbooks take turns, as each may need a gigabyte; one that nobody waits for any more has its turn
    until it is done.
    """
    async with stores.relational.tenant(org_id, readonly=True) as tx:
        zone = await _zone(tx, org_id)
    find = partial(suggest, sent, timezone=zone.key, sheet=sheet, most=_MOST_UNPACKED)
    if not is_whole(sent.data):
        return await asyncio.to_thread(find)
    await stores.workbooks.acquire()
    found = asyncio.get_running_loop().run_in_executor(None, find)
    found.add_done_callback(lambda _: stores.workbooks.release())
    return await asyncio.shield(found)


# Reading.


@dataclass(frozen=True, slots=True)
class CallFound:
    """A stored call and the zone in which its organisation reads times."""

    row: Row
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Transcribed:
    """A call, what was said and what is known of that; None where there is none of it.

    `legs`: those that it was joined of, by their start; none where it came as one row.
    `correction`: what people have decided of it.
    """

    call: CallFound
    turns: Sequence[dict[str, Any]] | None
    insight: Row | None
    legs: Sequence[Row]
    correction: Correction | None


@dataclass(frozen=True, slots=True)
class Hit:
    """A call whose transcript was found; `highlights` are HTML."""

    call: CallFound
    highlights: Sequence[str]


async def call(relational: Relational, org_id: UUID, callid: str) -> Transcribed:
    async with relational.tenant(org_id, readonly=True) as tx:
        row = await store.call(tx, org_id, callid)
        if row is None:
            raise NotFound("There is no such call in your organisation.")
        turns, correction = None, None
        if row["has_transcript"]:
            turns = await store.transcript(tx, org_id, callid)
        if row["corrected"]:
            correction = await corrections.get(tx, org_id, callid)
        insight = await insights.insight(tx, org_id, callid)
        legs = await leg_store.legs(tx, org_id, callid, _MOST_LEGS)
        found = CallFound(row, await _zone(tx, org_id))
        return Transcribed(found, turns, insight, legs, correction)


async def calls_of_user(
    relational: Relational,
    org_id: UUID,
    user_id: str,
    *,
    since: str | None,
    until: str | None,
    cursor: str | None,
    limit: int,
) -> Page[CallFound]:
    """Newest first. `since` and `until` are RFC 3339 or local dates; an `until` date is included."""
    listing = Listing("calls", (str(org_id), user_id, since, until), _call_key)
    before = listing.position(cursor) or _AFTER_ALL
    async with relational.tenant(org_id, readonly=True) as tx:
        zone = await _zone(tx, org_id)
        rows = await store.calls_of_user(
            tx,
            org_id,
            user_id,
            since=FIRST if since is None else parse_bound("from", since, zone),
            until=LAST if until is None else parse_bound("to", until, zone, day_after=True),
            before=before,
            limit=limit + 1,
        )
    found = [CallFound(row, zone) for row in rows]
    return listing.page(found, limit, lambda one: (one.row["started_at"], one.row["callid"]))


def _call_key(at: object, callid: object) -> tuple[dt.datetime, str]:
    return moment(at), word(callid)


async def search(
    stores: Stores, org_id: UUID, query: str, user_id: str | None, *, cursor: str | None, limit: int
) -> Page[Hit]:
    filters = {} if user_id is None else {"user_id": user_id}
    page = await stores.search.search(
        org_id, COLLECTION, query, filters=filters, limit=limit, cursor=cursor
    )
    async with stores.relational.tenant(org_id, readonly=True) as tx:
        rows = await store.calls_by_id(tx, org_id, [hit.id for hit in page.hits])
        zone = await _zone(tx, org_id)
    # The index may lag: what Postgres no longer has is not shown.
    hits = [
        Hit(CallFound(rows[hit.id], zone), hit.highlights) for hit in page.hits if hit.id in rows
    ]
    return Page(hits, page.next_cursor)


async def imports(
    relational: Relational, org_id: UUID, *, cursor: str | None, limit: int
) -> Page[Row]:
    """Newest first."""
    listing = Listing("imports", (str(org_id),), dated)
    before = listing.position(cursor)
    async with relational.tenant(org_id, readonly=True) as tx:
        rows = await import_store.imports(tx, org_id, limit + 1, before)
    return listing.page(rows, limit, lambda row: (row["started_at"], row["import_id"]))


async def import_run(relational: Relational, org_id: UUID, import_id: str) -> Row:
    """One import with its counts. NotFound for one that isn't there."""
    async with relational.tenant(org_id, readonly=True) as tx:
        found = await import_store.get_import(tx, org_id, _import_id(import_id))
    if found is None:
        raise NotFound(_NO_IMPORT)
    return found


async def notes(
    relational: Relational, org_id: UUID, import_id: str, *, cursor: str | None, limit: int
) -> Page[Row]:
    """What was left out of rows that came in, in the order of the file."""
    known = _import_id(import_id)
    listing = Listing("notes", (str(org_id), str(known)), _note_key)
    after = listing.position(cursor) or (0, 0)
    async with relational.tenant(org_id, readonly=True) as tx:
        rows = await import_store.notes(tx, org_id, known, after, limit + 1)
        if not rows and not await import_store.has_import(tx, org_id, known):
            raise NotFound(_NO_IMPORT)
    return listing.page(rows, limit, lambda row: (row["line"], row["number"]))


def _note_key(line: object, at: object) -> tuple[int, int]:
    return number(line), number(at)


async def rejects(
    relational: Relational, org_id: UUID, import_id: str, *, cursor: str | None, limit: int
) -> Page[Row]:
    """Refused rows of an import, in the order of its file."""
    known = _import_id(import_id)
    listing = Listing("rejects", (str(org_id), str(known)), number)
    after = listing.position(cursor) or 0
    async with relational.tenant(org_id, readonly=True) as tx:
        rows = await import_store.rejects(tx, org_id, known, after, limit + 1)
        if not rows and not await import_store.has_import(tx, org_id, known):
            raise NotFound(_NO_IMPORT)
    return listing.page(rows, limit, lambda row: (row["line"],))


async def take_back(relational: Relational, org_id: UUID, import_id: str) -> int:
    """The job that takes an import back."""
    return await ask_to_take_back(relational, org_id, _import_id(import_id))


def upload_id(text: str) -> UUID:
    """The upload that a path names. NotFound for what can't be one."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is no such upload in your organisation.") from None


def _import_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(_NO_IMPORT) from None


async def _zone(tx: Transaction, org_id: UUID) -> ZoneInfo:
    return ZoneInfo(await store.organisation_timezone(tx, org_id) or "UTC")
