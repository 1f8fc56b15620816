"""Endpoints of the enrichment service: parse, call, respond."""

import asyncio
from collections import Counter

from ai_services.enrichment import analysis_routes, schemas, service
from ai_services.enrichment.analysis.corrections import routes as corrections
from ai_services.enrichment.customers import routes as customers
from ai_services.enrichment.imports.how_to_read import MEDIA_TYPES
from ai_services.enrichment.imports.routes import endpoints as import_endpoints
from ai_services.enrichment.reading.split_records import split_records
from ai_services.enrichment.service import Stores
from ai_services.enrichment.sources.receiving import receive as receive_message
from ai_services.enrichment.suggesting.suggest import SentFile
from shared.serving.service import Call, Endpoint

_BODY_LIMIT = 32 << 20  # a thousand records with their transcripts; a workbook
_EVENTS_LIMIT = 4 << 20  # anybody may send one, and its signature is of all of it


async def add_calls(call: Call[Stores]) -> schemas.CallsResult:
    records = await asyncio.to_thread(split_records, call.body, schemas.MAX_RECORDS)
    stores = call.state
    received = await service.add_calls(stores, call.org_id, records)
    statuses = Counter[str](outcome.status for outcome in received.outcomes)
    stores.counts.brought_in(call.org_id, statuses)
    return schemas.CallsResult.of(received)


async def list_calls(call: Call[Stores]) -> schemas.CallPage:
    q: schemas.CallsQuery = call.query
    return schemas.CallPage.of(
        await service.calls_of_user(
            call.state.relational, call.org_id, q.user_id,
            since=q.since, until=q.until, cursor=q.cursor, limit=q.limit,
        )
    )  # fmt: skip


async def search_calls(call: Call[Stores]) -> schemas.SearchPageOut:
    q: schemas.SearchQuery = call.query
    page = await service.search(
        call.state, call.org_id, q.q, q.user_id, cursor=q.cursor, limit=q.limit
    )
    chars = sum(len(text) for hit in page.items for text in hit.highlights)
    return await schemas.in_turn(schemas.SearchPageOut.of, page, chars)


async def get_call(call: Call[Stores]) -> schemas.CallWithTranscript:
    found = await service.call(call.state.relational, call.org_id, call.params["callid"])
    chars = sum(len(turn["text"]) for turn in found.turns or ())
    return await schemas.in_turn(schemas.CallWithTranscript.of_transcribed, found, chars)


async def suggest_map(call: Call[Stores]) -> schemas.SuggestedMap:
    q: schemas.SuggestQuery = call.query
    sent = SentFile(q.name, b"".join([part async for part in aiter(call.body)]))
    found = await service.suggested(call.state, call.org_id, sent, q.sheet)
    return schemas.SuggestedMap.of(found)


async def list_imports(call: Call[Stores]) -> schemas.ImportPage:
    q: schemas.ImportsQuery = call.query
    return schemas.ImportPage.of(
        await service.imports(call.state.relational, call.org_id, cursor=q.cursor, limit=q.limit)
    )


async def get_import(call: Call[Stores]) -> schemas.ImportOut:
    return schemas.ImportOut(
        **await service.import_run(call.state.relational, call.org_id, call.params["import_id"])
    )


async def list_notes(call: Call[Stores]) -> schemas.NotePage:
    q: schemas.NotesQuery = call.query
    return schemas.NotePage.of(
        await service.notes(
            call.state.relational,
            call.org_id,
            call.params["import_id"],
            cursor=q.cursor,
            limit=q.limit,
        )
    )


async def list_rejects(call: Call[Stores]) -> schemas.RejectPage:
    q: schemas.RejectsQuery = call.query
    return schemas.RejectPage.of(
        await service.rejects(
            call.state.relational,
            call.org_id,
            call.params["import_id"],
            cursor=q.cursor,
            limit=q.limit,
        )
    )


async def receive_events(call: Call[Stores]) -> schemas.EventsResult:
    stores = call.state
    received = await receive_message(
        stores.relational, stores.data_key, stores.connected, call.params["source"],
        call.request.headers, call.body, schemas.MAX_RECORDS, stores.country,
    )  # fmt: skip
    answer = schemas.EventsResult.of_message(received)
    stores.counts.brought_in(received.org_id, answer.outcomes)
    return answer


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "POST", "/api/v1/calls", add_calls, "calls:write",
        "Bring in 1 to 1,000 call records; each has its own result",
        body=schemas.CallsIn, returns=schemas.CallsResult, parse=bytes, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "POST", "/api/v1/sources/{source}/events", receive_events, "public",
        "Take 1 to 1,000 call records from a connected system, signed with its secret",
        body=schemas.CallsIn, returns=schemas.EventsResult, parse=bytes, body_limit=_EVENTS_LIMIT,
    ),
    Endpoint(
        "GET", "/api/v1/calls", list_calls, "calls:read",
        "Calls of an account, newest first, up to 1,000 a page",
        query=schemas.CallsQuery, returns=schemas.CallPage,
    ),
    Endpoint(
        "GET", "/api/v1/calls/search", search_calls, "calls:search",
        "Search transcripts, Chinese and English, newest first",
        query=schemas.SearchQuery, returns=schemas.SearchPageOut,
    ),
    Endpoint(
        "GET", "/api/v1/calls/{callid}", get_call, "calls:read",
        "One call with its transcript, and the legs that it was joined of",
        returns=schemas.CallWithTranscript,
    ),
    Endpoint(
        "POST", "/api/v1/imports/suggest", suggest_map, "calls:write",
        "Suggest a column map for a workbook, or for a text by its first MiB",
        query=schemas.SuggestQuery, takes=tuple(MEDIA_TYPES), body_limit=_BODY_LIMIT,
        returns=schemas.SuggestedMap,
    ),
    Endpoint(
        "GET", "/api/v1/imports", list_imports, "calls:write", "Imports, newest first",
        query=schemas.ImportsQuery, returns=schemas.ImportPage,
    ),
    Endpoint(
        "GET", "/api/v1/imports/{import_id}", get_import, "calls:write",
        "One import: how far it is, its counts and notes", returns=schemas.ImportOut,
    ),
    Endpoint(
        "GET", "/api/v1/imports/{import_id}/notes", list_notes, "calls:write",
        "Rows that came in, but not as they stand: fields left empty, rows replaced",
        query=schemas.NotesQuery, returns=schemas.NotePage,
    ),
    Endpoint(
        "GET", "/api/v1/imports/{import_id}/rejects", list_rejects, "calls:write",
        "Rows that an import refused, with field, problem and fix",
        query=schemas.RejectsQuery, returns=schemas.RejectPage,
    ),
    *import_endpoints,
    *customers.endpoints,
    *analysis_routes.endpoints,
    *corrections.endpoints,
]  # fmt: skip
