"""Sends a service's answer to the client: as it comes, or as a whole; compressed if accepted.

The answer to HEAD is that to GET without its body. Its length is told where GET's is known before
the body is there; nothing is compressed to find it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.http.answer import Answer
from gateway.http.compression import Gzip, negotiate
from gateway.http.header_policy import returned
from gateway.http.request import Client, GatewayRequest
from gateway.http.stored_answer import StoredAnswer
from gateway.proxy.delivery import Delivery
from gateway.upstream.attempts import Answered
from gateway.upstream.connection import Connection
from shared.errors import MalformedRequest, UpstreamError

Lines = Sequence[tuple[bytes, bytes]]
_UNWANTED: Final = 65_536  # bytes of a body that are read for nothing, to keep the connection
_UNWANTED_S: Final = 0.05


class Answering(Delivery):
    """Sends the answer to one request.

    Each part must come within `idle` seconds after the one before. `more` are header lines of the
    gateway's own, as they go out.
    """

    def __init__(self, request: GatewayRequest, more: bytes, idle: float) -> None:
        super().__init__()
        self._request = request
        self._more = more
        self._idle = idle
        self._head_only = request.method == "HEAD"
        self._gzip: Gzip | None = None

    async def whole(self, kept: StoredAnswer, more: bytes = b"") -> None:
        """Send an answer that is at hand as a whole."""
        body = kept.body
        lines, block = self._negotiated(kept.status, kept.headers, len(body))
        length: int | None = len(body)
        if self._gzip is not None:
            body = b"" if self._head_only else await self._gzip.feed(body, last=True)
            length = None if self._head_only else len(body)
        client = self._client
        client.begin(Answer(kept.status, lines, length, block + more))
        await client.send(b"" if self._head_only else body, end=True)

    async def first(self, answered: Answered) -> bool:
        """Send the head and what has come of the body; whether that was all."""
        connection = answered.connection
        if connection.length is None and self._request.version == "1.0":
            raise MalformedRequest("HTTP/1.0 can't carry this answer. Use HTTP/1.1.")
        data = connection.at_hand()
        last, length = connection.exhausted, connection.length
        lines, block = self._negotiated(connection.status, connection.headers, length)
        if self._head_only:
            data, length = b"", None if self._gzip is not None else length
        elif self._gzip is not None:
            data = await self._gzip.feed(data, last=last)
            length = len(data) if last else None
        client = self._client
        client.begin(Answer(connection.status, lines, length, block))
        end = last or self._head_only
        if not client.send_now(data, end):
            await client.send(data, end)
        return last

    async def rest(self, answered: Answered) -> None:
        """Send what comes after `first`.

        A client that takes none of it is cut off by its own connection.
        """
        connection = answered.connection
        if self._head_only:
            await _drained(connection)
            return
        client = self._client
        while data := await connection.read(self._idle):
            if self._gzip is not None:
                data = await self._gzip.feed(data)
                if not data:
                    continue
            if not client.send_now(data, end=False):
                await client.send(data, end=False)
        end = b"" if self._gzip is None else await self._gzip.feed(b"", last=True)
        await client.send(end, end=True)

    @property
    def _client(self) -> Client:
        client = self._request.client
        assert client is not None
        return client

    def _negotiated(self, status: int, headers: Lines, length: int | None) -> tuple[Lines, bytes]:
        """The headers of the service that are sent, and the gateway's own beside them."""
        request = self._request
        lines, block = returned(headers, request.id.encode())
        accepted = "" if request.version == "1.0" else request.headers.get("accept-encoding")
        negotiated, compress = negotiate(status, lines, length, accepted)
        if compress:
            self._gzip = Gzip(flushing=length is None)
        return negotiated, block + self._more


async def collected(
    connection: Connection, idle: float, limit: int, request_id: str
) -> StoredAnswer:
    """Read an answer to its end; UpstreamError if it has more than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while data := await connection.read(idle):
        size += len(data)
        if size > limit:
            raise UpstreamError("The service's answer is too large to be kept for its request.")
        parts.append(data)
    return StoredAnswer.of(connection.status, connection.headers, b"".join(parts), request_id)


async def _drained(connection: Connection) -> None:
    """Read the little that is left of a body that nobody wants. A stream ends with its connection."""
    length = connection.length
    try:
        while length is not None and length <= _UNWANTED and not connection.exhausted:
            if not await connection.read(_UNWANTED_S):
                break
    except UpstreamError:
        pass  # the connection ends with it; the client has its answer
