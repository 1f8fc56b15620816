"""The body of a client's request: unframed strictly (RFC 9112 §6 and §7), read a part at a time.

A `BodyReader` takes what it can use from the front of a buffer and leaves the rest: that is the
next request. Chunk extensions and trailers are checked, counted and dropped. A `RequestBody` is how
whoever answers a request reads its body, never with more than one part of it in memory.
"""

from __future__ import annotations

import re
from typing import Final, Protocol

from gateway.http.head import FIELDS
from gateway.http.request import Client, GatewayRequest
from shared.errors import HeadersTooLarge, MalformedRequest, PayloadTooLarge

_MAX_SIZE_LINE: Final = 256
_MAX_EXTENSIONS: Final = 1_024  # of one body
_MAX_TRAILERS: Final = 4_096
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_SIZE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*)\r\n"
)
_SIZE_BEGINNING: Final = re.compile(rb"[0-9A-Fa-f]{1,16}(?:;[\t -~\x80-\xff]*)?\r?")
_TRAILERS: Final = re.compile(FIELDS.encode())


class BodyReader(Protocol):
    """`take` until `done`. `limit` is the most that the content may have, in bytes."""

    limit: int
    done: bool

    def take(self, buffer: bytearray) -> bytes:
        """Remove from `buffer` what belongs to the body; the content of that, b'' if none came."""
        ...


class NoBody:
    """The body of a request that has none."""

    def __init__(self) -> None:
        self.limit = 0
        self.done = True

    def take(self, buffer: bytearray) -> bytes:
        del buffer
        return b""


class LengthBody:
    """A body whose length was announced."""

    def __init__(self, length: int, limit: int) -> None:
        self.limit = limit
        self.done = length == 0
        self._length = length
        self._left = length

    def take(self, buffer: bytearray) -> bytes:
        """See BodyReader; raises PayloadTooLarge before anything is taken."""
        if self._length > self.limit:
            raise too_large(self.limit)
        data = bytes(buffer[: self._left])
        del buffer[: self._left]
        self._left -= len(data)
        self.done = self._left == 0
        return data


class ChunkedBody:
    """A body in chunks."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.done = False
        self._announced = 0  # by all chunks so far
        self._left = 0  # of the chunk's data
        self._in_chunk = False  # in its data or before the CRLF after it
        self._in_trailers = False
        self._extensions = 0

    def take(self, buffer: bytearray) -> bytes:
        """See BodyReader; raises MalformedRequest and PayloadTooLarge."""
        parts: list[bytes] = []
        at, before = 0, -1
        while not self.done and at != before:
            before = at
            if self._in_trailers:
                at = self._trailers(buffer, at)
            elif self._in_chunk:
                at = self._data(buffer, at, parts)
            else:
                at = self._size(buffer, at)
        del buffer[:at]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _size(self, buffer: bytearray, at: int) -> int:
        match = _SIZE.match(buffer, at)
        if match is None:
            _refuse_beginning(buffer, at)
            return at
        self._extensions += len(match[2])
        if match.end() - at > _MAX_SIZE_LINE or self._extensions > _MAX_EXTENSIONS:
            raise MalformedRequest("The chunks have too many extensions. Send none.")
        self._left = int(match[1], 16)
        self._announced += self._left
        if self._announced > self.limit:
            raise too_large(self.limit)
        self._in_chunk = self._left > 0
        self._in_trailers = self._left == 0
        return match.end()

    def _data(self, buffer: bytearray, at: int, parts: list[bytes]) -> int:
        if self._left:
            part = bytes(buffer[at : at + self._left])
            if part:
                parts.append(part)
            self._left -= len(part)
            at += len(part)
        if self._left == 0 and at < len(buffer):
            end = buffer[at : at + 2]
            if end == b"\r\n":
                self._in_chunk = False
                return at + 2
            if end != b"\r":
                raise MalformedRequest("A chunk is longer than its size says.")
        return at

    def _trailers(self, buffer: bytearray, at: int) -> int:
        if buffer[at : at + 2] == b"\r\n":
            self.done = True
            return at + 2
        end = buffer.find(b"\r\n\r\n", at)
        if (end if end >= 0 else len(buffer)) - at > _MAX_TRAILERS:
            raise HeadersTooLarge(f"The trailers have more than {_MAX_TRAILERS} bytes.")
        if end < 0:
            return at
        if not _TRAILERS.fullmatch(buffer, at, end + 4):
            raise MalformedRequest("The trailers after the last chunk are not well-formed.")
        self.done = True
        return end + 4


class RequestBody:
    """A body of known `length`, or, if that is None, one that comes in chunks.

    `start` reads the first part; `complete` then tells whether that was all. The limit holds for
    what was announced and for what really comes.
    """

    def __init__(
        self,
        client: Client,
        length: int | None,
        limit: int,
        stall: float,
    ) -> None:
        self._client = client
        self._limit = limit
        self._stall = stall
        self.length = length
        self.first = b""
        self.complete = False

    async def start(self) -> None:
        """Read the first part; PayloadTooLarge before anything is read if the length says so."""
        if self.length is not None and self.length > self._limit:
            raise too_large(self._limit)
        self._client.limit_body(self._limit)
        self.first = await self.read()
        self.complete = self._client.body_done

    async def read(self) -> bytes:
        """The next part, b'' at the end.

        Raises PayloadTooLarge, HeadersTooLarge or MalformedRequest for what is no body, and
        RequestTimeout for a client that stalls.
        """
        return await self._client.read_body(self._stall)


def body_of(request: GatewayRequest, limit: int, stall: float) -> RequestBody | None:
    """None for a request without a body."""
    client = request.client
    if client is None or client.body_done:
        return None
    length = request.headers.get("content-length")
    return RequestBody(client, int(length) if length else None, limit, stall)


async def whole_body(request: GatewayRequest, limit: int, stall: float) -> bytes:
    """All of a request's body, b'' without one; PayloadTooLarge over `limit` bytes."""
    body = body_of(request, limit, stall)
    if body is None:
        return b""
    await body.start()
    parts = [body.first]
    while not body.complete and (part := await body.read()):
        parts.append(part)
    return b"".join(parts)


def too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"The body has more than {limit} bytes, the most that this route takes. Send less at once."
    )


def _refuse_beginning(buffer: bytearray, at: int) -> None:
    """Raise for what can't become the line with a chunk's size any more."""
    if at < len(buffer) and (
        len(buffer) - at > _MAX_SIZE_LINE or not _SIZE_BEGINNING.fullmatch(buffer, at)
    ):
        raise MalformedRequest("The chunks of the body are not well-formed.")
