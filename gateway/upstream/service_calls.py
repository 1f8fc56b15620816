"""The gateway's own requests to services: keys, revocations, health, descriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import orjson

from gateway.upstream.connection import Connection
from gateway.upstream.discovery import Discovery
from gateway.upstream.instance import Exchange, Instance
from shared.errors import UpstreamError, UpstreamUnavailable
from shared.security import NO_ORG, InternalTokens, Principal
from shared.telemetry.logs import current_request
from shared.telemetry.spans import outgoing, unsampled
from shared.wire import INTERNAL_TOKEN_HEADER, REQUEST_ID_HEADER

GATEWAY: Final = Principal(NO_ORG, "service:gateway", "service", "service")
_TIMEOUT_S: Final = 3.0
_TRIES: Final = 3
_MAX_BODY: Final = 8 << 20


class WholeBody:
    """A request body that is at hand as a whole."""

    complete = True

    def __init__(self, data: bytes) -> None:
        self.first = data
        self.length: int | None = len(data)

    async def read(self) -> bytes:
        return b""


class ServiceCalls:
    """Small JSON requests as the principal `service:gateway`.

    They name the request on whose behalf they are and are part of its trace. Those of nobody, such
    as checks and polls, are in none.
    """

    def __init__(self, discovery: Discovery, tokens: InternalTokens) -> None:
        self._discovery = discovery
        self._balancer = _LeastBusy()
        self._tokens = tokens

    async def ask(
        self, service: str, method: str, target: str, body: Any = None
    ) -> tuple[int, Any]:
        """Status and decoded JSON of the answer of any instance.

        Raises UpstreamError (unreachable, late, not JSON).
        """
        exchange = self._exchange(service, method, target, body)
        instance, connection = await self._balancer.open(
            service, self._discovery.of(service), exchange
        )
        try:
            return connection.status, _decoded(await _whole(connection.read))
        finally:
            await instance.close(connection)

    async def ask_instance(self, instance: Instance, service: str, target: str) -> tuple[int, Any]:
        """The same from one instance in particular."""
        connection = await instance.open(self._exchange(service, "GET", target, None))
        try:
            return connection.status, _decoded(await _whole(connection.read))
        finally:
            await instance.close(connection)

    def _exchange(self, service: str, method: str, target: str, body: Any) -> Exchange:
        token = self._tokens.mint(GATEWAY, service)
        headers = f"{INTERNAL_TOKEN_HEADER}: {token}\r\naccept: application/json\r\n"
        headers += _on_behalf()
        if body is None:
            return Exchange(method, target, headers, timeout=_TIMEOUT_S)
        headers += "content-type: application/json\r\n"
        return Exchange(method, target, headers, WholeBody(orjson.dumps(body)), _TIMEOUT_S)


def _on_behalf() -> str:
    """Header lines of the request that is worked on, if there is one, and of its trace."""
    request = current_request.get()
    named = "" if request is None else f"{REQUEST_ID_HEADER}: {request.id}\r\n"
    trace = outgoing()
    if not trace and request is not None and request.trace_lines:
        return named + request.trace_lines
    return named + "".join(f"{name}: {value}\r\n" for name, value in (trace or unsampled()).items())


class _LeastBusy:
    """Asks the least busy instance, those that failed just now last; equals take turns."""

    def __init__(self) -> None:
        self._turn = count()

    async def open(
        self, service: str, instances: Sequence[Instance], exchange: Exchange
    ) -> tuple[Instance, Connection]:
        """Send to one instance, to the next (three at most) if it can't be connected to.

        UpstreamUnavailable if there is none that can.
        """
        for instance in self._order(instances)[:_TRIES]:
            try:
                return instance, await instance.open(exchange)
            except UpstreamUnavailable:
                continue
        raise UpstreamUnavailable(
            f"No replica of the service {service!r} can be reached. Try again in a moment."
        )

    def _order(self, instances: Sequence[Instance]) -> Sequence[Instance]:
        if len(instances) < 2:
            return instances
        now = asyncio.get_running_loop().time()
        first = next(self._turn) % len(instances)
        turned = [*instances[first:], *instances[:first]]
        return sorted(turned, key=lambda one: (one.cooling(now), one.in_flight))


async def _whole(read: Any) -> bytes:
    parts: list[bytes] = []
    size = 0
    while data := await read(_TIMEOUT_S):
        size += len(data)
        if size > _MAX_BODY:
            raise UpstreamError("The service sent more than the gateway reads.")
        parts.append(data)
    return b"".join(parts)


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UpstreamError("The service sent an answer that is not JSON.") from error
