"""Endpoints of charts and reports: parse, call, respond."""

from datetime import UTC, datetime

from sanic.response import HTTPResponse

from ai_services.portrait.dimension import Subject, subject_of
from ai_services.portrait.pictures import pictures, schemas
from ai_services.portrait.pictures.report_html import POLICY
from ai_services.portrait.state import Stores
from shared.serving.envelope import file_response
from shared.serving.service import Call, Endpoint


async def get_summary_svg(call: Call[Stores]) -> HTTPResponse:
    return await _svg(call, None)


async def get_subject_svg(call: Call[Stores]) -> HTTPResponse:
    return await _svg(call, subject_of(call.params))


async def get_summary_png(call: Call[Stores]) -> HTTPResponse:
    return await _png(call, None)


async def get_subject_png(call: Call[Stores]) -> HTTPResponse:
    return await _png(call, subject_of(call.params))


async def get_summary_report(call: Call[Stores]) -> HTTPResponse:
    return await _report(call, None)


async def get_subject_report(call: Call[Stores]) -> HTTPResponse:
    return await _report(call, subject_of(call.params))


async def _svg(call: Call[Stores], subject: Subject | None) -> HTTPResponse:
    query: schemas.SvgQuery = call.query
    picture = await pictures.chart_svg(
        call.state.relational, call.org_id, subject, query.period_type, query.metric, query.limit,
        query.lang,
    )  # fmt: skip
    return _file(call, picture, "image/svg+xml")


async def _png(call: Call[Stores], subject: Subject | None) -> HTTPResponse:
    query: schemas.PngQuery = call.query
    picture = await pictures.chart_png(
        call.state.relational, call.org_id, subject, query.period_type, query.metric, query.limit,
        call.state.drawing,
    )  # fmt: skip
    return _file(call, picture, "image/png")


async def _report(call: Call[Stores], subject: Subject | None) -> HTTPResponse:
    query: schemas.ReportQuery = call.query
    written = await pictures.written_report(
        call.state.relational, call.org_id, subject, query.period_type, query.period_key,
        query.lang, query.format, call.state.drawing, now=datetime.now(UTC),
    )  # fmt: skip
    return _file(call, written, query.media_type)


def _file(call: Call[Stores], body: bytes, media_type: str) -> HTTPResponse:
    asked = ", ".join(call.request.headers.getall("if-none-match", ()))
    headers = {"Content-Security-Policy": POLICY}
    return file_response(body, media_type, call.request_id, if_none_match=asked, headers=headers)


_SUBJECT = "/api/v1/portrait/{dimension}/{subject_id}"
endpoints: list[Endpoint[Stores]] = [
    Endpoint(
        "GET", "/api/v1/portrait/summary/chart.svg", get_summary_svg, "portrait:summary",
        "One metric of all users over periods, or their hours, as an SVG image",
        query=schemas.SvgQuery, enveloped=False, sends=("image/svg+xml",),
    ),
    Endpoint(
        "GET", "/api/v1/portrait/summary/chart.png", get_summary_png, "portrait:summary",
        "One metric of all users over periods, or their hours, as a PNG image",
        query=schemas.PngQuery, enveloped=False, sends=("image/png",),
    ),
    Endpoint(
        "GET", "/api/v1/portrait/summary/report", get_summary_report, "portrait:summary",
        "A page on all users in one period, as HTML or PDF, Chinese or English",
        query=schemas.ReportQuery, enveloped=False, sends=("text/html", "application/pdf"),
    ),
    Endpoint(
        "GET", f"{_SUBJECT}/chart.svg", get_subject_svg, "portrait:read",
        "One metric of a user, customer, task or agent over periods, or their hours, as an SVG image",
        query=schemas.SvgQuery, enveloped=False, sends=("image/svg+xml",),
    ),
    Endpoint(
        "GET", f"{_SUBJECT}/chart.png", get_subject_png, "portrait:read",
        "One metric of a user, customer, task or agent over periods, or their hours, as a PNG image",
        query=schemas.PngQuery, enveloped=False, sends=("image/png",),
    ),
    Endpoint(
        "GET", f"{_SUBJECT}/report", get_subject_report, "portrait:read",
        "A page on a user, customer, task or agent in one period, as HTML or PDF, Chinese or English",
        query=schemas.ReportQuery, enveloped=False, sends=("text/html", "application/pdf"),
    ),
]  # fmt: skip
