"""The proxy: forwards one admitted request to its service, and delivers the answer."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.auth.caller import Caller
from gateway.http.body import body_of, whole_body
from gateway.http.header_policy import forwarded_block, own_lines, without
from gateway.http.request import GatewayRequest
from gateway.http.stored_answer import StoredAnswer
from gateway.proxy.answering import Answering
from gateway.proxy.deliveries import Collecting, HandingOver, Keeping, if_none_match
from gateway.proxy.delivery import Delivery
from gateway.proxy.idempotency import (
    REPLAYED,
    Idempotency,
    Operation,
    fingerprint,
)
from gateway.proxy.idempotency import Answered as Once
from gateway.proxy.response_cache import Question, ResponseCache
from gateway.resilience.deadline import parse_deadline
from gateway.resilience.outcome import Outcome
from gateway.resilience.retries import Repeat
from gateway.resilience.shedding import Slot
from gateway.routing.plan import RoutePlan
from gateway.routing.route import KEYED_METHODS, REQUIRED
from gateway.telemetry.metrics import Meters
from gateway.timeouts import Timeouts
from gateway.upstream.attempts import Answered, Patience, ask
from gateway.upstream.connection import BodySource
from gateway.upstream.instance import Exchange
from gateway.upstream.service_calls import WholeBody
from shared.errors import UpstreamError
from shared.security import InternalTokens
from shared.wire import DEADLINE_HEADER, IDEMPOTENCY_KEY_HEADER, idempotency_key

_REPLAYED_LINE: Final = b"%b: %b\r\n" % REPLAYED
_SPARE_S: Final = 1.0  # what is done about an answer that is late takes time, too
_SAYS_NOTHING: Final = Outcome.CANCELLED  # members of an enumeration are dear to look up
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
        trace_lines: str,
    ) -> None:
        self.request = request
        self.plan = plan
        self.caller = caller
        self.principal = caller.principal
        self.address = address  # the client's
        self.scheme = scheme  # of the client's connection
        self.target = target  # normalised path and query
        self.started = started  # perf_counter
        self.reading = 0.0  # seconds in which the request's body was waited for
        self.more = more  # header lines that the answer gets besides
        self.trace_lines = trace_lines  # header lines for the service


@dataclass(frozen=True, slots=True)
class Kept:
    """The stores of answers that are given again without asking a service."""

    cache: ResponseCache
    idempotency: Idempotency


class Proxy:
    """`relay` for requests, `upgrade` for those that leave HTTP."""

    def __init__(
        self,
        tokens: InternalTokens,
        meters: Meters,
        timeouts: Timeouts,
        kept: Kept,
    ) -> None:
        self._tokens = tokens
        self._meters = meters
        self._timeouts = timeouts
        self._kept = kept

    async def relay(self, call: Admitted) -> int:
        """Answer, by a service or from what is kept; the status.

        Before the answer's head is sent, failures are raised as what the client shall see;
        afterwards raising makes the server cut the connection: an answer never ends short silently.
        """
        route, timeouts = call.plan.route, self._timeouts
        idle = timeouts.stream_idle if route.stream else timeouts.idle
        answering = Answering(call.request, call.more, idle)
        if route.cache:
            question, found = self._known(call)
            if found is not None:
                await answering.whole(found)
                return found.status
            keeping = Keeping(call.request, answering, idle, self._kept.cache, question)
            return await self.carry_out(call, keeping)
        if route.method in KEYED_METHODS:
            key = _idempotency_key(call)
            if key is not None:
                return await self._once(call, answering, key)
        return await self.carry_out(call, answering)

    async def upgrade(self, call: Admitted, lines: str) -> HandingOver:
        """Ask the service to leave HTTP; `lines` say for what. Unless it does, its answer is sent.

        Raises as `relay` does. What is handed over has the status 101 and is the caller's to end.
        """
        idle = self._timeouts.idle
        handing = HandingOver(call.request, Answering(call.request, call.more, idle), idle)
        await self.carry_out(call, handing, lines=lines)
        return handing

    async def carry_out(
        self,
        call: Admitted,
        delivery: Delivery,
        body: BodySource | None = None,
        lines: str = "",
        place: Slot | None = None,
    ) -> int:
        """The one path to a service: shed, ask, deliver, measure, release the slot. The status.

        `body` takes the place of what is to be read of the client's, `place` that of being shed;
        `lines` ask to leave HTTP.
        """
        route, client = call.plan.route, call.request.client
        # Shed before the body is read: refusing has to be cheap.
        with _place(call) if place is None else place.moved() as slot:
            if body is None and client is not None and not client.body_done:
                reading = time.perf_counter()
                coming = body_of(call.request, route.body_limit, self._timeouts.stall)
                if coming is not None:
                    await coming.start()
                body = coming
                call.reading += time.perf_counter() - reading
            status = 0
            try:
                status = await self._exchange(call, body, delivery, lines)
            finally:
                # Who refuses has changed nothing. Whoever fails, or is heard of no more, may have.
                if route.method != "GET" and not 400 <= status < 500:
                    self._kept.cache.changed(call.principal.org_id, route.service)
            if status >= 502:
                slot.outcome = delivery.outcome
            if delivery.taken:
                delivery.slot = slot.moved()
        return status

    def _known(self, call: Admitted) -> tuple[Question, StoredAnswer | None]:
        route, headers = call.plan.route, call.request.headers
        path, mark, query = call.target.partition("?")
        question = self._kept.cache.question(
            route.service, call.principal, path, mark + query, route.cache
        )
        found = self._kept.cache.find(
            question,
            if_none_match(call.request),
            headers.get("cache-control"),
            call.request.id,
        )
        return question, found

    async def _once(self, call: Admitted, answering: Answering, key: str) -> int:
        """A request with an Idempotency-Key: carried out once, whatever becomes of its client.

        It has its place before its body is read, and keeps it for as long as it is carried out.
        """
        with _place(call) as slot:
            done = await self._kept_once(call, key, slot)
            slot.outcome = _SAYS_NOTHING  # no service was asked, or it has told its own slot
        answer = done.answer.answering(call.request.id)
        await answering.whole(answer, _REPLAYED_LINE if done.replayed else b"")
        return answer.status

    async def _kept_once(self, call: Admitted, key: str, slot: Slot) -> Once:
        route, request = call.plan.route, call.request
        reading = time.perf_counter()
        content = await whole_body(request, route.body_limit, self._timeouts.stall)
        call.reading += time.perf_counter() - reading
        operation = Operation(
            call.principal.org_id,
            call.principal.subject,
            f"{route.method} {route.path}",
            key,
            fingerprint(route.method, call.target, request.headers.get("content-type"), content),
            hold=route.timeout + self._timeouts.idle + _SPARE_S,
            required=route.idempotent == REQUIRED,
        )

        async def execute() -> StoredAnswer:
            # It begins before its caller can be told to end: the place is still there to be taken.
            collecting = Collecting(request.id, self._timeouts.idle)
            body = WholeBody(content) if content else None
            await self.carry_out(call, collecting, body, place=slot)
            assert collecting.kept is not None
            return collecting.kept

        return await self._kept.idempotency.once(operation, execute)

    def _outgoing(self, call: Admitted, body: BodySource | None, upgrade: str) -> Exchange:
        request, route = call.request, call.plan.route
        headers = request.headers
        own = own_lines(
            call.caller.token(self._tokens, route.service, time.time()),
            request.id,
            call.trace_lines,
            call.address,
            call.scheme,
            headers.get("host"),
        )
        forwarded = forwarded_block(headers)
        if route.cache and "if-none-match" in headers:
            # What can be kept is asked for as a whole; whether the client has it is told here.
            forwarded = without(forwarded, "if-none-match")
        # HEAD is asked for as GET: one answer for both, whatever a service makes of HEAD.
        lines = forwarded + own + upgrade
        exchange = Exchange(
            route.method,
            call.target,
            lines,
            body,
            route.timeout,
            self._timeouts.idle,
            call.principal.org_id,
        )
        exchange.upgrade = bool(upgrade)
        return exchange

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

    async def _exchange(
        self, call: Admitted, body: BodySource | None, delivery: Delivery, upgrade: str
    ) -> int:
        exchange = self._outgoing(call, body, upgrade)
        sent = time.perf_counter()
        answered = await self._ask(call, exchange)
        heard = time.perf_counter()
        delivery.outcome = answered.outcome
        call.request.upstream = answered.member.url
        connection, status = answered.connection, 0
        failure: BaseException | None = None
        try:
            last = await delivery.first(answered)
            waited = delivery.waited
            ours = sent - call.started - call.reading + time.perf_counter() - heard - waited
            call.plan.meter.relayed(ours, heard - sent + waited)
            if not last:
                await delivery.rest(answered)
            status = connection.status
        # Raised below, when the exchange is closed: decision 0012 allows no await here.
        except BaseException as error:  # noqa: BLE001
            failure = error
            if isinstance(error, UpstreamError) and connection.closed:
                self._broken_off(call, answered, error)
        if delivery.taken:
            return status
        if connection.sending:
            await answered.close()
        else:
            answered.release()
        if failure is not None:
            raise failure
        return status

    def _broken_off(self, call: Admitted, answered: Answered, error: UpstreamError) -> None:
        plan, client = call.plan, call.request.client
        plan.pool.broke_off(answered.member)
        if client is None or client.begun:
            self._meters.cut.labels(plan.route.service).inc()
            log.warning(
                "answer cut",
                upstream=plan.route.service,
                instance=answered.member.name,
                reason=error.message,
                request_id=call.request.id,
            )


def _place(call: Admitted) -> Slot:
    """Its slot among what the service is given at once; raises as `Shedder.admit`."""
    return call.plan.shedder.admit(call.plan.priority, call.principal.org_id)


def _idempotency_key(call: Admitted) -> str | None:
    """The key under which the request is carried out once; None if it is one like any other."""
    route, headers = call.plan.route, call.request.headers
    if not route.idempotent or call.principal.kind == "anonymous":
        return None
    there = IDEMPOTENCY_KEY_HEADER in headers
    values = headers.getall(IDEMPOTENCY_KEY_HEADER) if there else ()
    return idempotency_key(values, required=route.idempotent == REQUIRED)


def _patience(plan: RoutePlan, exchange: Exchange, asked: float | None) -> Patience:
    """The deadlines of a request; a body that still comes is no part of the service's time."""
    coming = exchange.body is not None and not exchange.body.complete
    deadline = None if coming and asked is None else plan.times.begin(time.monotonic(), asked)
    return Patience(plan.times, deadline, tell=not plan.route.stream)


def _key(call: Admitted) -> str:
    """The key of hash balancing: the organisation, or the address without sign-in."""
    return call.address if call.principal.kind == "anonymous" else str(call.principal.org_id)
