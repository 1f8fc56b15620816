"""Where every request enters, and where every failure gets its envelope.

head check → one spelling of the path → own page or route → principal → scope → proxy
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import orjson
import structlog
from sanic.request import Request

from gateway.headers import own_answer_lines
from gateway.identity import Identity
from gateway.meters import CLIENT_GONE, Meters, RouteMeter
from gateway.page import Page, PageMaker
from gateway.proxy import Admitted, Proxy
from gateway.request_head import check_head, split_target
from gateway.request_path import normalise
from gateway.route_table import RouteTable
from gateway.server import (
    Answer,
    begin,
    begun,
    discard_body,
    gone,
    last_on_connection,
    refuse_body,
)
from shared.errors import LoomaError, MalformedRequest, MethodNotAllowed, render
from shared.security import ANONYMOUS, PUBLIC
from shared.service import request_id_of

log = structlog.get_logger()


class Edge:
    """`handle` answers one request, whatever happens."""

    def __init__(
        self,
        table: RouteTable,
        pages: Mapping[str, PageMaker],
        identity: Identity,
        proxy: Proxy,
        meters: Meters,
        linger: float,
    ) -> None:
        self._table = table
        self._pages = {path: (maker, meters.page(path)) for path, maker in pages.items()}
        self._identity = identity
        self._proxy = proxy
        self._meters = meters
        self._linger = linger
        self._of_route = meters.of(table.routes)

    async def handle(self, request: Request) -> None:
        started = time.perf_counter()
        meter = self._meters.unmatched(request.method)
        status = CLIENT_GONE
        try:
            check_head(request)
            raw, query = split_target(request.raw_url)
            path = normalise(raw)
            own = self._pages.get(path)
            if own is not None:
                maker, meter = own
                status = await _own_page(request, maker)
            else:
                index = self._table.find(request.method, path)
                meter = self._of_route[index]
                status = await self._forward(request, index, meter, path + query, started)
        except Exception as error:  # the edge: rendered, or re-raised to cut the connection
            status = error.status if isinstance(error, LoomaError) else 500
            if begun(request):
                raise
            await self.fail(request, error)
        finally:
            meter.answered(status, time.perf_counter() - started)

    async def _forward(
        self, request: Request, index: int, meter: RouteMeter, target: str, started: float
    ) -> int:
        route = self._table.routes[index]
        if route.scope == PUBLIC:
            principal = ANONYMOUS
        else:
            principal = await self._identity.principal(request.headers)
            principal.require(route.scope)
        request_id = request_id_of(request)
        return await self._proxy.relay(
            Admitted(request, route, meter, principal, target, request_id, started)
        )

    async def fail(self, request: Request, error: Exception) -> None:
        """Answer with the failure envelope."""
        request_id = request_id_of(request)
        if not isinstance(error, LoomaError):
            log.error("unexpected error", exc_info=error, request_id=request_id)
        elif error.status >= 500:
            log.warning(
                "request failed", error=error.name, reason=error.message, request_id=request_id
            )
        status, body, headers = render(error, request_id)
        page = Page(orjson.dumps(body), status=status, headers=tuple(headers.items()))
        if gone(request):
            return
        if isinstance(error, MalformedRequest):
            last_on_connection(request)
        refuse_body(request)
        await _send(request, page)
        await discard_body(request, self._linger)


async def _own_page(request: Request, maker: PageMaker) -> int:
    if request.method not in ("GET", "HEAD"):
        raise MethodNotAllowed(
            "This path doesn't take that method. It takes GET.", allowed=("GET", "HEAD")
        )
    page = await maker()
    await _send(request, page)
    return page.status


async def _send(request: Request, page: Page) -> None:
    lines = own_answer_lines(page.content_type, request_id_of(request), page.headers)
    answer = begin(request, Answer(page.status, lines, len(page.body)))
    await answer.send(page.body, end_stream=True)
