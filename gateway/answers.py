"""A service's answer on its way to the client: as it comes, or as a whole; compressed if wanted."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.compression import Gzip, negotiate
from gateway.connection import Connection
from gateway.headers import returned
from gateway.http1_answer import Answer
from gateway.kept_answer import KeptAnswer
from gateway.request import Client, GatewayRequest
from shared.errors import MalformedRequest, UpstreamError

Lines = Sequence[tuple[bytes, bytes]]


class Answering:
    """The answer to one request. `more` are header lines of the gateway's own, as they go out."""

    def __init__(self, request: GatewayRequest, more: bytes) -> None:
        self._request = request
        self._more = more
        self._gzip: Gzip | None = None

    async def whole(self, kept: KeptAnswer, more: bytes = b"") -> None:
        """Send an answer that is at hand as a whole."""
        body = kept.body
        lines, block = self._negotiated(kept.status, kept.headers, len(body))
        if self._gzip is not None:
            body = await self._gzip.feed(body, last=True)
        client = self._client
        client.begin(Answer(kept.status, lines, len(body), block + more))
        await client.send(body, end=True)

    async def first(self, connection: Connection) -> bool:
        """Send the head and what has come of the body; whether that was all."""
        if connection.length is None and self._request.version == "1.0":
            raise MalformedRequest("HTTP/1.0 can't carry this answer. Use HTTP/1.1.")
        data = connection.at_hand()
        last, length = connection.exhausted, connection.length
        lines, block = self._negotiated(connection.status, connection.headers, length)
        if self._gzip is not None:
            data = await self._gzip.feed(data, last=last)
            length = len(data) if last else None
        client = self._client
        client.begin(Answer(connection.status, lines, length, block))
        if not client.send_now(data, last):
            await client.send(data, last)
        return last

    async def rest(self, connection: Connection, idle: float) -> None:
        """Send what comes after `first`, each part within `idle` seconds after the one before.

        A client that takes none of it is cut off by its own connection.
        """
        client = self._client
        while data := await connection.read(idle):
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


async def collected(connection: Connection, idle: float, limit: int) -> KeptAnswer:
    """All of an answer; UpstreamError if it has more than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    while data := await connection.read(idle):
        size += len(data)
        if size > limit:
            raise UpstreamError("The service's answer is too large to be kept for its request.")
        parts.append(data)
    return KeptAnswer.of(connection.status, connection.headers, b"".join(parts))
