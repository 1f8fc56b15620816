"""The HTTP server underneath: Sanic's connection handling without its routing.

The only module that knows how Sanic is built. One function gets every request; Sanic's router,
middleware and signals have no part in one (they cost as much as everything else together).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final
from uuid import uuid4

from sanic import Sanic
from sanic import exceptions as sanic_errors
from sanic.config import Config as SanicConfig
from sanic.http import Stage
from sanic.request import Request
from sanic.response import HTTPResponse

from shared.errors import UpstreamTimeout
from shared.service import translate_sanic

Lines = Sequence[tuple[bytes, bytes]]
_HEAD_S: Final = 10
_KEEP_ALIVE_S: Final = 75
_SLACK_S: Final = 90
_DISCARD_BYTES: Final = 64 << 20
_FRAMING: Final = ("content-length", "transfer-encoding", "connection")


class Answer(HTTPResponse):
    """An answer whose headers are sent as they are given; `length` None means chunks."""

    __slots__ = ("_lines",)

    def __init__(self, status: int, lines: Lines, length: int | None = None) -> None:
        super().__init__(None, status)
        self._lines = lines
        if length is not None and status not in (204, 304):
            self.headers["content-length"] = str(length)

    @property
    def processed_headers(self) -> Iterator[tuple[bytes, bytes]]:
        yield from self._lines
        for name in _FRAMING:
            if name in self.headers:
                yield name.encode(), str(self.headers[name]).encode()


class EdgeServer(Sanic[Any, Any]):
    """`handle(request)` answers every request; `fail(request, error)` what is no request."""

    def __init__(
        self,
        handle: Callable[[Request], Awaitable[None]],
        fail: Callable[[Request, Exception], Awaitable[None]],
        *,
        longest_answer: float,
        body_limit: int,
    ) -> None:
        settings: SanicConfig = SanicConfig(env_prefix="LOOMA_SANIC_UNUSED_")
        settings.REQUEST_TIMEOUT = _HEAD_S
        settings.RESPONSE_TIMEOUT = round(longest_answer) + _SLACK_S
        settings.KEEP_ALIVE_TIMEOUT = _KEEP_ALIVE_S
        settings.REQUEST_MAX_SIZE = body_limit
        settings.ACCESS_LOG = False
        settings.MOTD = False
        # It rewrites Sanic's classes for one application; tests run several in a process.
        settings.TOUCHUP = False
        super().__init__(f"gateway-{uuid4().hex[:8]}", config=settings, configure_logging=False)
        self.ctx.handle = handle
        self.ctx.fail = fail
        # Sanic doesn't start without a route; requests never come to it.
        self.add_route(_unreachable, "/unreachable", name="unreachable")

    async def handle_request(self, request: Request) -> None:
        stream: Any = request.stream
        stream.upgrade_websocket = False  # asking for it would switch off Sanic's timeouts
        await self.ctx.handle(request)

    async def handle_exception(
        self, request: Request, exception: BaseException, run_middleware: bool = True
    ) -> None:
        """What failed before there was a request, or in Sanic itself."""
        del run_middleware
        if isinstance(exception, sanic_errors.RequestCancelled) or gone(request):
            return
        if not isinstance(exception, Exception):
            raise exception
        if isinstance(exception, sanic_errors.ServiceUnavailable):  # RESPONSE_TIMEOUT
            exception = UpstreamTimeout("The answer took too long.")
        await self.ctx.fail(request, translate_sanic(exception))

    def dispatch(self, event: str, **arguments: Any) -> Any:
        """Signals of single requests have no listener here; looking for one costs 5 µs each."""
        return _nothing() if event.startswith("http.") else super().dispatch(event, **arguments)


def begun(request: Request) -> bool:
    """Whether the head of an answer has been sent, so that only cutting the connection is left."""
    stream: Any = request.stream
    return stream is None or stream.stage is not Stage.HANDLER


def gone(request: Request) -> bool:
    """Whether the client has closed its connection."""
    transport = request.transport
    return transport is None or transport.is_closing()


def begin(request: Request, answer: Answer) -> Answer:
    """Make `answer` the one to `request`; its first `send` sends the head."""
    stream: Any = request.stream
    stream.respond(answer)
    return answer


def last_on_connection(request: Request) -> None:
    """Close the connection after this answer: where the next request begins can't be known."""
    stream: Any = request.stream
    if stream is not None:
        stream.keep_alive = False


def refuse_body(request: Request) -> None:
    """Announce that the connection ends with this answer, if there is a body nobody will read."""
    stream: Any = request.stream
    if stream is not None and stream.request_body:
        stream.keep_alive = False
        if stream.expecting_continue:  # the client waits for leave to send it
            stream.expecting_continue = False
            stream.request_body = None


async def discard_body(request: Request, seconds: float) -> None:
    """Read what a refused client still sends, for a moment, so that it gets to read the answer.

    Closing on unread bytes would reset the connection and take the answer with it.
    """
    stream: Any = request.stream
    if stream is None or not stream.request_body:
        return
    stream.request_max_size = _DISCARD_BYTES
    try:
        async with asyncio.timeout(seconds):
            while stream.request_body:
                await stream.read()
    except (TimeoutError, sanic_errors.PayloadTooLarge, sanic_errors.BadRequest):
        stream.request_body = None


def scheme_of(request: Request) -> str:
    return "https" if request.conn_info is not None and request.conn_info.ssl else "http"


def address_of(request: Request) -> str:
    """The address of the peer: a client, or the proxy in front."""
    return request.conn_info.client_ip if request.conn_info is not None else ""


async def _unreachable(_request: Request) -> HTTPResponse:
    return HTTPResponse(None, 404)


async def _nothing() -> None:
    return None
