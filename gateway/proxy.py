"""From one client's request to one service's answer, passed on as it comes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog
from sanic.request import Request

from gateway.balancing import Balancer
from gateway.connection import Connection
from gateway.discovery import Discovery
from gateway.headers import forwarded_lines, own_lines, returned_lines
from gateway.meters import Meters, RouteMeter
from gateway.request_body import RequestBody, body_of
from gateway.route import Route
from gateway.server import Answer, address_of, begin, begun, scheme_of
from gateway.timeouts import Timeouts
from gateway.tracing import Trace, Traces
from gateway.upstream import Exchange
from shared.errors import MalformedRequest, UpstreamError
from shared.security import InternalTokens, Principal

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that is routed, authenticated and authorised."""

    request: Request
    route: Route
    meter: RouteMeter
    principal: Principal
    target: str  # normalised path and query
    request_id: str
    started: float  # perf_counter


class Proxy:
    def __init__(
        self,
        discovery: Discovery,
        balancer: Balancer,
        tokens: InternalTokens,
        traces: Traces,
        meters: Meters,
        timeouts: Timeouts,
    ) -> None:
        self._discovery = discovery
        self._balancer = balancer
        self._tokens = tokens
        self._traces = traces
        self._meters = meters
        self._timeouts = timeouts

    async def relay(self, call: Admitted) -> int:
        """Forward, pass the answer on, return its status.

        Before the answer's head is sent, failures are raised as what the client shall see;
        afterwards raising makes the server cut the connection: an answer never ends short silently.
        """
        route, request = call.route, call.request
        reading = time.perf_counter()
        body = body_of(request, route.body_limit, self._timeouts.stall)
        if body is not None:
            await body.start()
        waited = time.perf_counter() - reading
        trace = self._traces.begin(request.headers, route.method, route.path)
        status = 0
        try:
            status = await self._exchange(call, self._outgoing(call, trace, body), waited)
        finally:
            trace.end(status)
        return status

    def _outgoing(self, call: Admitted, trace: Trace, body: RequestBody | None) -> Exchange:
        request = call.request
        own = own_lines(
            token=self._tokens.mint(call.principal, call.route.service),
            request_id=call.request_id,
            trace=trace.lines,
            address=address_of(request),
            scheme=scheme_of(request),
            host=request.headers.get("host", ""),
        )
        lines = "".join(forwarded_lines(request.headers)) + own
        return Exchange(
            call.route.method, call.target, lines, body, call.route.timeout, self._timeouts.idle
        )

    async def _exchange(self, call: Admitted, exchange: Exchange, waited: float) -> int:
        service = call.route.service
        asked = time.perf_counter()
        upstream, connection = await self._balancer.open(
            service, self._discovery.of(service), exchange
        )
        heard = time.perf_counter()
        try:
            answer = self._answer(call, connection)
            timeouts = self._timeouts
            idle = timeouts.stream_idle if call.route.stream else timeouts.idle
            data = b"" if connection.waiting else await connection.read(idle)
            last = connection.exhausted
            await answer.send(data, last)
            own = asked - call.started - waited + time.perf_counter() - heard
            call.meter.relayed(own, heard - asked)
            if not last:
                await _pass_on(connection, answer, idle, timeouts.idle)
        except UpstreamError as error:
            if not begun(call.request):
                raise
            self._meters.cut.labels(service).inc()
            log.warning(
                "answer cut",
                service=service,
                instance=upstream.name,
                reason=error.message,
                request_id=call.request_id,
            )
            raise
        finally:
            await upstream.close(connection)
        return connection.status

    def _answer(self, call: Admitted, connection: Connection) -> Answer:
        if connection.length is None and call.request.version == "1.0":
            raise MalformedRequest("HTTP/1.0 can't carry this answer. Use HTTP/1.1.")
        lines = returned_lines(connection.headers, call.request_id.encode())
        return begin(call.request, Answer(connection.status, lines, connection.length))


async def _pass_on(connection: Connection, answer: Answer, idle: float, patience: float) -> None:
    while data := await connection.read(idle):
        try:
            async with asyncio.timeout(patience):
                await answer.send(data)
        except TimeoutError:
            raise MalformedRequest("The client takes nothing of the answer any more.") from None
    await answer.send(b"", end_stream=True)
