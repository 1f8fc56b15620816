"""A service's answer on its way to the client: as it comes, or as a whole; compressed if wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sanic.request import Request

from gateway.compression import Gzip, negotiate
from gateway.connection import Connection
from gateway.headers import returned_lines
from gateway.kept_answer import KeptAnswer
from gateway.server import Answer, begin
from shared.errors import MalformedRequest, UpstreamError

Lines = Sequence[tuple[bytes, bytes]]


class Answering:
    """The answer to one request. `more` are lines of the gateway's own."""

    def __init__(self, request: Request, request_id: str, more: Lines) -> None:
        self._request = request
        self._request_id = request_id.encode()
        self._more = more
        self._gzip: Gzip | None = None
        self._answer: Answer

    async def whole(self, kept: KeptAnswer, more: Lines = ()) -> None:
        """Send an answer that is at hand as a whole."""
        body = kept.body
        lines = self._negotiated(kept.status, kept.headers, len(body), more)
        if self._gzip is not None:
            body = await self._gzip.feed(body, last=True)
        answer = begin(self._request, Answer(kept.status, lines, len(body)))
        await answer.send(body, end_stream=True)

    async def first(self, connection: Connection, idle: float) -> bool:
        """Send the head and what has come of the body; whether that was all."""
        old = self._request.version == "1.0"
        if connection.length is None and old:
            raise MalformedRequest("HTTP/1.0 can't carry this answer. Use HTTP/1.1.")
        data = b"" if connection.waiting else await connection.read(idle)
        last, length = connection.exhausted, connection.length
        lines = self._negotiated(connection.status, connection.headers, length, ())
        if self._gzip is not None:
            data = await self._gzip.feed(data, last=last)
            length = len(data) if last else None
        self._answer = begin(self._request, Answer(connection.status, lines, length))
        await self._answer.send(data, last)
        return last

    async def rest(self, connection: Connection, idle: float, patience: float) -> None:
        """Send what comes after `first`. The client has `patience` seconds to take each part."""
        while data := await connection.read(idle):
            if self._gzip is not None:
                data = await self._gzip.feed(data)
                if not data:
                    continue
            try:
                async with asyncio.timeout(patience):
                    await self._answer.send(data)
            except TimeoutError:
                raise MalformedRequest("The client takes nothing of the answer any more.") from None
        end = b"" if self._gzip is None else await self._gzip.feed(b"", last=True)
        await self._answer.send(end, end_stream=True)

    def _negotiated(self, status: int, headers: Lines, length: int | None, more: Lines) -> Lines:
        lines = returned_lines(headers, self._request_id)
        lines += self._more
        lines += more
        accepted = self._request.headers.get("accept-encoding", "")
        if self._request.version == "1.0":
            accepted = ""
        negotiated, compress = negotiate(status, lines, length, accepted)
        if compress:
            self._gzip = Gzip(flushing=length is None)
        return negotiated


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
