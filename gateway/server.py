"""The HTTP server underneath: Sanic's life cycle around our own reading and writing of HTTP.

With `gateway.http1`, the only module that knows how Sanic is built. One function gets every
request; Sanic's parser, router, middleware and signals have no part in one: the first is not strict
enough for an edge, and the others cost as much as everything else together.
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

from gateway.http1 import ClientConnection, client_of, watch
from gateway.http1_answer import Answer
from gateway.site import Site

__all__ = [
    "Answer",
    "EdgeServer",
    "address_of",
    "begin",
    "begun",
    "gone",
    "last_on_connection",
    "scheme_of",
    "skip_body",
]


class EdgeServer(Sanic[Any, Any]):
    """A server of `site`."""

    def __init__(self, site: Site) -> None:
        settings: SanicConfig = SanicConfig(env_prefix="LOOMA_SANIC_UNUSED_")
        settings.MOTD = False
        # It rewrites Sanic's classes for one application; tests run several in a process.
        settings.TOUCHUP = False
        super().__init__(f"gateway-{uuid4().hex[:8]}", config=settings, configure_logging=False)
        self.ctx.site = site
        # Sanic doesn't start without a route; requests never come to it.
        self.add_route(_unreachable, "/unreachable", name="unreachable")
        self.register_listener(_start_watching, "after_server_start")
        self.register_listener(_stop_watching, "after_server_stop")

    async def create_server(self, *arguments: Any, **options: Any) -> AsyncioServer | None:
        """See Sanic; the connections are ours."""
        protocol: Any = partial(ClientConnection, self.ctx.site)  # Sanic only calls it
        server = await super().create_server(*arguments, protocol=protocol, **options)
        assert server is not None
        self.ctx.connections = server.connections
        return server


def begun(request: Request) -> bool:
    """Whether the head of an answer has been sent, so that only cutting the connection is left."""
    connection = client_of(request)
    return connection is None or connection.begun


def gone(request: Request) -> bool:
    """Whether the client has closed its connection."""
    connection = client_of(request)
    return connection is None or connection.is_gone


def begin(request: Request, answer: Answer) -> Answer:
    """Make `answer` the one to `request`; its first `send` sends the head."""
    connection = client_of(request)
    assert connection is not None
    connection.begin(answer)
    return answer


def last_on_connection(request: Request) -> None:
    """Close the connection after this answer: where the next request begins can't be known."""
    connection = client_of(request)
    if connection is not None:
        connection.keep_alive = False


def skip_body(request: Request) -> None:
    """Drop a body that nobody will read; the connection ends if it isn't all there yet."""
    connection = client_of(request)
    if connection is not None:
        connection.skip_body()


def scheme_of(request: Request) -> str:
    return "https" if request.conn_info is not None and request.conn_info.ssl else "http"


def address_of(request: Request) -> str:
    """The address of the peer: a client, or the proxy in front."""
    return request.conn_info.client_ip if request.conn_info is not None else ""


async def _start_watching(app: Sanic[Any, Any]) -> None:
    app.ctx.watching = asyncio.create_task(watch(app.ctx.connections), name="client deadlines")


async def _stop_watching(app: Sanic[Any, Any]) -> None:
    app.ctx.watching.cancel()
    await asyncio.wait({app.ctx.watching})


async def _unreachable(_request: Request) -> HTTPResponse:
    return HTTPResponse(None, 404)
