"""The endpoint of the status: parse, call, respond."""

from __future__ import annotations

from typing import Final

from sanic.response import HTTPResponse

from ai_services.monitor.status.page import html_page
from ai_services.monitor.status.report import Report
from ai_services.monitor.status.representation import prefers_html
from ai_services.monitor.status.schemas import StatusOut
from ai_services.monitor.status.survey import Survey
from shared.serving.envelope import success
from shared.serving.service import Call, Endpoint
from shared.wire import REQUEST_ID_HEADER

_FRESH: Final = {"cache-control": "no-store", "vary": "accept"}


async def get_status(call: Call[Survey]) -> HTTPResponse:
    found = await call.state.report(call.principal)
    accept = call.request.headers.getall("accept", ())
    return _shown(found, call.request_id, html=prefers_html(accept))


def _shown(found: Report, request_id: str, *, html: bool) -> HTTPResponse:
    if html:
        body, policy = html_page(found)
        own = {REQUEST_ID_HEADER: request_id, "content-security-policy": policy}
        return HTTPResponse(body, 200, {**_FRESH, **own}, "text/html; charset=utf-8")
    response = success(StatusOut.of(found), request_id)
    response.headers.update(_FRESH)
    return response


endpoints: Final[list[Endpoint[Survey]]] = [
    Endpoint(
        "GET", "/api/v1/status", get_status, "status:read",
        "How the platform is: services, stores, and what waits of the organisation; "
        "a page for people by `Accept: text/html`",
        returns=StatusOut, tags=("status",),
    ),
]  # fmt: skip
