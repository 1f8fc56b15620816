"""The end of a client's connection, at bad moments."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from gateway.downstream.busy_poll import BusyPoll
from gateway.downstream.connection import ClientConnection
from gateway.downstream.handler import Handler
from gateway.http.request import GatewayRequest
from gateway.timeouts import Timeouts
from shared.errors import LoomaError
from tests.gateway.wire import until

RESETTING = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


async def test_a_reset_that_the_loop_has_not_told_yet_is_an_end_like_any_other() -> None:
    loop = asyncio.get_running_loop()
    failed: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: failed.append(context))
    handled = 0

    async def reset(request: GatewayRequest) -> None:
        nonlocal handled
        client.close()
        handled += 1

    async def refuse(request: GatewayRequest, error: LoomaError) -> None:
        raise AssertionError((request.target, error))

    connections: set[ClientConnection] = set()
    handler = Handler(reset, refuse, Timeouts(), 1 << 20, 60.0, BusyPoll(0.0))

    def connection() -> Any:
        return ClientConnection(handler, loop=loop, connections=connections)

    server = await loop.create_server(connection, "127.0.0.1", 0)
    client = socket.create_connection(server.sockets[0].getsockname())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETTING)
    client.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")

    async def over() -> bool:
        return handled == 1 and not connections

    await until(over, 1.0)
    server.close()
    await server.wait_closed()
    assert failed == []
