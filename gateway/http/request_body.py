"""The client's body as it arrives: never more than one part of it in memory."""

from __future__ import annotations

from gateway.http.body import too_large
from gateway.http.request import Client, GatewayRequest


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
