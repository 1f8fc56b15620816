"""Endpoints of the enrichment service: parse, call, respond."""

from typing import Any

from ai_services.enrichment import schemas
from ai_services.enrichment.service import Enrichment
from shared.service import Call, Endpoint

_BODY_LIMIT = 32 << 20  # a thousand records with their transcripts


async def add_calls(call: Call[Enrichment]) -> Any:
    return await call.state.add_calls(call.org_id, call.body.records)


async def list_calls(call: Call[Enrichment]) -> Any:
    q = call.query
    return await call.state.calls_of_user(
        call.org_id, q.user_id, since=q.since, until=q.until, cursor=q.cursor, limit=q.limit
    )


async def search_calls(call: Call[Enrichment]) -> Any:
    q = call.query
    return await call.state.search(call.org_id, q.q, q.user_id, cursor=q.cursor, limit=q.limit)


async def get_call(call: Call[Enrichment]) -> Any:
    return await call.state.call(call.org_id, call.params["callid"])


async def list_imports(call: Call[Enrichment]) -> Any:
    return await call.state.imports(call.org_id, call.query.limit, call.query.cursor)


async def list_rejects(call: Call[Enrichment]) -> Any:
    q = call.query
    return await call.state.rejects(call.org_id, call.params["import_id"], q.cursor, q.limit)


endpoints: list[Endpoint[Enrichment]] = [
    Endpoint(
        "POST", "/api/v1/calls", add_calls, "calls:write",
        "Bring in 1 to 1,000 call records; each has its own result",
        body=schemas.CallsIn, returns=schemas.CallsResult, body_limit=_BODY_LIMIT,
    ),
    Endpoint(
        "GET", "/api/v1/calls", list_calls, "calls:read", "Calls of a user, newest first",
        query=schemas.CallsQuery, returns=schemas.CallPage,
    ),
    Endpoint(
        "GET", "/api/v1/calls/search", search_calls, "calls:search",
        "Search transcripts, Chinese and English",
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
