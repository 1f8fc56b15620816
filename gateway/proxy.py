"""From one client's request to one service's answer, passed on as it comes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from sanic.request import Request

from gateway.allowance import Allowance
from gateway.answers import Answering, collected
from gateway.connection import BodySource, Connection
from gateway.deadline import DEADLINE_HEADER, parse_deadline
from gateway.headers import forwarded_lines, own_lines
from gateway.idempotency import REPLAYED, Idempotency, Operation, fingerprint, idempotency_key
from gateway.kept_answer import KEPT_BODY_LIMIT, KeptAnswer
from gateway.meters import Meters
from gateway.outcome import outcome_of_status
from gateway.plan import RoutePlan
from gateway.request_body import RequestBody, body_of, whole_body
from gateway.response_cache import Question, ResponseCache, may_keep
from gateway.retries import Repeat
from gateway.server import begun, scheme_of
from gateway.service_calls import WholeBody
from gateway.timeouts import Timeouts
from gateway.tracing import Trace, Traces
from gateway.tries import Answered, Patience, ask
from gateway.upstream import Exchange
from shared.errors import UpstreamError
from shared.security import InternalTokens, Principal

_COLLECTED: Final = 32 << 20  # bytes of an answer to a request with an Idempotency-Key
log = structlog.get_logger()


@dataclass(slots=True)  # not frozen: that makes every field dearer, on every request
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


@dataclass(frozen=True, slots=True)
class Keeping:
    """What answers requests without asking a service again."""

    cache: ResponseCache
    idempotency: Idempotency


class Proxy:
    def __init__(
        self,
        tokens: InternalTokens,
        traces: Traces,
        meters: Meters,
        timeouts: Timeouts,
        keeping: Keeping,
    ) -> None:
        self._tokens = tokens
        self._traces = traces
        self._meters = meters
        self._timeouts = timeouts
        self._keeping = keeping

    async def relay(self, call: Admitted) -> int:
        """Answer, by a service or from what is kept; the status.

        Before the answer's head is sent, failures are raised as what the client shall see;
        afterwards raising makes the server cut the connection: an answer never ends short silently.
        """
        route, headers = call.plan.route, call.request.headers
        answering = Answering(call.request, call.request_id, _more(call))
        question: Question | None = None
        if route.cache:
            question, found = self._known(call)
            if found is not None:
                await answering.whole(found)
                return found.status
        elif route.method != "GET" and "idempotency-key" in headers:
            key = idempotency_key(headers.getall("idempotency-key"))
            if key is not None and route.idempotent and call.principal.kind != "anonymous":
                return await self._once(call, answering, key)
        # Shed before the body is read: refusing has to be cheap.
        with call.plan.shedder.admit(call.plan.priority) as slot:
            reading = time.perf_counter()
            body = body_of(call.request, route.body_limit, self._timeouts.stall)
            if body is not None:
                await body.start()
            begun_at = call.started + time.perf_counter() - reading
            status = await self._traced(call, body, answering, question, begun_at)
            if status >= 502:
                slot.outcome = outcome_of_status(status)
        if route.method != "GET" and status < 400:
            self._keeping.cache.changed(call.principal.org_id, route.service)
        return status

    def _known(self, call: Admitted) -> tuple[Question, KeptAnswer | None]:
        route, headers = call.plan.route, call.request.headers
        path, mark, query = call.target.partition("?")
        question = self._keeping.cache.question(
            route.service, call.principal, path, mark + query, route.cache
        )
        found = self._keeping.cache.find(
            question, headers.get("if-none-match", ""), headers.get("cache-control", "")
        )
        return question, found

    async def _once(self, call: Admitted, answering: Answering, key: str) -> int:
        """A request with an Idempotency-Key: carried out once, whatever becomes of its client."""
        route, request = call.plan.route, call.request
        content = await whole_body(request, route.body_limit, self._timeouts.stall)
        body = WholeBody(content) if content else None
        operation = Operation(
            call.principal.org_id,
            call.principal.subject,
            f"{route.method} {route.path}",
            key,
            fingerprint(
                route.method, call.target, request.headers.get("content-type", ""), content
            ),
            hold=route.timeout + self._timeouts.idle,
        )
        exchange, trace = self._outgoing(call, body)

        async def execute() -> KeptAnswer:
            status = 0
            try:
                with call.plan.shedder.admit(call.plan.priority):
                    answered = await self._ask(call, exchange)
                    try:
                        kept = await collected(answered.connection, self._timeouts.idle, _COLLECTED)
                    finally:
                        await answered.close()
                status = kept.status
            finally:
                trace.end(status)
            if status < 400:
                self._keeping.cache.changed(call.principal.org_id, route.service)
            return kept

        done = await self._keeping.idempotency.once(operation, execute)
        await answering.whole(done.answer, (REPLAYED,) if done.replayed else ())
        return done.answer.status

    async def _traced(
        self,
        call: Admitted,
        body: RequestBody | None,
        answering: Answering,
        question: Question | None,
        begun_at: float,
    ) -> int:
        exchange, trace = self._outgoing(call, body)
        status = 0
        try:
            status = await self._exchange(call, exchange, answering, question, begun_at)
        finally:
            trace.end(status)
        return status

    def _outgoing(self, call: Admitted, body: BodySource | None) -> tuple[Exchange, Trace]:
        request, route = call.request, call.plan.route
        trace = self._traces.begin(request.headers, route.method, route.path)
        own = own_lines(
            token=self._tokens.mint(call.principal, route.service),
            request_id=call.request_id,
            trace=trace.lines,
            address=call.address,
            scheme=scheme_of(request),
            host=request.headers.get("host", ""),
        )
        lines = "".join(forwarded_lines(request.headers)) + own
        exchange = Exchange(
            route.method, call.target, lines, body, route.timeout, self._timeouts.idle
        )
        return exchange, trace

    async def _ask(self, call: Admitted, exchange: Exchange) -> Answered:
        plan, headers = call.plan, call.request.headers
        asked = parse_deadline(headers.get(DEADLINE_HEADER))
        return await ask(
            plan.pool,
            exchange,
            _patience(plan, exchange, asked),
            Repeat(
                exchange.method,
                keyed="idempotency-key" in headers,
                replayable=exchange.body is None or exchange.body.complete,
            ),
            key=_key(call) if plan.keyed else None,
            hedge=plan.hedge,
        )

    async def _exchange(
        self,
        call: Admitted,
        exchange: Exchange,
        answering: Answering,
        question: Question | None,
        begun_at: float,
    ) -> int:
        plan, timeouts = call.plan, self._timeouts
        sent = time.perf_counter()
        answered = await self._ask(call, exchange)
        heard = time.perf_counter()
        connection = answered.connection
        idle = timeouts.stream_idle if plan.route.stream else timeouts.idle
        try:
            last = True
            if question is not None and _collectable(connection):
                kept = await collected(connection, idle, KEPT_BODY_LIMIT)
                told = call.request.headers.get("if-none-match", "")
                await answering.whole(self._keeping.cache.keep(question, kept, told))
            else:
                last = await answering.first(connection, idle)
            plan.meter.relayed(sent - begun_at + time.perf_counter() - heard, heard - sent)
            if not last:
                await answering.rest(connection, idle, timeouts.idle)
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
        return connection.status


def _more(call: Admitted) -> Sequence[tuple[bytes, bytes]]:
    if call.allowance is None:
        return call.more
    return [*call.allowance.lines(), *call.more]


def _collectable(connection: Connection) -> bool:
    return connection.length is not None and may_keep(
        connection.status, connection.headers, connection.length
    )


def _patience(plan: RoutePlan, exchange: Exchange, asked: float | None) -> Patience:
    """A body that still comes is no part of the time that the service has to answer."""
    coming = exchange.body is not None and not exchange.body.complete
    deadline = None if coming and asked is None else plan.times.begin(time.monotonic(), asked)
    return Patience(plan.times, deadline, tell=not plan.route.stream)


def _key(call: Admitted) -> str:
    """Whose requests stay at one instance: an organisation's, or an address's without sign-in."""
    return call.address if call.principal.kind == "anonymous" else str(call.principal.org_id)
