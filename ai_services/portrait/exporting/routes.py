"""The endpoint of exports: parse, call, respond."""

from sanic.response import HTTPResponse

from ai_services.portrait.dimension import dimension
from ai_services.portrait.exporting import schemas
from ai_services.portrait.exporting.answering import sent
from ai_services.portrait.exporting.export import export
from ai_services.portrait.exporting.writers import MEDIA_TYPES
from ai_services.portrait.state import Stores
from shared.serving.service import Call, Endpoint


async def get_export(call: Call[Stores]) -> HTTPResponse:
    query: schemas.ExportQuery = call.query
    found = await export(
        call.state.relational, call.org_id, dimension(query.dimension), query.period_type,
        query.period_key, query.format, call.state.exporting,
    )  # fmt: skip
    return await sent(call, found, MEDIA_TYPES[query.format])


endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "GET", "/api/v1/portrait/export", get_export, "portrait:summary",
        "All portraits of a period as CSV, Parquet or a workbook, streamed",
        query=schemas.ExportQuery, enveloped=False,
        sends=tuple(MEDIA_TYPES.values()),
    ),
]  # fmt: skip
