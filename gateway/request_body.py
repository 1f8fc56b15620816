"""The client's body as it arrives: never more than one part of it in memory."""

from __future__ import annotations

import asyncio
from typing import Any

from sanic import exceptions as sanic_errors
from sanic.request import Request

from shared.errors import MalformedRequest, PayloadTooLarge


class RequestBody:
    """A body of known `length`, or, if that is None, one that comes in chunks.

    `start` reads the first part; `complete` then tells whether that was all. The limit holds for
    what was announced and for what really comes.
    """

    def __init__(self, request: Request, limit: int, stall: float) -> None:
        self._stream: Any = request.stream  # Sanic's union of HTTP versions has no common read()
        self._limit = limit
        self._stall = stall
        length = request.headers.get("content-length")
        self.length = None if length is None else int(length)
        self.first = b""
        self.complete = False

    async def start(self) -> None:
        """Read the first part; PayloadTooLarge before anything is read if the length says so."""
        if self.length is not None and self.length > self._limit:
            raise _too_large(self._limit)
        self._stream.request_max_size = self._limit
        self.first = await self.read()
        self.complete = not self.first or (
            self.length is not None and len(self.first) == self.length
        )
        if self.complete and self.first:
            await self.read()  # the end is read, so that nothing is left for the next request

    async def read(self) -> bytes:
        """The next part, b'' at the end.

        Raises PayloadTooLarge, and MalformedRequest for broken chunks or a client that stalls.
        """
        try:
            async with asyncio.timeout(self._stall):
                return await self._part()
        except sanic_errors.PayloadTooLarge:
            raise _too_large(self._limit) from None
        except sanic_errors.BadRequest:
            raise MalformedRequest("The chunks of the body are not well-formed.") from None
        except TimeoutError:
            raise MalformedRequest(
                f"Nothing of the body came for {self._stall:g} s. Send it without pauses."
            ) from None

    async def _part(self) -> bytes:
        while self._stream.request_body:
            data: bytes | None = await self._stream.read()
            if data:
                return data
        return b""


def body_of(request: Request, limit: int, stall: float) -> RequestBody | None:
    """None for a request without a body."""
    return RequestBody(request, limit, stall) if request.stream and _announced(request) else None


def _announced(request: Request) -> bool:
    headers = request.headers
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body has more than {limit} bytes, the most that this route takes. Send less at once."
    )
