"""Sanic's requests and errors, as a service has them: no wait without end, no error but ours."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import uuid4

from sanic import exceptions as sanic_errors
from sanic.handlers import ErrorHandler
from sanic.request import Request
from sanic.response import HTTPResponse

from shared.errors import (
    ExpectationFailed,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    UpstreamTimeout,
    UpstreamUnavailable,
    UriTooLong,
)
from shared.serving.envelope import error_response
from shared.wire import REQUEST_ID_HEADER, canonical_request_id

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class BoundedRequest(Request):
    async def receive_body(self) -> None:
        """Sanic counts the wait for a body to the handler's time; here a pause in it has a limit."""
        stream: Any = self.stream
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


class Errors(ErrorHandler):
    """What fails outside an endpoint: unknown paths, wrong methods, broken HTTP."""

    def response(self, request: Request | None, exception: Exception) -> HTTPResponse:
        request_id = request_id_of(request) if request is not None else str(uuid4())
        if request is not None and isinstance(exception, sanic_errors.MethodNotAllowed):
            exception = _not_allowed(request)
        return error_response(translate_sanic(exception), request_id)


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
