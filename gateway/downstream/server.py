"""The HTTP server: Sanic's life cycle around our own reading and writing of HTTP.

With `connection`, the only module that knows how Sanic is built. One function gets every request;
Sanic's parser, router, middleware and signals have no part in one: the first is not strict enough
for an edge, and the others cost as much as everything else together.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any
from uuid import uuid4

from sanic import Sanic
from sanic.config import Config as SanicConfig
from sanic.request import Request
from sanic.response import HTTPResponse
from sanic.server import AsyncioServer

from gateway.downstream.connection import ClientConnection, watch
from gateway.downstream.handler import Handler


class EdgeServer(Sanic[Any, Any]):
    """A server of `handler`."""

    def __init__(self, handler: Handler) -> None:
        settings: SanicConfig = SanicConfig(env_prefix="LOOMA_SANIC_UNUSED_")
        settings.MOTD = False
        # It rewrites Sanic's classes for one application; tests run several in a process.
        settings.TOUCHUP = False
        super().__init__(f"gateway-{uuid4().hex[:8]}", config=settings, configure_logging=False)
        self.ctx.handler = handler
        # Sanic doesn't start without a route; requests never come to it.
        self.add_route(_unreachable, "/unreachable", name="unreachable")
        self.register_listener(_start_watching, "after_server_start")
        self.register_listener(_stop_watching, "after_server_stop")

    async def create_server(self, *arguments: Any, **options: Any) -> AsyncioServer | None:
        """See Sanic; the connections are ours."""
        protocol: Any = partial(ClientConnection, self.ctx.handler)  # Sanic only calls it
        server = await super().create_server(*arguments, protocol=protocol, **options)
        assert server is not None
        self.ctx.connections = server.connections
        return server


async def _start_watching(app: Sanic[Any, Any]) -> None:
    app.ctx.watching = asyncio.create_task(watch(app.ctx.connections), name="client deadlines")


async def _stop_watching(app: Sanic[Any, Any]) -> None:
    app.ctx.watching.cancel()
    await asyncio.wait({app.ctx.watching})


async def _unreachable(_request: Request) -> HTTPResponse:
    return HTTPResponse(None, 404)
