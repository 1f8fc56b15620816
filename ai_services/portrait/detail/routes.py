"""Endpoints of what lies behind portraits: parse, call, respond."""

from datetime import UTC, datetime

from ai_services.portrait import schemas as portrait_schemas
from ai_services.portrait.detail import schemas
from ai_services.portrait.detail.detail import detail
from ai_services.portrait.dimension import Subject, subject_of
from ai_services.portrait.state import Stores
from shared.serving.service import Call, Endpoint


async def get_summary_detail(call: Call[Stores]) -> schemas.DetailOut:
    return await _detail(call, None)


async def get_subject_detail(call: Call[Stores]) -> schemas.DetailOut:
    return await _detail(call, subject_of(call.params))


async def _detail(call: Call[Stores], subject: Subject | None) -> schemas.DetailOut:
    query: portrait_schemas.PortraitQuery = call.query
    found = await detail(
        call.state.relational, call.org_id, subject, query.period_type, query.period_key,
        now=datetime.now(UTC),
    )  # fmt: skip
    return schemas.DetailOut.of(found)


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "GET", "/api/v1/portrait/summary/detail", get_summary_detail, "portrait:summary",
        "What lies behind a summary: hours, durations, topics, complaint reasons, follow-ups, risks",
        query=portrait_schemas.PortraitQuery, returns=schemas.DetailOut,
    ),
    Endpoint(
        "GET", "/api/v1/portrait/{dimension}/{subject_id}/detail", get_subject_detail,
        "portrait:read",
        "What lies behind a portrait: hours, durations, topics, complaint reasons, follow-ups, risks",
        query=portrait_schemas.PortraitQuery, returns=schemas.DetailOut,
    ),
]  # fmt: skip
