"""Opens WebSockets: from a client's handshake to a tunnel, as Proxy.relay does for answers.

Whatever the service answers but a right 101 goes to the client as an ordinary answer, and its
connection ends with it: what a client sent behind its handshake is never read as a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

import structlog

from gateway.auth.identity import Identity
from gateway.downstream.connection import ClientConnection
from gateway.http.cors import Cors
from gateway.http.headers import Headers
from gateway.http.request import GatewayRequest
from gateway.proxy.proxy import Admitted, Proxy
from gateway.telemetry.metrics import Meters
from gateway.timeouts import Timeouts
from gateway.upstream.attempts import Answered
from gateway.websocket.handshake import Handshake, read_handshake, same_host
from gateway.websocket.tunnel import Tunnel
from shared.errors import Forbidden, Unauthenticated, UpgradeRequired, UpstreamError
from shared.security import PUBLIC
from shared.wire import REQUEST_ID_HEADER

_CREDENTIALS: Final = ("authorization", "x-api-key")
log = structlog.get_logger()


class WebSocketRelay:
    """`read` a handshake before its caller is known, `open` the socket of an admitted request."""

    def __init__(
        self, proxy: Proxy, identity: Identity, cors: Cors, meters: Meters, timeouts: Timeouts
    ) -> None:
        self._proxy = proxy
        self._identity = identity
        self._cors = cors
        self._meters = meters
        self._timeouts = timeouts

    def read(self, request: GatewayRequest) -> Handshake:
        """The request's handshake; its headers take the place of the request's.

        Raises UpgradeRequired, MalformedRequest, or Forbidden for a page of another origin.
        """
        headers, client = request.headers, request.client
        if "upgrade" in headers and client is not None:
            # A proxy in front may take the connection for a WebSocket's from now on, whatever is
            # answered: nothing behind this is read as a request.
            client.keep_alive = False
        handshake = read_handshake(headers, request.version, request.method)
        if not all(self._is_at_home(one, headers["host"]) for one in headers.getall("origin")):
            raise Forbidden("Pages of this origin may not open WebSockets here. See CORS_ORIGINS.")
        request.headers = handshake.headers
        return handshake

    async def open(self, call: Admitted, handshake: Handshake) -> int:
        """The status: 101, with the tunnel ready to run when the request is over, or a refusal's.

        Failures are raised before anything is sent to the client.
        """
        client = call.request.client
        if not isinstance(client, ClientConnection):
            raise UpgradeRequired("An item of a batch can't become a WebSocket.")
        handing = await self._proxy.upgrade(call, handshake.request_lines())
        answered, slot = handing.answered, handing.slot
        if answered is None or slot is None:
            return handing.status
        async with AsyncExitStack() as held:
            held.enter_context(slot)
            held.push_async_callback(answered.close)
            answer = _checked(call, answered, handshake)
            count = self._meters.websockets.labels(call.plan.route.service)
            count.inc()
            held.callback(count.dec)
            client.successor = Tunnel(
                client.hand_over(answer),
                answered.connection.hand_over(),
                self._stays(call),
                self._timeouts,
                held.pop_all(),
            )
        return handing.status

    def _is_at_home(self, origin: str, host: str) -> bool:
        return self._cors.allows(origin) if self._cors.enabled else same_host(origin, host)

    def _stays(self, call: Admitted) -> Callable[[], Awaitable[bool]]:
        """A question for the tunnel: whether the same credential would still be let in."""
        scope, request_id, headers = call.plan.route.scope, call.request.id, call.request.headers
        identity = self._identity
        credential = Headers([(name, headers[name]) for name in _CREDENTIALS if name in headers])

        async def stays() -> bool:
            if scope == PUBLIC:
                return True
            try:
                caller = await identity.caller(credential)
                caller.require(scope)
            except (Unauthenticated, Forbidden) as error:
                log.info("websocket ended", reason=error.message, request_id=request_id)
                return False
            except UpstreamError:
                pass  # nobody can tell now: an outage must not end what was good
            return True

        return stays


def _checked(call: Admitted, answered: Answered, handshake: Handshake) -> bytes:
    """The client's 101 for the service's; UpstreamError if that one is wrong."""
    more = b"%b%b: %b\r\n" % (call.more, REQUEST_ID_HEADER.encode(), call.request.id.encode())
    try:
        return handshake.answer(answered.connection.headers, more)
    except UpstreamError:
        call.plan.pool.broke_off(answered.member)
        raise
