"""Where every request enters, and where every failure gets its envelope.

one spelling of the path → own page or route → principal → scope → limits → proxy
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from gateway.batch import SubRequest, run_batch
from gateway.client_address import ClientAddress
from gateway.cors import Cors
from gateway.fields import Fields
from gateway.headers import own_answer_lines
from gateway.http1_answer import Answer
from gateway.identity import Identity
from gateway.inner_request import inner_request
from gateway.kept_answer import KeptAnswer
from gateway.meters import CLIENT_GONE, Meters, RouteMeter
from gateway.own_routes import OwnCall, OwnRoute, enveloped
from gateway.page import Page, PageMaker
from gateway.plan import Plans, RoutePlan
from gateway.proxy import Admitted, Proxy
from gateway.rate_limit import RateLimiter
from gateway.request import Client, GatewayRequest
from gateway.request_body import whole_body
from gateway.request_path import normalise, split_target
from gateway.websocket_handshake import Handshake
from gateway.websocket_relay import WebSocketRelay
from shared.errors import LoomaError, MalformedRequest, MethodNotAllowed, Unauthenticated, render
from shared.media_type import require_json
from shared.security import PUBLIC

_NO_FAILURE: Final[Exception | None] = None
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Gates:
    """What a request passes before it is forwarded."""

    identity: Identity
    limiter: RateLimiter
    addresses: ClientAddress
    cors: Cors


class Edge:
    """`handle` answers one request, whatever happens."""

    def __init__(
        self,
        plans: Plans,
        gates: Gates,
        proxy: Proxy,
        sockets: WebSocketRelay,
        meters: Meters,
        stall: float,
    ) -> None:
        self._plans = plans
        self._pages: dict[str, tuple[PageMaker, RouteMeter]] = {}
        self._own: dict[str, tuple[OwnRoute, RouteMeter]] = {}
        self._gates = gates
        self._proxy = proxy
        self._sockets = sockets
        self._stall = stall
        self._meters = meters

    def answer_itself(self, pages: Mapping[str, PageMaker], own: Sequence[OwnRoute]) -> None:
        """What no service is asked for: pages for anybody, by path, and routes for the signed in."""
        meters = self._meters
        self._pages = {path: (maker, meters.page(path)) for path, maker in pages.items()}
        self._own = {one.path: (one, meters.own(one.method, one.path)) for one in own}

    async def handle(self, request: GatewayRequest) -> None:
        started = time.perf_counter()
        meter = self._meters.unmatched(request.method)
        status, failure = CLIENT_GONE, _NO_FAILURE
        try:
            raw, query = split_target(request.target)
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
                plan = self._plans.current
                one = plan.routes[plan.table.find(request.method, path)]
                meter = one.meter
                status = await self._forward(request, one, path + query, started)
        except Exception as error:  # noqa: BLE001 - the edge: rendered, or raised again to cut it off
            status = error.status if isinstance(error, LoomaError) else 500
            failure = error
        except BaseException:
            meter.answered(status, time.perf_counter() - started)
            raise
        try:
            if failure is not None:
                if request.client is None or request.client.begun:
                    raise failure
                await self.fail(request, failure)
        finally:
            meter.answered(status, time.perf_counter() - started)

    async def _forward(
        self, request: GatewayRequest, plan: RoutePlan, target: str, started: float
    ) -> int:
        gates, route = self._gates, plan.route
        client, headers = request.client, request.headers
        assert client is not None
        address = client.address
        if gates.addresses.trusting:
            address = gates.addresses.of(address, headers.getall("x-forwarded-for"))
        handshake: Handshake | None = None
        if route.websocket:
            handshake = self._sockets.read(request)
            headers = request.headers
        caller = gates.identity.anonymous
        limited = plan.public
        if route.scope != PUBLIC:
            refusal = _NO_FAILURE
            try:
                caller = gates.identity.known(headers) or await gates.identity.caller(headers)
                caller.require(route.scope)
            except Unauthenticated as error:
                refusal = error
            if refusal is not None:
                if limited is not None:  # guessing credentials costs as much as any public route
                    await gates.limiter.admit(limited, None, address)
                raise refusal
            limited = plan.by_role.get(caller.role)
        more = self._origin_lines(request)
        if limited is not None:
            buckets = gates.limiter.buckets(limited, caller, address)
            allowance = gates.limiter.known(limited, buckets)
            if allowance is None and buckets:
                allowance = await gates.limiter.ask(limited, buckets)
            if allowance is not None:
                more = allowance.block() + more
        scheme = self._scheme(client, headers)
        call = Admitted(request, plan, caller, address, scheme, target, started, more)
        if handshake is not None:
            return await self._sockets.open(call, handshake)
        return await self._proxy.relay(call)

    def _address(self, request: GatewayRequest) -> str:
        client, addresses = request.client, self._gates.addresses
        assert client is not None
        return addresses.of(client.address, request.headers.getall("x-forwarded-for"))

    def _scheme(self, client: Client, headers: Fields) -> str:
        """That of our own socket, unless a trusted proxy says which its client used."""
        addresses = self._gates.addresses
        if addresses.trusting and "x-forwarded-proto" in headers:
            told = addresses.scheme(client.address, headers.getall("x-forwarded-proto"))
            if told:
                return told
        return "https" if client.secure else "http"

    async def _answer_own(self, request: GatewayRequest, route: OwnRoute) -> int:
        if request.method != route.method:
            raise MethodNotAllowed(
                f"This path doesn't take that method. It takes {route.method}.",
                allowed=(route.method,),
            )
        caller = await self._gates.identity.caller(request.headers)
        caller.require(route.scope)
        body = b""
        if route.body_limit:
            headers = request.headers
            require_json(headers.getall("content-type"), headers.getall("content-encoding"))
            body = await whole_body(request, route.body_limit, self._stall)
        address = self._address(request)
        data = await route.handler(OwnCall(request, caller.principal, address, request.id, body))
        await self._send(request, enveloped(data, request.id))
        return 200

    def _origin_lines(self, request: GatewayRequest) -> bytes:
        cors, headers = self._gates.cors, request.headers
        if not cors.enabled or "origin" not in headers:
            return b""
        return b"".join(b"%b: %b\r\n" % line for line in cors.lines(headers["origin"]))

    def _is_preflight(self, request: GatewayRequest) -> bool:
        headers = request.headers
        return (
            self._gates.cors.enabled
            and "origin" in headers
            and "access-control-request-method" in headers
        )

    async def _preflight(self, request: GatewayRequest) -> int:
        client = request.client
        assert client is not None
        client.begin(Answer(204, self._gates.cors.preflight(request.headers["origin"])))
        await client.send(b"", end=True)
        return 204

    async def batch(self, call: OwnCall) -> Any:
        """POST /api/v1/batch: each item goes through `handle` as if it had come alone."""

        async def execute(sub: SubRequest) -> KeptAnswer:
            request, client = inner_request(call.request, sub)
            await self.handle(request)
            return client.kept()

        return await run_batch(call.body, execute)

    async def fail(self, request: GatewayRequest, error: Exception) -> None:
        """Answer with the failure envelope."""
        if not isinstance(error, LoomaError):
            log.error("unexpected error", exc_info=error, request_id=request.id)
        elif error.status >= 500:
            log.warning(
                "request failed", error=error.name, reason=error.message, request_id=request.id
            )
        status, body, headers = render(error, request.id)
        page = Page(orjson.dumps(body), status=status, headers=tuple(headers.items()))
        client = request.client
        if client is None or client.is_gone:
            return
        if isinstance(error, MalformedRequest):
            client.keep_alive = False  # where the next request begins can't be known
        client.skip_body()
        await self._send(request, page)

    async def refuse(self, request: GatewayRequest, error: LoomaError) -> None:
        """Answer what never became a request, and count it."""
        started = time.perf_counter()
        await self.fail(request, error)
        meter = self._meters.unmatched(request.method)
        meter.answered(error.status, time.perf_counter() - started)

    async def _page(self, request: GatewayRequest, maker: PageMaker) -> int:
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(
                "This path doesn't take that method. It takes GET.", allowed=("GET", "HEAD")
            )
        page = await maker()
        await self._send(request, page)
        return page.status

    async def _send(self, request: GatewayRequest, page: Page) -> None:
        client = request.client
        assert client is not None
        lines = own_answer_lines(page.content_type, request.id, page.headers)
        client.begin(Answer(page.status, lines, len(page.body), self._origin_lines(request)))
        await client.send(page.body, end=True)
