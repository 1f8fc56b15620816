"""Where every request enters, and where every failure gets its envelope.

one spelling of the path → own page or route → principal → scope → limits → proxy
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from sanic.request import Request

from gateway.allowance import Allowance
from gateway.batch import SubRequest, run_batch
from gateway.client_address import ClientAddress
from gateway.cors import Cors
from gateway.headers import own_answer_lines
from gateway.identity import Identity
from gateway.inner_request import InnerRequest
from gateway.kept_answer import KeptAnswer
from gateway.meters import CLIENT_GONE, Meters
from gateway.own_routes import OwnCall, OwnRoute, enveloped
from gateway.page import Page, PageMaker
from gateway.plan import Plan, RoutePlan
from gateway.proxy import Admitted, Proxy
from gateway.rate_limit import RateLimiter
from gateway.request_body import whole_body
from gateway.request_path import normalise, split_target
from gateway.server import (
    Answer,
    address_of,
    begin,
    begun,
    gone,
    last_on_connection,
    skip_body,
)
from shared.errors import LoomaError, MalformedRequest, MethodNotAllowed, Unauthenticated, render
from shared.security import ANONYMOUS, PUBLIC, Principal
from shared.service import request_id_of

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gates:
    """What a request passes before it is forwarded."""

    identity: Identity
    limiter: RateLimiter
    addresses: ClientAddress
    cors: Cors


class Edge:
    """`handle` answers one request, whatever happens; `use` swaps the route table."""

    def __init__(
        self,
        plan: Plan,
        pages: Mapping[str, PageMaker],
        own: Sequence[OwnRoute],
        gates: Gates,
        proxy: Proxy,
        meters: Meters,
        stall: float,
    ) -> None:
        self._plan = plan
        self._pages = {path: (maker, meters.page(path)) for path, maker in pages.items()}
        self._own = {one.path: (one, meters.own(one.method, one.path)) for one in own}
        self._gates = gates
        self._proxy = proxy
        self._stall = stall
        self._meters = meters

    @property
    def plan(self) -> Plan:
        return self._plan

    def use(self, plan: Plan) -> None:
        """Requests that come from now on follow `plan`; those under way end as they began."""
        self._plan = plan

    async def handle(self, request: Request) -> None:
        started = time.perf_counter()
        meter = self._meters.unmatched(request.method)
        status = CLIENT_GONE
        try:
            raw, query = split_target(request.raw_url)
            path = normalise(raw)
            if path in self._pages:
                maker, meter = self._pages[path]
                status = await self._page(request, maker)
            elif request.method == "OPTIONS" and self._is_preflight(request):
                status = await self._preflight(request)
            elif path in self._own:
                route, meter = self._own[path]
                status = await self._answer_own(request, route)
            else:
                plan = self._plan
                one = plan.routes[plan.table.find(request.method, path)]
                meter = one.meter
                status = await self._forward(request, one, path + query, started)
        except Exception as error:  # the edge: rendered, or re-raised to cut the connection
            status = error.status if isinstance(error, LoomaError) else 500
            if begun(request):
                raise
            await self.fail(request, error)
        finally:
            meter.answered(status, time.perf_counter() - started)

    async def _forward(self, request: Request, plan: RoutePlan, target: str, started: float) -> int:
        address = self._address(request)
        principal, allowance = await self._admit(request, plan, address)
        request_id = request_id_of(request)
        return await self._proxy.relay(
            Admitted(
                request, plan, principal, address, target, request_id, started, allowance,
                self._origin_lines(request),
            )
        )  # fmt: skip

    async def _admit(
        self, request: Request, plan: RoutePlan, address: str
    ) -> tuple[Principal, Allowance | None]:
        """Who calls and what is left of the limits; raises for who may not."""
        gates, scope = self._gates, plan.route.scope
        if scope == PUBLIC:
            limited = plan.public
            if limited is None:
                return ANONYMOUS, None
            return ANONYMOUS, await gates.limiter.admit(limited, ANONYMOUS, address)
        try:
            principal = await gates.identity.principal(request.headers)
            principal.require(scope)
        except Unauthenticated:
            if plan.public is not None:  # guessing credentials costs as much as any public route
                await gates.limiter.admit(plan.public, None, address)
            raise
        limited = plan.by_role.get(principal.role)
        if limited is None:
            return principal, None
        return principal, await gates.limiter.admit(limited, principal, address)

    def _address(self, request: Request) -> str:
        return self._gates.addresses.of(
            address_of(request), request.headers.getall("x-forwarded-for", ())
        )

    async def _answer_own(self, request: Request, route: OwnRoute) -> int:
        if request.method != route.method:
            raise MethodNotAllowed(
                f"This path doesn't take that method. It takes {route.method}.",
                allowed=(route.method,),
            )
        principal = await self._gates.identity.principal(request.headers)
        principal.require(route.scope)
        request_id = request_id_of(request)
        body = b""
        if route.body_limit:
            body = await whole_body(request, route.body_limit, self._stall)
        address = self._address(request)
        data = await route.handler(OwnCall(request, principal, address, request_id, body))
        await self._send(request, enveloped(data, request_id))
        return 200

    def _origin_lines(self, request: Request) -> Sequence[tuple[bytes, bytes]]:
        cors = self._gates.cors
        if not cors.enabled or "origin" not in request.headers:
            return ()
        return cors.lines(request.headers["origin"])

    def _is_preflight(self, request: Request) -> bool:
        headers = request.headers
        return (
            self._gates.cors.enabled
            and "origin" in headers
            and "access-control-request-method" in headers
        )

    async def _preflight(self, request: Request) -> int:
        lines = self._gates.cors.preflight(request.headers["origin"])
        answer = begin(request, Answer(204, lines))
        await answer.send(b"", end_stream=True)
        return 204

    async def batch(self, call: OwnCall) -> Any:
        """POST /api/v1/batch: each item goes through `handle` as if it had come alone."""

        async def execute(sub: SubRequest) -> KeptAnswer:
            inner = InnerRequest(call.request, sub)
            await self.handle(inner)
            return inner.inner.kept()

        return await run_batch(call.body, execute)

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
        skip_body(request)
        await self._send(request, page)

    async def refuse(self, request: Request, error: LoomaError) -> None:
        """Answer what never became a request, and count it."""
        started = time.perf_counter()
        await self.fail(request, error)
        meter = self._meters.unmatched(request.method)
        meter.answered(error.status, time.perf_counter() - started)

    async def _page(self, request: Request, maker: PageMaker) -> int:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(
                "This path doesn't take that method. It takes GET.", allowed=("GET", "HEAD")
            )
        page = await maker()
        await self._send(request, page)
        return page.status

    async def _send(self, request: Request, page: Page) -> None:
        lines = own_answer_lines(page.content_type, request_id_of(request), page.headers)
        lines += self._origin_lines(request)
        answer = begin(request, Answer(page.status, lines, len(page.body)))
        await answer.send(page.body, end_stream=True)
