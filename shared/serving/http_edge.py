"""Sanic's requests and errors, as a service has them: no wait without end, no error but ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any, Final, cast
from uuid import uuid4

import structlog
from sanic import Sanic
from sanic import exceptions as sanic_errors
from sanic.handlers import ErrorHandler
from sanic.request import Request
from sanic.response import HTTPResponse

from shared.errors import (
    ExpectationFailed,
    LoomaError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    UpstreamTimeout,
    UpstreamUnavailable,
    UriTooLong,
)
from shared.media_type import require_media
from shared.serving.envelope import error_response
from shared.wire import REQUEST_ID_HEADER, canonical_request_id

log = structlog.get_logger()
_UPLOAD_S: Final = 1800.0  # from the first byte of a file to its last
_PAUSES: Final = 4  # so long may what nobody wants take to come
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class BoundedRequest(Request):
    async def receive_body(self) -> None:
        """Sanic counts the wait for a body to the handler's time; here a pause in it has a limit."""
        stream: Any = self.stream
        if _has_come(stream):
            self.body = await stream.read()
            await stream.read()  # what ends it
            return
        pause, now = self.app.config.REQUEST_TIMEOUT, asyncio.get_running_loop().time
        parts = []
        try:
            async with asyncio.timeout(pause) as limit:
                async for part in stream:
                    parts.append(part)
                    limit.reschedule(now() + pause)
        except TimeoutError:
            stream.keep_alive, stream.request_body = False, None  # what is to come isn't read
            raise sanic_errors.RequestTimeout from None
        self.body = b"".join(parts)


def _has_come(stream: Any) -> bool:
    """Whether all of a body of known length is there, so that reading it waits for nothing."""
    left = stream.request_bytes_left
    return (
        left > 0
        and stream.request_body is True
        and not stream.expecting_continue
        and len(stream.recv_buffer) >= left
    )


class Application(Sanic[Any, Any]):
    """Sanic tells of each step of a request, ten times, and finds out each time that nobody listens.

    No service listens to requests: those signals end here. Those of a server's life go on.
    """

    def dispatch(self, event: str | Enum, **more: Any) -> Any:
        if isinstance(event, str) and event.startswith("http."):
            return _HEARD
        return super().dispatch(event, **more)  # type: ignore[arg-type]  # as it was called


class _Heard:
    """Can be awaited any number of times, and never waits."""

    def __await__(self) -> Iterator[None]:
        return iter(())


_HEARD: Final = _Heard()


class Upload:
    """A body that its handler reads part by part: a file, which memory needn't hold.

    Iterate once over its parts: PayloadTooLarge, RequestTimeout or MalformedRequest end that.

    `media` and `charset` are what it calls itself, '' where it doesn't.
    """

    def __init__(self, request: Request, takes: Sequence[str], limit: int) -> None:
        """UnsupportedMediaType by its headers, PayloadTooLarge by the length that they announce."""
        headers = request.headers
        self.media, self.charset = require_media(
            headers.getall("content-type", []), headers.getall("content-encoding", []), takes
        )
        self._stream = cast("Any", request.stream)
        self._pause = request.app.config.REQUEST_TIMEOUT
        self._limit = limit
        self._whole: Callable[[], None] = lambda: None
        if (self._stream.request_bytes or 0) > limit:
            raise self._too_large()

    def when_whole(self, then: Callable[[], None]) -> None:
        """Have `then` called once all of it has come."""
        self._whole = then

    async def __aiter__(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        ends, size = loop.time() + _UPLOAD_S, 0
        parts = aiter(self._stream)
        while (part := await self._next(parts, ends - loop.time())) is not None:
            size += len(part)
            if size > self._limit:
                raise self._too_large()
            yield part
        self._whole()

    async def _next(self, parts: AsyncIterator[bytes], left: float) -> bytes | None:
        try:
            async with asyncio.timeout(min(left, self._pause)):
                return await anext(parts, None)
        except TimeoutError:
            self._stream.keep_alive, self._stream.request_body = False, None  # the rest isn't read
            raise RequestTimeout(
                "The body came too slowly. Send it again, without pauses, or in smaller parts."
            ) from None
        except Exception as error:
            known = translate_sanic(error)
            if known is error:
                raise
            raise known from error

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"The body has more than {self._limit} bytes, the most that this route takes. "
            "Send less at once."
        )


async def answer_early(request: Request, response: HTTPResponse, limit: int) -> None:
    """Answer while a body may still come, and let go of its rest, twice `limit` and `_PAUSES` pauses
    long at most; none of it is kept.

    Whoever closed the connection on a sender would keep it from reading the answer.
    """
    stream = cast("Any", request.stream)
    sent = await request.respond(response)
    await cast("HTTPResponse", sent).send(end_stream=True)
    size, parts, pause = 0, aiter(stream), request.app.config.REQUEST_TIMEOUT
    with suppress(TimeoutError, sanic_errors.SanicException):
        async with asyncio.timeout(_PAUSES * pause):
            while size <= 2 * limit:
                async with asyncio.timeout(pause):
                    part = await anext(parts, None)
                if part is None:
                    return
                size += len(part)
    stream.keep_alive, stream.request_body = False, None


class Errors(ErrorHandler):
    """What fails outside an endpoint: unknown paths, wrong methods, broken HTTP."""

    def response(self, request: Request | None, exception: Exception) -> HTTPResponse:
        request_id = request_id_of(request) if request is not None else str(uuid4())
        if request is not None and isinstance(exception, sanic_errors.MethodNotAllowed):
            exception = _not_allowed(request)
        error = translate_sanic(exception)
        if isinstance(error, LoomaError) and error.status >= 500:  # no endpoint, no line of its own
            log.warning(
                "request failed", error=error.name, reason=error.message, request_id=request_id
            )
        return error_response(error, request_id)


def translate_sanic(error: BaseException) -> BaseException:
    """Sanic's own exceptions as ours; anything else unchanged."""
    match error:
        case sanic_errors.NotFound():
            return NotFound("There is no such path. GET /openapi.json lists those there are.")
        case sanic_errors.MethodNotAllowed():
            return MethodNotAllowed("This path doesn't take that method.")
        case sanic_errors.PayloadTooLarge():
            return PayloadTooLarge("The body is too large. Send less per request.")
        case sanic_errors.RequestTimeout():
            return RequestTimeout("The request came too slowly. Send it again, without pauses.")
        case sanic_errors.ServiceUnavailable():  # what Sanic raises for its RESPONSE_TIMEOUT
            return UpstreamTimeout("The answer took too long. Try again later, or ask for less.")
        case sanic_errors.URITooLong():
            return UriTooLong("The path and query are too long. Ask for less at once.")
        case sanic_errors.ExpectationFailed():
            return ExpectationFailed("Only Expect: 100-continue is understood. Leave Expect out.")
        case asyncio.CancelledError():
            return UpstreamUnavailable("The service ended this request. Try again in a moment.")
        case sanic_errors.SanicException() if 400 <= error.status_code < 500:
            return MalformedRequest("The request is not well-formed HTTP.")
        case _:
            return error


def _not_allowed(request: Request) -> MethodNotAllowed:
    """Sanic doesn't know which methods a path takes whose routes have one each."""
    allowed = []
    for method in _METHODS:
        with suppress(sanic_errors.NotFound, sanic_errors.MethodNotAllowed):
            request.app.router.get(request.path, method, request.headers.get("host"))
            allowed.append(method)
    return MethodNotAllowed("This path doesn't take that method.", allowed=allowed)


def request_id_of(request: Request) -> str:
    """The client's X-Request-Id if it is a UUID, else a new one; the same for the whole request."""
    known = getattr(request.ctx, "request_id", None)
    if known is not None:
        return str(known)
    given = request.headers.get(REQUEST_ID_HEADER)
    # Most requests bring none: an exception for each of them would cost more than the id.
    named = None if given is None else canonical_request_id(given)
    request_id = str(uuid4()) if named is None else named
    request.ctx.request_id = request_id
    return request_id
