"""From one client's request to one service's answer, passed on as it comes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.answers import Answering, collected
from gateway.caller import Caller
from gateway.connection import BodySource, Connection
from gateway.deadline import DEADLINE_HEADER, parse_deadline
from gateway.headers import forwarded_block, own_lines
from gateway.idempotency import (
    REPLAYED,
    AnswerLost,
    Idempotency,
    Operation,
    fingerprint,
    idempotency_key,
    settled,
)
from gateway.kept_answer import KEPT_BODY_LIMIT, KeptAnswer
from gateway.meters import Meters
from gateway.outcome import outcome_of_status
from gateway.plan import RoutePlan
from gateway.request import GatewayRequest
from gateway.request_body import RequestBody, body_of, whole_body
from gateway.response_cache import Question, ResponseCache, may_keep
from gateway.retries import Repeat
from gateway.route import KEYED_METHODS, REQUIRED
from gateway.service_calls import WholeBody
from gateway.time_limit import within
from gateway.timeouts import Timeouts
from gateway.tracing import Trace, Traces
from gateway.tries import Answered, Patience, ask
from gateway.upstream import Exchange
from shared.errors import UpstreamError
from shared.security import InternalTokens

_REPLAYED_LINE: Final = b"%b: %b\r\n" % REPLAYED
_COLLECTED: Final = 32 << 20  # bytes of an answer to a request with an Idempotency-Key
_SPARE_S: Final = 1.0  # what is done about an answer that is late takes time, too
_NO_FAILURE: Final[BaseException | None] = None
log = structlog.get_logger()


class Admitted:
    """A request that is routed, authenticated, authorised and within its limits."""

    def __init__(
        self,
        request: GatewayRequest,
        plan: RoutePlan,
        caller: Caller,
        address: str,
        scheme: str,
        target: str,
        started: float,
        more: bytes,
    ) -> None:
        self.request = request
        self.plan = plan
        self.caller = caller
        self.principal = caller.principal
        self.address = address  # the client's
        self.scheme = scheme  # of the client's connection
        self.target = target  # normalised path and query
        self.started = started  # perf_counter
        self.more = more  # header lines that the answer gets besides


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
        route = call.plan.route
        answering = Answering(call.request, call.more)
        question: Question | None = None
        if route.cache:
            question, found = self._known(call)
            if found is not None:
                await answering.whole(found)
                return found.status
        elif route.method in KEYED_METHODS:
            key = _idempotency_key(call)
            if key is not None:
                return await self._once(call, answering, key)
        # Shed before the body is read: refusing has to be cheap.
        with call.plan.shedder.admit(call.plan.priority) as slot:
            begun_at = call.started
            body: RequestBody | None = None
            client = call.request.client
            if client is not None and not client.body_done:
                reading = time.perf_counter()
                body = body_of(call.request, route.body_limit, self._timeouts.stall)
                if body is not None:
                    await body.start()
                begun_at += time.perf_counter() - reading
            status = await self._exchange(call, body, answering, question, begun_at)
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
            question, headers.get("if-none-match"), headers.get("cache-control")
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
            fingerprint(route.method, call.target, request.headers.get("content-type"), content),
            hold=route.timeout + self._timeouts.idle + _SPARE_S,
            required=route.idempotent == REQUIRED,
        )

        async def execute() -> KeptAnswer:
            exchange, trace = self._outgoing(call, body)
            status = 0
            try:
                with call.plan.shedder.admit(call.plan.priority):
                    kept = await self._collected(await self._ask(call, exchange))
                status = kept.status
            finally:
                trace.end(status)
            if status < 400:
                self._keeping.cache.changed(call.principal.org_id, route.service)
            return kept

        done = await self._keeping.idempotency.once(operation, execute)
        await answering.whole(done.answer, _REPLAYED_LINE if done.replayed else b"")
        return done.answer.status

    async def _collected(self, answered: Answered) -> KeptAnswer:
        """All of an answer; AnswerLost if only that went wrong after the service had done its work."""
        connection, idle, failure = answered.connection, self._timeouts.idle, _NO_FAILURE
        kept: KeptAnswer | None = None
        try:
            kept = await within(idle, collected(connection, idle, _COLLECTED))
        except BaseException as error:  # noqa: BLE001 - raised below
            failure = error
        await answered.close()
        if kept is not None:
            return kept
        assert failure is not None
        if isinstance(failure, UpstreamError | TimeoutError) and settled(connection.status):
            raise AnswerLost(str(failure) or "it took too long.") from failure
        raise failure

    def _outgoing(self, call: Admitted, body: BodySource | None) -> tuple[Exchange, Trace]:
        request, route = call.request, call.plan.route
        headers = request.headers
        trace = self._traces.begin(headers, route.method, route.path)
        own = own_lines(
            call.caller.token(self._tokens, route.service, time.time()),
            request.id,
            trace.lines,
            call.address,
            call.scheme,
            headers.get("host"),
        )
        lines = forwarded_block(headers) + own
        exchange = Exchange(
            route.method,
            call.target,
            lines,
            body,
            route.timeout,
            self._timeouts.idle,
            call.principal.org_id,
        )
        return exchange, trace

    async def _ask(self, call: Admitted, exchange: Exchange) -> Answered:
        plan, headers = call.plan, call.request.headers
        asked = parse_deadline(headers.find(DEADLINE_HEADER))
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

    async def upgrade(self, call: Admitted, lines: str) -> Answered:
        """The service's answer to the request as one that asks to leave HTTP; `lines` say for what.

        Raises as `ask` does; the caller closes it.
        """
        exchange, trace = self._outgoing(call, None)
        exchange.headers += lines
        exchange.upgrade = True
        status = 0
        try:
            answered = await self._ask(call, exchange)
            status = answered.connection.status
        finally:
            trace.end(status)
        return answered

    async def _exchange(
        self,
        call: Admitted,
        body: RequestBody | None,
        answering: Answering,
        question: Question | None,
        begun_at: float,
    ) -> int:
        plan, timeouts = call.plan, self._timeouts
        exchange, trace = self._outgoing(call, body)
        sent = time.perf_counter()
        try:
            answered = await self._ask(call, exchange)
        except BaseException:
            trace.end(0)
            raise
        heard = time.perf_counter()
        connection, status, failure = answered.connection, 0, _NO_FAILURE
        idle = timeouts.stream_idle if plan.route.stream else timeouts.idle
        try:
            last = True
            if question is not None and _collectable(connection):
                kept = await collected(connection, idle, KEPT_BODY_LIMIT)
                told = call.request.headers.get("if-none-match")
                await answering.whole(self._keeping.cache.keep(question, kept, told))
            else:
                last = await answering.first(connection)
            plan.meter.relayed(sent - begun_at + time.perf_counter() - heard, heard - sent)
            if not last:
                await answering.rest(connection, idle)
            status = connection.status
        except BaseException as error:  # noqa: BLE001 - raised below
            failure = error
            if isinstance(error, UpstreamError):
                self._broken_off(call, answered, error)
        trace.end(status)
        if connection.sending:
            await answered.close()
        else:
            answered.upstream.release(connection)
        if failure is not None:
            raise failure
        return status

    def _broken_off(self, call: Admitted, answered: Answered, error: UpstreamError) -> None:
        plan, client = call.plan, call.request.client
        plan.pool.broke_off(answered.upstream)
        if client is None or client.begun:
            self._meters.cut.labels(plan.route.service).inc()
            log.warning(
                "answer cut",
                service=plan.route.service,
                instance=answered.upstream.name,
                reason=error.message,
                request_id=call.request.id,
            )


def _idempotency_key(call: Admitted) -> str | None:
    """The key under which the request is carried out once; None if it is one like any other."""
    route, headers = call.plan.route, call.request.headers
    if not route.idempotent or call.principal.kind == "anonymous":
        return None
    values = headers.getall("idempotency-key") if "idempotency-key" in headers else ()
    return idempotency_key(values, required=route.idempotent == REQUIRED)


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
