"""Endpoints of segments: parse, call, respond."""

from typing import Any

from sanic.response import HTTPResponse

from ai_services.portrait.segments import schemas, service
from ai_services.portrait.segments.definition import Segment
from ai_services.portrait.segments.export import send_csv
from ai_services.portrait.state import Stores
from shared.serving.entity_tag import matches
from shared.serving.envelope import success
from shared.serving.service import Call, Endpoint
from shared.wire import REQUEST_ID_HEADER

_TAGS = ("segments",)


async def list_segments(call: Call[Stores]) -> schemas.SegmentsOut:
    found = await service.list_segments(call.state.relational, call.org_id)
    return schemas.SegmentsOut(segments=[schemas.SegmentItem.of(one) for one in found])


async def create_segment(call: Call[Stores]) -> HTTPResponse:
    body: schemas.NewSegmentIn = call.body
    made = await service.create(
        call.state.relational, call.org_id, body.name, body.definition(body.description),
        call.principal.subject,
    )  # fmt: skip
    return _tagged(call, made, 201)


async def get_segment(call: Call[Stores]) -> HTTPResponse:
    return _tagged(
        call, await service.get_segment(call.state.relational, call.org_id, call.params["name"])
    )


async def change_segment(call: Call[Stores]) -> HTTPResponse:
    body: schemas.SegmentIn = call.body
    changed = await service.change(
        call.state.relational, call.org_id, call.params["name"], body.definition(body.description),
        call.principal.subject, _if_match(call),
    )  # fmt: skip
    return _tagged(call, changed)


async def delete_segment(call: Call[Stores]) -> None:
    await service.delete(call.state.relational, call.org_id, call.params["name"], _if_match(call))


async def test_segment(call: Call[Stores]) -> schemas.TestOut:
    body: schemas.TestIn = call.body
    return schemas.TestOut.of(
        await service.test(
            call.state.relational, call.org_id, body.definition(), body.period_key, body.limit
        )
    )


async def list_members(call: Call[Stores]) -> schemas.MembersOut:
    query: schemas.MembersQuery = call.query
    segment, page = await service.members(
        call.state.relational,
        call.org_id,
        call.params["name"],
        limit=query.limit,
        cursor=query.cursor,
    )
    return schemas.MembersOut.of(segment, page)


async def get_history(call: Call[Stores]) -> schemas.SegmentHistoryOut:
    query: schemas.HistoryQuery = call.query
    name = call.params["name"]
    sizes = await service.sizes(call.state.relational, call.org_id, name, query.days)
    return schemas.SegmentHistoryOut.of(
        sizes, await service.versions(call.state.relational, call.org_id, name)
    )


async def get_overlap(call: Call[Stores]) -> schemas.OverlapOut:
    query: schemas.OverlapQuery = call.query
    return schemas.OverlapOut.of(
        await service.overlap(call.state.relational, call.org_id, query.listed)
    )


async def export_segment(call: Call[Stores]) -> Any:
    segment = await service.get_segment(call.state.relational, call.org_id, call.params["name"])
    return await send_csv(call, segment)


def _tagged(call: Call[Stores], segment: Segment, status: int = 200) -> HTTPResponse:
    """A definition under the tag that a change of it asks for; 304 for a client that has it."""
    tag, headers = service.tag(segment), call.request.headers
    if call.request.method == "GET" and matches(
        ", ".join(headers.getall("if-none-match", ())), tag
    ):
        return HTTPResponse(None, 304, {REQUEST_ID_HEADER: call.request_id, "ETag": tag}, None)
    answer = success(schemas.SegmentOut.of(segment), call.request_id, status)
    answer.headers["ETag"] = tag
    return answer


def _if_match(call: Call[Stores]) -> str:
    return ", ".join(call.request.headers.getall("if-match", ()))


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "GET", "/api/v1/segments", list_segments, "segments:read",
        "All segments, with how many are in them", returns=schemas.SegmentsOut, tags=_TAGS,
    ),
    Endpoint(
        "POST", "/api/v1/segments", create_segment, "segments:write",
        "Add a segment; its members are found soon after",
        body=schemas.NewSegmentIn, body_limit=16_384, returns=schemas.SegmentOut, status=201,
        tags=_TAGS,
    ),
    Endpoint(
        "POST", "/api/v1/segments/test", test_segment, "segments:read",
        "Ask an expression: how many fulfil it, who for example, or where it is wrong",
        body=schemas.TestIn, body_limit=16_384, returns=schemas.TestOut, tags=_TAGS,
    ),
    Endpoint(
        "GET", "/api/v1/segments/overlap", get_overlap, "segments:read",
        "How many are in several segments at once",
        query=schemas.OverlapQuery, returns=schemas.OverlapOut, tags=_TAGS,
    ),
    Endpoint(
        "GET", "/api/v1/segments/{name}", get_segment, "segments:read",
        "One segment; its ETag is what a change of it sends as If-Match",
        returns=schemas.SegmentOut, tags=_TAGS,
    ),
    Endpoint(
        "PUT", "/api/v1/segments/{name}", change_segment, "segments:write",
        "Change a segment, if it is as If-Match says",
        body=schemas.SegmentIn, body_limit=16_384, returns=schemas.SegmentOut, tags=_TAGS,
    ),
    Endpoint(
        "DELETE", "/api/v1/segments/{name}", delete_segment, "segments:write",
        "Take a segment away, with its members and history", tags=_TAGS,
    ),
    Endpoint(
        "GET", "/api/v1/segments/{name}/members", list_members, "segments:read",
        "Who is in a segment, and since when",
        query=schemas.MembersQuery, returns=schemas.MembersOut, tags=_TAGS,
    ),
    Endpoint(
        "GET", "/api/v1/segments/{name}/history", get_history, "segments:read",
        "How large a segment was, day by day, and what it was",
        query=schemas.HistoryQuery, returns=schemas.SegmentHistoryOut, tags=_TAGS,
    ),
    Endpoint(
        "GET", "/api/v1/segments/{name}/export", export_segment, "segments:read",
        "Everybody in a segment, as CSV",
        query=schemas.ExportQuery, enveloped=False, tags=_TAGS,
    ),
]  # fmt: skip
