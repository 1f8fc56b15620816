"""The gateway's own reader and server with nothing behind: every request is answered alike.

`python -m benchmarks.rivals.strict_reader PORT`.
"""

from __future__ import annotations

import sys
from typing import Final

import orjson
import uvloop

from benchmarks.rivals.answer import SMALL
from gateway.downstream.busy_poll import BusyPoll
from gateway.downstream.handler import Handler
from gateway.downstream.server import EdgeServer
from gateway.http.answer import Answer
from gateway.http.body import whole_body
from gateway.http.request import Client, GatewayRequest
from gateway.timeouts import Timeouts
from shared.errors import LoomaError, MalformedRequest, render
from shared.serving.server import listen, serving, wait_for_signal

_BODY_LIMIT: Final = 1 << 20
_PATIENCE_S: Final = 105.0
_LINES: Final = ((b"content-type", b"application/json"),)
_TIMEOUTS: Final = Timeouts()


async def handle(request: GatewayRequest) -> None:
    try:
        await whole_body(request, _BODY_LIMIT, _TIMEOUTS.stall)
    except LoomaError as error:
        await refuse(request, error)
    else:
        assert request.client is not None
        await _answer(request.client, 200, SMALL)


async def refuse(request: GatewayRequest, error: LoomaError) -> None:
    """As the gateway does it, without its log and its meters."""
    status, envelope, _ = render(error, "0" * 36)
    client = request.client
    if client is None or client.is_gone:
        return
    if isinstance(error, MalformedRequest):
        client.keep_alive = False
    client.skip_body()
    await _answer(client, status, orjson.dumps(envelope))


async def _answer(client: Client, status: int, body: bytes) -> None:
    client.begin(Answer(status, _LINES, len(body)))
    await client.send(body, end=True)


async def serve(port: int) -> None:
    never = BusyPoll(0)  # as the other servers
    server = EdgeServer(Handler(handle, refuse, _TIMEOUTS, _BODY_LIMIT, _PATIENCE_S, never))
    with listen("127.0.0.1", port, "PORT") as sock:
        async with serving(server, sock, 1):
            await wait_for_signal()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
