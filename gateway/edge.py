"""The edge: the entry of every request, and the place where every failure gets its envelope.

path normalised → own page, own route or service's route → admission → handler or proxy
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog

from gateway.http.answer import Answer
from gateway.http.body import whole_body
from gateway.http.header_policy import own_answer_lines
from gateway.http.path import normalise, split_target
from gateway.http.request import GatewayRequest
from gateway.http.stored_answer import StoredAnswer
from gateway.own_api.batch import run_batch
from gateway.own_api.batch_items import SubRequest
from gateway.own_api.batch_request import inner_request
from gateway.own_api.page import OwnPage, Page, send_page
from gateway.own_api.routes import OwnCall, OwnRoute, enveloped
from gateway.own_api.scrapers import Scrapers
from gateway.proxy.admission import Admission, Gates
from gateway.proxy.proxy import Admitted, Proxy
from gateway.routing.plan import Plans, RoutePlan
from gateway.routing.route import OPENAI
from gateway.routing.table import allowed, not_allowed
from gateway.telemetry.exposition import asks_for_openmetrics
from gateway.telemetry.metrics import CLIENT_GONE, Meters, RouteMeter
from gateway.telemetry.tracing import Trace, Traces
from gateway.websocket.handshake import Handshake
from gateway.websocket.relay import WebSocketRelay
from shared.errors import LoomaError, MalformedRequest, render, render_openai
from shared.media_type import require_json
from shared.serving.access_log import SLOW_S, AccessLog
from shared.telemetry.logs import current_request

log = structlog.get_logger()

_OPENAI = b"/v1/"  # where its clients call: they read, too, what is no route there


class Edge:
    """`handle` answers one request, whatever happens."""

    def __init__(
        self,
        plans: Plans,
        gates: Gates,
        proxy: Proxy,
        sockets: WebSocketRelay,
        meters: Meters,
        scrapers: Scrapers,
        traces: Traces,
        stall: float,
        access: AccessLog,
    ) -> None:
        self._plans = plans
        self._pages: dict[str, tuple[OwnPage, RouteMeter]] = {}
        self._own: dict[str, tuple[OwnRoute, RouteMeter]] = {}
        self._cors = gates.cors
        self._admission = Admission(gates)
        self._proxy = proxy
        self._sockets = sockets
        self._scrapers = scrapers
        self._traces = traces
        self._stall = stall
        self._meters = meters
        self._access = access
        self._tells_all = access.tells_all

    def answer_itself(self, pages: Mapping[str, OwnPage], own: Sequence[OwnRoute]) -> None:
        """Set what the gateway answers itself: pages, by path, and own routes."""
        meters = self._meters
        self._pages = {path: (page, meters.page(path)) for path, page in pages.items()}
        self._own = {one.path: (one, meters.own(one.method, one.path)) for one in own}

    async def handle(self, request: GatewayRequest) -> None:
        """Answer a request; raises only to have a begun answer cut off."""
        started = time.perf_counter()
        current_request.set(request)
        meter = self._meters.unmatched(request.method)
        status = CLIENT_GONE
        failure: Exception | None = None
        openai = False
        trace: Trace | None = None
        route_path = ""  # the template: paths hold ids, and log lines nobody's
        try:
            raw, query = split_target(request.target)
            openai = raw.startswith(_OPENAI)
            path = normalise(raw)
            if request.method == "OPTIONS":
                status = await self._options(request, path)
            elif path in self._pages:
                page, meter = self._pages[path]
                route_path = path
                status = await self._page(request, page)
            elif path in self._own:
                route, meter = self._own[path]
                route_path = path
                trace = self._traces.begin(request.headers, route.method, route.path)
                request.trace_lines = trace.lines
                status = await self._answer_own(request, route, trace)
            else:
                one = self._find(request.method, path)
                if one is None:
                    await self._lost(request, path)
                else:
                    meter, route_path = one.meter, one.route.path
                    openai = one.route.failures == OPENAI
                    trace = self._traces.begin(request.headers, one.route.method, one.route.path)
                    request.trace_lines = trace.lines
                    status = await self._forward(request, one, path + query, started, trace)
        # The edge: rendered below, as decision 0012 allows no await here, or raised to cut it off.
        except Exception as error:  # noqa: BLE001
            status = error.status if isinstance(error, LoomaError) else 500
            failure = error
        except BaseException:
            self._over(request, meter, trace, status, started, route_path, failure)
            raise
        try:
            if failure is not None:
                if request.client is None or request.client.begun:
                    raise failure
                await self.fail(request, failure, openai=openai)
        finally:
            self._over(request, meter, trace, status, started, route_path, failure)

    def _over(
        self,
        request: GatewayRequest,
        meter: RouteMeter,
        trace: Trace | None,
        status: int,
        started: float,
        route: str,
        failure: Exception | None,
    ) -> None:
        """Count a request, end its trace, and write its line if it is to have one."""
        seconds = time.perf_counter() - started
        if request.organisation is not None:
            self._meters.organisation(request.organisation).answered(status, seconds)
            request.organisation = None  # counted, also if it is refused for its lateness yet
        if trace is None:
            meter.answered(status, seconds)
        else:
            meter.answered(status, seconds, trace.id)
            trace.end(status)
        if status >= 400 or seconds >= SLOW_S or self._tells_all:
            if failure is None and route in self._pages:
                return  # asked every second by whoever waits until all is ready
            more = {"instance": request.upstream} if request.upstream else {}
            self._access.note(status, seconds, route, failure, method=request.method, **more)

    def _find(self, method: str, path: str) -> RoutePlan | None:
        plan = self._plans.current
        index = plan.table.look_up(method, path)
        return None if index < 0 else plan.routes[index]

    async def _forward(
        self,
        request: GatewayRequest,
        plan: RoutePlan,
        target: str,
        started: float,
        trace: Trace,
    ) -> int:
        admission, route, limits = self._admission, plan.route, plan.limits
        address = admission.address(request)
        handshake: Handshake | None = None
        if route.websocket:
            handshake = await self._handshake(request, plan, address)
        caller, more = await admission.admit(request, route.scope, limits, address)
        more += admission.origin_lines(request.headers)
        scheme = admission.scheme(request)
        call = Admitted(request, plan, caller, address, scheme, target, started, more, trace.lines)
        if handshake is not None:
            return await self._sockets.open(call, handshake)
        return await self._proxy.relay(call)

    async def _handshake(self, request: GatewayRequest, plan: RoutePlan, address: str) -> Handshake:
        try:
            return self._sockets.read(request)
        except LoomaError as error:
            refusal = error  # counted below: decision 0012 allows no await here
        await self._admission.stranger(plan.limits, address)
        raise refusal

    async def _answer_own(self, request: GatewayRequest, route: OwnRoute, trace: Trace) -> int:
        await self._check_method(request, (route.method,))
        admission, limits = self._admission, self._plans.current.own
        address = admission.address(request)
        _, more = await admission.admit(request, route.scope, limits, address)
        body = b""
        if route.body_limit:
            headers = request.headers
            require_json(headers.getall("content-type"), headers.getall("content-encoding"))
            body = await whole_body(request, route.body_limit, self._stall)
        data = await route.handler(OwnCall(request, body, trace.lines))
        more += admission.origin_lines(request.headers)
        return await send_page(request, enveloped(data, request.id, route.method), more)

    async def _page(self, request: GatewayRequest, page: OwnPage) -> int:
        await self._check_method(request, ("GET",))
        admission = self._admission
        refusal = await self._scrapers.refusal(request) if page.guarded else None
        if page.limited or refusal is not None:
            await admission.stranger(self._plans.current.own, admission.address(request))
        if refusal is not None:
            raise refusal
        make = page.make
        if page.openmetrics is not None:
            accepted = ", ".join(request.headers.getall("accept"))
            make = page.openmetrics if asks_for_openmetrics(accepted) else make
        return await send_page(request, await make(), admission.origin_lines(request.headers))

    async def _options(self, request: GatewayRequest, path: str) -> int:
        """Answer OPTIONS: a CORS preflight, or the methods that the path takes."""
        client, admission = request.client, self._admission
        assert client is not None
        await admission.stranger(self._plans.current.own, admission.address(request))
        taken = self._taken(path)
        if admission.is_preflight(request):
            answer = Answer(204, self._cors.preflight(request.headers["origin"]))
        else:
            lines = own_answer_lines("", request.id, (("Allow", ", ".join(taken)),))
            answer = Answer(204, lines[1:], None, admission.origin_lines(request.headers))
        client.skip_body()
        client.begin(answer)
        await client.send(b"", end=True)
        return 204

    def _taken(self, path: str) -> list[str]:
        """The methods that a path takes; NotFound."""
        if path in self._pages:
            return allowed(("GET",))
        if path in self._own:
            return allowed((self._own[path][0].method,))
        return self._plans.current.table.methods(path)

    async def _check_method(self, request: GatewayRequest, methods: Sequence[str]) -> None:
        taken = allowed(methods)
        if request.method not in taken:
            await self._admission.stranger(
                self._plans.current.own, self._admission.address(request)
            )
            raise not_allowed(taken)

    async def _lost(self, request: GatewayRequest, path: str) -> None:
        """Refuse what no route matches; looking for what there is costs as any public route."""
        await self._admission.stranger(self._plans.current.own, self._admission.address(request))
        raise not_allowed(self._taken(path))

    async def batch(self, call: OwnCall) -> Any:
        """POST /api/v1/batch: each item goes through `handle` as if it had come alone."""

        async def execute(sub: SubRequest) -> StoredAnswer:
            request, client = inner_request(call.request, sub, call.trace_lines)
            await self.handle(request)
            return client.kept()

        return await run_batch(call.body, execute)

    async def fail(
        self, request: GatewayRequest, error: Exception, *, openai: bool = False
    ) -> None:
        """Answer with the failure envelope, or as OpenAI's clients read it."""
        if not isinstance(error, LoomaError):
            log.error("unexpected error", exc_info=error, request_id=request.id)
        status, body, headers = (render_openai if openai else render)(error, request.id)
        page = Page(orjson.dumps(body), status=status, headers=tuple(headers.items()))
        client = request.client
        if client is None or client.is_gone:
            return
        if isinstance(error, MalformedRequest):
            client.keep_alive = False  # where the next request begins can't be known
        client.skip_body()
        await send_page(request, page, self._admission.origin_lines(request.headers))

    async def refuse(self, request: GatewayRequest, error: LoomaError) -> None:
        """Answer what never became a request, and count it."""
        started = time.perf_counter()
        current_request.set(request)
        await self.fail(request, error)
        meter = self._meters.unmatched(request.method)
        self._over(request, meter, None, error.status, started, "", error)
