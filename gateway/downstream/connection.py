"""Clients' HTTP/1.1 connections: read strictly, answered in order, with a deadline for every wait.

One task per connection reads a request, has it answered and goes on to the next, so that answers
come in order. Waiting for a client always has an end: `watch` checks the deadlines of all
connections a few times a second, which costs a request nothing but setting one.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import Any, Final, cast

import structlog
from sanic.models.server_types import ConnInfo

from gateway.downstream.handler import Handler
from gateway.http.answer import Answer
from gateway.http.body import BodyReader, ChunkedBody, LengthBody, NoBody
from gateway.http.head import MAX_HEAD, Head, check_beginning, parse_head
from gateway.http.headers import Headers
from gateway.http.request import Client, GatewayRequest
from gateway.http.upgrade import Successor, UpgradedConnection
from gateway.timeouts import StallGuard
from shared.errors import LoomaError, RequestTimeout, UpstreamTimeout

MAX_REQUESTS: Final = 10_000  # on one connection; its memory can't grow for ever
TASK: Final = "client connection"  # the name of its task
_HIGH_WATER: Final = 65_536
_MAX_DISCARDED: Final = 64 << 20
_CHECK_S: Final = 0.2  # between two checks of the deadlines
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_BODY: Final = NoBody()
_NO_HEAD: Final = Head("NONE", "*", "1", Headers([]))
# What could not be read, but asks for no body: whatever it is answered has none.
_NO_HEAD_OF_HEAD: Final = Head("HEAD", "*", "1", Headers([]))
_NO_REFUSAL: Final[LoomaError | None] = None
log = structlog.get_logger()


class ClientGone(asyncio.CancelledError):
    """The client has closed its connection: whatever is done for it ends."""


class ClientConnection(Client):
    """One client's connection. Sanic gives `connections` and asks for `close_if_idle` and `abort`.

    It is an asyncio.Protocol by its methods; deriving from that class would cost it its compiled
    form.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        loop: asyncio.AbstractEventLoop,
        connections: set[ClientConnection],
        **_unused: Any,
    ) -> None:
        self._handler = handler
        self._timeouts = handler.timeouts
        self._busy_poll = handler.busy_poll
        self._loop = loop
        self._connections = connections
        self.transport: asyncio.Transport  # set by connection_made, before anything else happens
        self.secure = False
        self.address = ""
        self._task: asyncio.Task[None] | None = None
        self._buffer = bytearray()
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._reading_paused = False
        self._writing_paused = False
        self.read_by = math.inf  # deadlines, by the monotonic clock
        self.write_by = math.inf
        self.successor: Successor | None = None  # what takes over when HTTP has ended here
        self._idle = True
        self._late = False
        self._stopping = False
        self._lingers_until = 0.0
        self._discarded = 0
        self._served = 0
        self._head = _NO_HEAD
        self._begin(_NO_HEAD)

    def _begin(self, head: Head) -> None:
        self._head = head
        self._answer: Answer | None = None
        self._expecting = head.expects_continue
        more = self._served + 1 < MAX_REQUESTS and not self._stopping
        self.keep_alive = head.keep_alive and more
        self._body: BodyReader = _NO_BODY
        self._received = 0  # bytes of the body
        self._waited = 0.0  # seconds for the body
        if head.chunked:
            self._body = ChunkedBody(self._handler.body_limit)
        elif head.length:
            self._body = LengthBody(head.length, self._handler.body_limit)

    # Requests, one after the other.

    async def _serve(self) -> None:
        try:
            while await self._exchange():
                if self._buffer:  # requests sent ahead must not keep others waiting
                    await asyncio.sleep(0)
            if self.successor is not None:
                await self.successor.run()
        except asyncio.CancelledError:
            pass  # the client has gone, or the server stops
        except Exception:
            log.exception("a connection failed")
        finally:
            self._task = None
            if self.successor is not None:
                self._connections.discard(self)
            self._leave()

    async def _exchange(self) -> bool:
        """Read and answer one request; whether another one may follow."""
        head, refusal, raw = _NO_HEAD, _NO_REFUSAL, b""
        try:
            raw = await self._next_head()
            head = parse_head(raw, self._head)
        except LoomaError as error:
            refusal = error
        if refusal is not None:
            begun = raw or bytes(self._buffer[:5])
            unread = _NO_HEAD_OF_HEAD if begun.startswith(b"HEAD ") else _NO_HEAD
            self._begin(unread)
            await self._handler.refuse(self._request(unread), refusal)
            return False
        self._begin(head)
        request = self._request(head)
        self.write_by = monotonic() + self._handler.patience
        cancelled = False
        try:
            await self._handler.handle(request)
        except LoomaError:  # told already; the answer had begun and stays unfinished
            if self._writing_paused:  # by a client that takes nothing of it
                self.abort()
            return False
        except asyncio.CancelledError:
            cancelled = True
        finally:
            request.client = None
            self.write_by = math.inf
        if cancelled:
            await self._give_up(request)
            return False
        self._served += 1
        answered = self._answer is not None and self._answer.ended
        return answered and self.keep_alive and self._body.done

    def _request(self, head: Head) -> GatewayRequest:
        version = "1.1" if head.minor == "1" else "1.0"
        return GatewayRequest(head.method, head.target.encode("ascii"), version, head.headers, self)

    async def _give_up(self, request: GatewayRequest) -> None:
        """Answer 504 if it was not the client who ended the request."""
        task = asyncio.current_task()
        if not self._late or task is None or self.transport.is_closing():
            raise ClientGone
        task.uncancel()
        self.keep_alive = False
        request.client = self
        await self._handler.refuse(request, UpstreamTimeout("The answer took too long."))

    # Reading.

    async def _next_head(self) -> bytes:
        """The bytes of a head; raises what `check_beginning` raises, and RequestTimeout."""
        buffer = self._buffer
        if not buffer:
            self._idle = True
            if self._served:
                self.read_by = monotonic() + self._timeouts.keep_alive
            await self._more()
        self._idle = False
        if self._served:
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
    def body_done(self) -> bool:
        return self._body.done

    def limit_body(self, limit: int) -> None:
        self._body.limit = limit

    async def read_body(self, stall: float) -> bytes:
        body = self._body
        while not body.done:
            data = body.take(self._buffer)
            if data or body.done:
                self._received += len(data)
                return data
            if self._expecting:
                self._expecting = False
                self.transport.write(_CONTINUE)
            await self._more_body(stall)
        return b""

    def skip_body(self) -> None:
        # A client that asked for leave to send its body may never do so.
        if self._expecting:
            self.keep_alive = False
        elif not self._body.done:
            try:
                self._body.take(self._buffer)
            except LoomaError:
                self.keep_alive = False
            self.keep_alive = self.keep_alive and self._body.done

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
            now = monotonic()
            self._waited += now - started
            if self.write_by != math.inf:
                self.write_by = now + self._handler.patience

    async def _more(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self.transport.resume_reading()
        self._arrival = self._loop.create_future()
        try:
            await self._arrival
        finally:
            self._arrival = None

    # Answering.

    @property
    def is_gone(self) -> bool:
        return self.transport.is_closing()

    def begin(self, answer: Answer) -> None:
        self._answer = answer

    @property
    def begun(self) -> bool:
        return self._answer is not None and self._answer.begun

    def send_now(self, data: bytes, end: bool) -> bool:
        if self._writing_paused:
            return False
        self._write(self._framed(data, end))
        return True

    async def send(self, data: bytes, end: bool) -> None:
        out = self._framed(data, end)
        if self._writing_paused:
            await self._taken()
        self._write(out)

    def _framed(self, data: bytes, end: bool) -> bytes:
        answer = self._answer
        assert answer is not None
        if answer.begun:
            return answer.part(data, end)
        self._expecting = False
        self.keep_alive = self.keep_alive and self._body.done and not self._handler.closing
        self.write_by = math.inf
        head = self._head
        return answer.beginning(
            data,
            end,
            keep_alive=self.keep_alive,
            persistent=head.minor == "1",
            head_only=head.method == "HEAD",
        )

    def _write(self, out: bytes) -> None:
        if self.transport.is_closing():
            raise ClientGone
        if out:
            self.transport.write(out)
            self._busy_poll.note(self._loop)

    async def _taken(self) -> None:
        self.write_by = monotonic() + self._timeouts.idle
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None
            self.write_by = math.inf

    def hand_over(self, answer: bytes) -> UpgradedConnection:
        """Send the head of an answer 101, HTTP's last word here; then set `successor`.

        Raises ClientGone.
        """
        if self.transport.is_closing():
            raise ClientGone
        self.transport.write(answer)
        received = bytes(self._buffer)
        self._buffer.clear()
        return UpgradedConnection(self.transport, received, self._writing_paused)

    # The end.

    def _leave(self) -> None:
        """Say that no more is sent, and let the client read the last answer.

        Closing on bytes that were not read would reset the connection and take the answer with it.
        """
        transport = self.transport
        if transport.is_closing():
            return
        self._buffer.clear()
        now = monotonic()
        self._lingers_until = now + self._timeouts.idle
        self.read_by = now + self._timeouts.linger
        if transport.can_write_eof():
            transport.write_eof()
            if self._reading_paused:
                transport.resume_reading()
        else:
            transport.close()

    def expire(self, now: float) -> None:
        """End what has passed its deadline."""
        if self.read_by <= now:
            self.read_by = math.inf
            self._read_too_late(now)
        if self.write_by <= now:
            self.write_by = math.inf
            if self._task is None or self.begun:
                self.abort()
            else:
                self._late = True
                self._task.cancel()

    def _read_too_late(self, now: float) -> None:
        if self._lingers_until:
            # The rest of a large answer may still be on its way to a slow client.
            if now < self._lingers_until and self.transport.get_write_buffer_size():
                self.read_by = now + self._timeouts.linger
            else:
                self.abort()
        elif self._idle:
            self.transport.close()
        elif self._arrival is not None and not self._arrival.done():
            self._arrival.set_exception(
                RequestTimeout("The request comes too slowly. Send it without pauses.")
            )

    def close_if_idle(self) -> bool:
        """Close the connection; if a request is being read or answered, after that."""
        if self._idle or self._lingers_until:
            self.transport.close()
            return True
        self._stopping = True
        self.keep_alive = False
        if self.successor is not None:
            self.successor.stop()
        return False

    def abort(self) -> None:
        self.transport.abort()

    # asyncio's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(low=16_384, high=_HIGH_WATER)
        peer = ConnInfo(cast("Any", transport))
        self.secure, self.address = bool(peer.ssl), peer.client_ip
        self._connections.add(self)
        self.read_by = monotonic() + self._timeouts.head
        self._task = self._loop.create_task(self._serve(), name=TASK)

    def data_received(self, data: bytes) -> None:
        if self._lingers_until:
            self._discarded += len(data)
            if self._discarded > _MAX_DISCARDED:
                self.abort()
            return
        self._busy_poll.note(self._loop)
        self._buffer += data
        if self._arrival is not None:
            if not self._arrival.done():
                self._arrival.set_result(None)
        elif len(self._buffer) >= _HIGH_WATER and not self._reading_paused:
            self._reading_paused = True
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """Let the transport close: a client that closes its half is gone."""

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._connections.discard(self)
        self.read_by = self.write_by = math.inf
        if self._task is not None:
            self._task.cancel()


async def watch(connections: set[ClientConnection]) -> None:
    """End what is late on any of these connections, for ever."""
    stalls = StallGuard()
    while True:
        due = monotonic() + _CHECK_S
        await asyncio.sleep(_CHECK_S)
        now = monotonic()
        if stalls.counts(now - due):
            for connection in [one for one in connections if now >= min(one.read_by, one.write_by)]:
                connection.expire(now)
