"""From one client's request to one service's answer, passed on as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sanic.request import Request

from gateway.allowance import Allowance
from gateway.deadline import DEADLINE_HEADER, parse_deadline
from gateway.headers import forwarded_lines, own_lines, returned_lines
from gateway.meters import Meters
from gateway.outcome import Outcome
from gateway.plan import RoutePlan
from gateway.request_body import RequestBody, body_of
from gateway.retries import Repeat
from gateway.server import Answer, begin, begun, scheme_of
from gateway.timeouts import Timeouts
from gateway.tracing import Trace, Traces
from gateway.tries import Answered, Patience, ask
from gateway.upstream import Exchange
from shared.errors import MalformedRequest, UpstreamError
from shared.security import InternalTokens, Principal

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that is routed, authenticated, authorised and within its limits."""

    request: Request
    plan: RoutePlan
    principal: Principal
    address: str  # the client's
    target: str  # normalised path and query
    request_id: str
    started: float  # perf_counter
    allowance: Allowance | None = None
    more: Sequence[tuple[bytes, bytes]] = ()  # lines that the answer gets besides


class Proxy:
    def __init__(
        self, tokens: InternalTokens, traces: Traces, meters: Meters, timeouts: Timeouts
    ) -> None:
        self._tokens = tokens
        self._traces = traces
        self._meters = meters
        self._timeouts = timeouts

    async def relay(self, call: Admitted) -> int:
        """Forward, pass the answer on, return its status.

        Before the answer's head is sent, failures are raised as what the client shall see;
        afterwards raising makes the server cut the connection: an answer never ends short silently.
        """
        plan, request = call.plan, call.request
        route = plan.route
        asked = parse_deadline(request.headers.get(DEADLINE_HEADER))
        # Shed before the body is read: refusing has to be cheap.
        with plan.shedder.admit(plan.priority) as slot:
            reading = time.perf_counter()
            body = body_of(request, route.body_limit, self._timeouts.stall)
            if body is not None:
                await body.start()
            waited = time.perf_counter() - reading
            trace = self._traces.begin(request.headers, route.method, route.path)
            status = 0
            try:
                status = await self._exchange(
                    call, self._outgoing(call, trace, body), waited, asked
                )
            finally:
                trace.end(status)
            if status >= 502 and status != 505:
                slot.outcome = Outcome.GATEWAY_ERROR
        return status

    def _outgoing(self, call: Admitted, trace: Trace, body: RequestBody | None) -> Exchange:
        request, route = call.request, call.plan.route
        own = own_lines(
            token=self._tokens.mint(call.principal, route.service),
            request_id=call.request_id,
            trace=trace.lines,
            address=call.address,
            scheme=scheme_of(request),
            host=request.headers.get("host", ""),
        )
        lines = "".join(forwarded_lines(request.headers)) + own
        return Exchange(route.method, call.target, lines, body, route.timeout, self._timeouts.idle)

    async def _exchange(
        self, call: Admitted, exchange: Exchange, waited: float, asked: float | None
    ) -> int:
        plan = call.plan
        sent = time.perf_counter()
        answered = await ask(
            plan.pool,
            exchange,
            _patience(plan, exchange, asked),
            Repeat(
                exchange.method,
                keyed="idempotency-key" in call.request.headers,
                replayable=exchange.body is None or exchange.body.complete,
            ),
            key=_key(call) if plan.keyed else None,
            hedge=plan.hedge,
        )
        heard = time.perf_counter()
        try:
            own = sent - call.started - waited
            await self._pass_on(call, answered, own, heard)
            plan.meter.upstream_took(heard - sent)
        except UpstreamError as error:
            plan.pool.broke_off(answered.upstream)
            if not begun(call.request):
                raise
            self._meters.cut.labels(plan.route.service).inc()
            log.warning(
                "answer cut",
                service=plan.route.service,
                instance=answered.upstream.name,
                reason=error.message,
                request_id=call.request_id,
            )
            raise
        finally:
            await answered.close()
        return answered.connection.status

    async def _pass_on(self, call: Admitted, answered: Answered, own: float, heard: float) -> None:
        connection, timeouts = answered.connection, self._timeouts
        if connection.length is None and call.request.version == "1.0":
            raise MalformedRequest("HTTP/1.0 can't carry this answer. Use HTTP/1.1.")
        lines = returned_lines(connection.headers, call.request_id.encode())
        if call.allowance is not None:
            lines += call.allowance.lines()
        lines += call.more
        answer = begin(call.request, Answer(connection.status, lines, connection.length))
        idle = timeouts.stream_idle if call.plan.route.stream else timeouts.idle
        data = b"" if connection.waiting else await connection.read(idle)
        last = connection.exhausted
        await answer.send(data, last)
        call.plan.meter.own_part(own + time.perf_counter() - heard)
        while not last:
            data = await connection.read(idle)
            if not data:
                await answer.send(b"", end_stream=True)
                break
            try:
                async with asyncio.timeout(timeouts.idle):
                    await answer.send(data)
            except TimeoutError:
                raise MalformedRequest("The client takes nothing of the answer any more.") from None


def _patience(plan: RoutePlan, exchange: Exchange, asked: float | None) -> Patience:
    """A body that still comes is no part of the time that the service has to answer."""
    coming = exchange.body is not None and not exchange.body.complete
    deadline = None if coming and asked is None else plan.times.begin(time.monotonic(), asked)
    return Patience(plan.times, deadline, tell=not plan.route.stream)


def _key(call: Admitted) -> str:
    """Whose requests stay at one instance: an organisation's, or an address's without sign-in."""
    return call.address if call.principal.kind == "anonymous" else str(call.principal.org_id)
