"""Use cases of the enrichment service over HTTP."""

from __future__ import annotations

import asyncio
import base64
import binascii
import datetime as dt
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from ai_services.enrichment import store
from ai_services.enrichment.importing import open_import, stage, store_batch
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.projections import COLLECTION
from ai_services.enrichment.read_file import Batch, read_records
from ai_services.enrichment.schemas import (
    CallOut,
    CallPage,
    CallsResult,
    CallWithTranscript,
    ImportOut,
    ImportPage,
    Problem,
    RecordResult,
    RejectOut,
    RejectPage,
    SearchPageOut,
    SearchResult,
    TurnOut,
)
from shared.data_access.access import UnifiedDataAccess
from shared.data_access.ports import Row
from shared.errors import Detail, InvalidInput, NotFound
from shared.security import mask_phones

_FIRST: Final = dt.datetime(1, 1, 2, tzinfo=dt.UTC)
_LAST: Final = dt.datetime(9999, 12, 30, tzinfo=dt.UTC)
_AFTER_ALL: Final = "\U0010ffff"


class Enrichment:
    """Call records in, calls and transcripts out, for the organisation given."""

    def __init__(self, data: UnifiedDataAccess, data_key: bytes) -> None:
        self._data = data
        self._db = data.relational
        self._data_key = data_key

    async def add_calls(self, org_id: UUID, records: Sequence[Any]) -> CallsResult:
        """Bring records in; a bad one is refused by itself and kept with its reason."""
        timezone = await open_import(self._db, org_id)
        lines = [orjson.dumps(record) for record in records]
        cipher = PhoneCipher(self._data_key, org_id)
        batch, staged = await asyncio.to_thread(_read_and_stage, lines, cipher)
        import_id = None
        if batch.rejects:
            async with self._db.tenant(org_id) as tx:
                import_id = await store.start_import(tx, org_id, "POST /api/v1/calls", "calls")
        result = await store_batch(
            self._db, org_id, timezone, import_id or UUID(int=0), batch, staged
        )
        if import_id is not None:
            async with self._db.tenant(org_id) as tx:
                await store.finish_import(tx, org_id, import_id)
        return _results(records, batch, result.merged, import_id)

    async def call(self, org_id: UUID, callid: str) -> CallWithTranscript:
        async with self._db.tenant(org_id, readonly=True) as tx:
            row = await store.call(tx, org_id, callid)
            if row is None:
                raise NotFound("There is no such call in your organisation.")
            turns = await store.transcript(tx, org_id, callid) if row["has_transcript"] else None
            zone = ZoneInfo(await _timezone(tx, org_id))
        shown = None if turns is None else [_turn(turn) for turn in turns]
        return CallWithTranscript(**_call(row, zone), turns=shown)

    async def calls_of_user(
        self,
        org_id: UUID,
        user_id: str,
        *,
        since: str | None,
        until: str | None,
        cursor: str | None,
        limit: int,
    ) -> CallPage:
        before = (_LAST, _AFTER_ALL) if cursor is None else _decode_cursor(cursor)
        async with self._db.tenant(org_id, readonly=True) as tx:
            zone = ZoneInfo(await _timezone(tx, org_id))
            rows = await store.calls_of_user(
                tx,
                org_id,
                user_id,
                since=_FIRST if since is None else _moment("from", since, zone),
                until=_LAST if until is None else _moment("to", until, zone, days=1),
                before=before,
                limit=limit + 1,
            )
        shown = rows[:limit]
        more = len(rows) > limit
        return CallPage(
            calls=[CallOut(**_call(row, zone)) for row in shown],
            next_cursor=_encode_cursor(shown[-1]) if more else None,
        )

    async def search(
        self, org_id: UUID, query: str, user_id: str | None, *, cursor: str | None, limit: int
    ) -> SearchPageOut:
        filters = {} if user_id is None else {"user_id": user_id}
        page = await self._data.search.search(
            org_id, COLLECTION, query, filters=filters, limit=limit, cursor=cursor
        )
        async with self._db.tenant(org_id, readonly=True) as tx:
            rows = await store.calls_by_id(tx, org_id, [hit.id for hit in page.hits])
            zone = ZoneInfo(await _timezone(tx, org_id))
        # The index may lag: what Postgres no longer has is not shown.
        hits = [
            SearchResult(
                callid=hit.id,
                highlights=[mask_phones(text) for text in hit.highlights],
                call=CallOut(**_call(rows[hit.id], zone)),
            )
            for hit in page.hits
            if hit.id in rows
        ]
        return SearchPageOut(hits=hits, next_cursor=page.next_cursor)

    async def imports(self, org_id: UUID, limit: int, before: dt.datetime | None) -> ImportPage:
        async with self._db.tenant(org_id, readonly=True) as tx:
            rows = await store.imports(tx, org_id, limit + 1, before)
        shown = rows[:limit]
        more = len(rows) > limit
        return ImportPage(
            imports=[ImportOut(**row) for row in shown],
            next_cursor=shown[-1]["started_at"].isoformat() if more else None,
        )

    async def rejects(self, org_id: UUID, import_id: str, after: int, limit: int) -> RejectPage:
        missing = NotFound("There is no such import in your organisation.")
        try:
            known = UUID(import_id)
        except ValueError:
            raise missing from None
        async with self._db.tenant(org_id, readonly=True) as tx:
            rows = await store.rejects(tx, org_id, known, after, limit + 1)
            if not rows and not await store.has_import(tx, org_id, known):
                raise missing
        shown = rows[:limit]
        more = len(rows) > limit
        return RejectPage(
            rejects=[RejectOut(**row) for row in shown],
            next_cursor=str(shown[-1]["line"]) if more else None,
        )


def _read_and_stage(lines: Sequence[bytes], cipher: PhoneCipher) -> tuple[Batch, bytes]:
    batch = read_records(lines)
    return batch, stage(batch.frame, cipher)


def _results(
    records: Sequence[Any], batch: Batch, merged: store.Merged, import_id: UUID | None
) -> CallsResult:
    """One result per record, in the order sent. Lines of the batch count from 1."""
    rejected = {reject.line: reject for reject in batch.rejects}
    taken = dict(zip(batch.frame["line"].to_list(), batch.frame["callid"].to_list(), strict=True))
    results: list[RecordResult] = []
    for index, record in enumerate(records):
        callid = record.get("callid") if isinstance(record, dict) else None
        shown = callid if isinstance(callid, str) else None
        if (reject := rejected.get(index + 1)) is not None:
            problem = Problem(field=reject.field, problem=reject.problem, fix=reject.fix)
            results.append(
                RecordResult(index=index, callid=shown, status="rejected", problem=problem)
            )
        elif (known := taken.get(index + 1)) is not None:
            results.append(RecordResult(index=index, callid=known, status=merged.status(known)))
        else:
            results.append(RecordResult(index=index, callid=shown, status="duplicate"))
    counts = {status: sum(r.status == status for r in results) for status in
              ("inserted", "updated", "unchanged", "duplicate", "rejected")}  # fmt: skip
    return CallsResult(
        inserted=counts["inserted"],
        updated=counts["updated"],
        unchanged=counts["unchanged"],
        duplicates=counts["duplicate"],
        rejected=counts["rejected"],
        import_id=import_id,
        results=results,
    )


async def _timezone(tx: Any, org_id: UUID) -> str:
    return await store.organisation_timezone(tx, org_id) or "UTC"


def _call(row: Row, zone: ZoneInfo) -> dict[str, Any]:
    """A row as the wire shows it: times local to the organisation, the phone masked."""
    shown = dict(row)
    shown["phone"] = shown.pop("phone_masked")
    shown["started_at"] = row["started_at"].astimezone(zone).isoformat()
    if row["llm_analyzed_at"] is not None:
        shown["llm_analyzed_at"] = row["llm_analyzed_at"].astimezone(zone).isoformat()
    if row["reason"] is not None:
        shown["reason"] = mask_phones(row["reason"])
    return shown


def _turn(turn: dict[str, Any]) -> TurnOut:
    return TurnOut(role=turn["role"], at_ms=turn.get("at_ms"), text=mask_phones(turn["text"]))


def _moment(field: str, text: str, zone: ZoneInfo, *, days: int = 0) -> dt.datetime:
    """An instant from RFC 3339, or from a local date (`days` later, so that `to` includes it)."""
    try:
        if len(text) == 10:
            day = dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone)
            return day + dt.timedelta(days=days)
        # In a query string an unescaped + arrives as a space.
        moment = dt.datetime.fromisoformat(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        problem = f"{text[:40]!r} is no date or time that exists"
        fix = "send 2024-12-04 or 2024-12-04T09:30:00+08:00 (the + escaped as %2B)"
        raise InvalidInput(
            f"{field}: {problem}; {fix}", details=[Detail(field, problem, fix)]
        ) from None
    if moment.tzinfo is None:
        problem, fix = "has no offset", "add it, e.g. 2024-12-04T09:30:00+08:00"
        raise InvalidInput(f"{field}: {problem}; {fix}", details=[Detail(field, problem, fix)])
    return moment


def _encode_cursor(row: Row) -> str:
    text = f"{row['started_at'].isoformat()}|{row['callid']}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[dt.datetime, str]:
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, callid = raw.partition("|")
        started_at = dt.datetime.fromisoformat(moment)
        if started_at.tzinfo is None or "\0" in callid:
            raise ValueError("not one of ours")
    except (ValueError, binascii.Error):
        problem, fix = "is not one that this API gave out", "send next_cursor of the page before"
        raise InvalidInput(
            f"cursor: {problem}; {fix}", details=[Detail("cursor", problem, fix)]
        ) from None
    return started_at, callid
