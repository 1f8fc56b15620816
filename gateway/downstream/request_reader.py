"""Reads one client's requests from the bytes of its connection: heads, and bodies part by part.

Each wait for more has a deadline, `read_by`, which whoever watches the connection enforces with
`late`. What is left in the buffer after a request belongs to the next one.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import Final

from gateway.http.body import BodyReader, ChunkedBody, LengthBody, NoBody
from gateway.http.head import MAX_HEAD, Head, check_beginning
from gateway.timeouts import Timeouts
from shared.errors import LoomaError, RequestTimeout

HIGH_WATER: Final = 65_536  # bytes that wait to be read before the client has to
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY: Final = NoBody()


class RequestReader:
    """`next_head`, `begin` the request that it is of, then `read_body` or `skip_body`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._transport: asyncio.Transport  # set by `connected`, before anything else happens
        self._buffer = bytearray()
        self._arrival: asyncio.Future[None] | None = None
        self._paused = False
        self.read_by = math.inf  # a deadline, by the monotonic clock
        self.idle = True  # nothing of a request has come
        self._body: BodyReader = _NO_BODY
        self._expecting = False
        self._received = 0  # bytes of the body
        self._waited = 0.0  # seconds for the body

    def connected(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.read_by = monotonic() + self._timeouts.head

    def take(self, data: bytes) -> None:
        """What has come; the client has to wait while too much of it isn't read."""
        self._buffer += data
        if self._arrival is not None:
            if not self._arrival.done():
                self._arrival.set_result(None)
        elif len(self._buffer) >= HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def late(self) -> None:
        """The deadline has passed: whoever waits is told."""
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_exception(
                RequestTimeout("The request comes too slowly. Send it without pauses.")
            )

    # Heads.

    async def next_head(self, *, first: bool) -> bytes:
        """The bytes of a head, of the connection's `first` request or of another.

        Raises what `check_beginning` raises, and RequestTimeout. The time for the first one runs
        from the connection's beginning.
        """
        buffer = self._buffer
        if not buffer:
            self.idle = True
            if not first:
                self.read_by = monotonic() + self._timeouts.keep_alive
            await self._more()
        self.idle = False
        if not first:
            self.read_by = monotonic() + self._timeouts.head
        end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        seen = 0
        while end < 0:
            check_beginning(buffer, seen)
            seen = len(buffer)
            await self._more()
            end = buffer.find(b"\r\n\r\n", max(0, seen - 3), MAX_HEAD)
        self.read_by = math.inf
        head = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        return head

    @property
    def ahead(self) -> bool:
        """Whether something has come already that was not read."""
        return bool(self._buffer)

    def beginning(self, size: int) -> bytes:
        """The first bytes of what was not read."""
        return bytes(self._buffer[:size])

    def leave(self) -> bytes:
        """What was not read, for whoever goes on from here."""
        left = bytes(self._buffer)
        self._buffer.clear()
        return left

    # The body.

    def begin(self, head: Head, limit: int) -> None:
        """From now on it is the body of this head's request that is read, `limit` bytes at most."""
        self._expecting = head.expects_continue
        self._received = 0
        self._waited = 0.0
        if head.chunked:
            self._body = ChunkedBody(limit)
        elif head.length:
            self._body = LengthBody(head.length, limit)
        else:
            self._body = _NO_BODY

    @property
    def body_done(self) -> bool:
        return self._body.done

    def limit_body(self, limit: int) -> None:
        self._body.limit = limit

    def answered(self) -> None:
        """The answer begins: a client that asked for leave to send its body isn't given it."""
        self._expecting = False

    async def read_body(self, stall: float) -> bytes:
        """The next part, b'' at its end; see Client."""
        body = self._body
        while not body.done:
            data = body.take(self._buffer)
            if data or body.done:
                self._received += len(data)
                return data
            if self._expecting:
                self._expecting = False
                self._transport.write(_CONTINUE)
            await self._more_body(stall)
        return b""

    def skip_body(self) -> bool:
        """Drop what has come of it; whether that was all, so that another request may follow."""
        if self._expecting:  # a client that asked for leave to send its body may never do so
            return False
        if not self._body.done:
            try:
                self._body.take(self._buffer)
            except LoomaError:
                return False
        return self._body.done

    async def _more_body(self, stall: float) -> None:
        """Wait for more, while the client sends fast enough on the average.

        Only the time spent waiting for it counts: it isn't to blame for a slow service.
        """
        started = monotonic()
        timeouts = self._timeouts
        credit = timeouts.grace + self._received / timeouts.rate - self._waited
        self.read_by = started + min(stall, credit)
        try:
            await self._more()
        finally:
            self.read_by = math.inf
            self._waited += monotonic() - started

    async def _more(self) -> None:
        self.resume()
        self._arrival = self._loop.create_future()
        try:
            await self._arrival
        finally:
            self._arrival = None

    def resume(self) -> None:
        """Let the client send, if it had to wait."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
