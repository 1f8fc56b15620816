"""Endpoints of the enrichment service: parse, call, respond."""

import asyncio

from ai_services.enrichment import schemas, service
from ai_services.enrichment.in_turn import in_turn
from ai_services.enrichment.reading.split_records import split_records
from ai_services.enrichment.service import Stores
from shared.serving.service import Call, Endpoint

_BODY_LIMIT = 32 << 20  # a thousand records with their transcripts


async def add_calls(call: Call[Stores]) -> schemas.CallsResult:
    records = await asyncio.to_thread(split_records, call.body, schemas.MAX_RECORDS)
    stores = call.state
    return schemas.CallsResult.of(
        await service.add_calls(stores.relational, stores.data_key, call.org_id, records)
    )


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
    return await in_turn(schemas.SearchPageOut.of, page, chars)


async def get_call(call: Call[Stores]) -> schemas.CallWithTranscript:
    found = await service.call(call.state.relational, call.org_id, call.params["callid"])
    chars = sum(len(turn["text"]) for turn in found.turns or ())
    return await in_turn(schemas.CallWithTranscript.of_transcribed, found, chars)


async def list_imports(call: Call[Stores]) -> schemas.ImportPage:
    q: schemas.ImportsQuery = call.query
    return schemas.ImportPage.of(
        await service.imports(call.state.relational, call.org_id, cursor=q.cursor, limit=q.limit)
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


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "POST", "/api/v1/calls", add_calls, "calls:write",
        "Bring in 1 to 1,000 call records; each has its own result",
        body=schemas.CallsIn, returns=schemas.CallsResult, parse=bytes, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "GET", "/api/v1/calls", list_calls, "calls:read",
        "Calls of a user, newest first, up to 1,000 a page",
        query=schemas.CallsQuery, returns=schemas.CallPage,
    ),
    Endpoint(
        "GET", "/api/v1/calls/search", search_calls, "calls:search",
        "Search transcripts, Chinese and English, newest first",
        query=schemas.SearchQuery, returns=schemas.SearchPageOut,
    ),
    Endpoint(
        "GET", "/api/v1/calls/{callid}", get_call, "calls:read", "One call with its transcript",
        returns=schemas.CallWithTranscript,
    ),
    Endpoint(
        "GET", "/api/v1/imports", list_imports, "calls:write", "Imports, newest first",
        query=schemas.ImportsQuery, returns=schemas.ImportPage,
    ),
    Endpoint(
        "GET", "/api/v1/imports/{import_id}/rejects", list_rejects, "calls:write",
        "Rows that an import refused, with field, problem and fix",
        query=schemas.RejectsQuery, returns=schemas.RejectPage,
    ),
]  # fmt: skip
