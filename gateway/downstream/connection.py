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
from gateway.downstream.request_reader import HIGH_WATER, RequestReader
from gateway.http.answer import Answer
from gateway.http.head import Head, parse_head
from gateway.http.headers import Headers
from gateway.http.request import Client, GatewayRequest
from gateway.http.upgrade import Successor, UpgradedConnection
from gateway.timeouts import StallGuard
from shared.errors import LoomaError, UpstreamTimeout

MAX_REQUESTS: Final = 10_000  # on one connection; its memory can't grow for ever
TASK: Final = "client connection"  # the name of its task
_MAX_DISCARDED: Final = 64 << 20
_CHECK_S: Final = 0.2  # between two checks of the deadlines
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
        self._reader = RequestReader(loop, handler.timeouts)
        self._room: asyncio.Future[None] | None = None
        self._writing_paused = False
        self.write_by = math.inf  # a deadline, by the monotonic clock; the reader has another
        self.successor: Successor | None = None  # what takes over when HTTP has ended here
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
        more = self._served + 1 < MAX_REQUESTS and not self._stopping
        self.keep_alive = head.keep_alive and more
        self._reader.begin(head, self._handler.body_limit)

    # Requests, one after the other.

    async def _serve(self) -> None:
        try:
            while await self._exchange():
                if self._reader.ahead:  # requests sent ahead must not keep others waiting
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
            raw = await self._reader.next_head(first=self._served == 0)
            head = parse_head(raw, self._head)
        except LoomaError as error:
            refusal = error
        if refusal is not None:
            begun = raw or self._reader.beginning(5)
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
        return answered and self.keep_alive and self._reader.body_done

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

    @property
    def body_done(self) -> bool:
        return self._reader.body_done

    def limit_body(self, limit: int) -> None:
        self._reader.limit_body(limit)

    async def read_body(self, stall: float) -> bytes:
        try:
            return await self._reader.read_body(stall)
        finally:
            # While the request comes, its answer isn't late; one that has begun must be taken.
            if self.write_by != math.inf and not self.begun:
                self.write_by = monotonic() + self._handler.patience

    def skip_body(self) -> None:
        if not self._reader.skip_body():
            self.keep_alive = False

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
        reader = self._reader
        reader.answered()
        self.keep_alive = self.keep_alive and reader.body_done and not self._handler.closing
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
        return UpgradedConnection(self.transport, self._reader.leave(), self._writing_paused)

    # The end.

    def _leave(self) -> None:
        """Say that no more is sent, and let the client read the last answer.

        Closing on bytes that were not read would reset the connection and take the answer with it.
        """
        transport = self.transport
        if transport.is_closing():
            return
        self._reader.leave()
        now = monotonic()
        self._lingers_until = now + self._timeouts.idle
        self._reader.read_by = now + self._timeouts.linger
        if not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
            self._reader.resume()
        except OSError:  # reset, and the loop has not told yet
            transport.abort()

    @property
    def due(self) -> float:
        """The next deadline."""
        return min(self._reader.read_by, self.write_by)

    def expire(self, now: float) -> None:
        """End what has passed its deadline."""
        if self._reader.read_by <= now:
            self._reader.read_by = math.inf
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
                self._reader.read_by = now + self._timeouts.linger
            else:
                self.abort()
        elif self._reader.idle:
            self.transport.close()
        else:
            self._reader.late()

    def close_if_idle(self) -> bool:
        """Close the connection; if a request is being read or answered, after that."""
        if self._reader.idle or self._lingers_until:
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
        self.transport.set_write_buffer_limits(low=16_384, high=HIGH_WATER)
        peer = ConnInfo(cast("Any", transport))
        self.secure, self.address = bool(peer.ssl), peer.client_ip
        self._connections.add(self)
        self._reader.connected(self.transport)
        self._task = self._loop.create_task(self._serve(), name=TASK)

    def data_received(self, data: bytes) -> None:
        if self._lingers_until:
            self._discarded += len(data)
            if self._discarded > _MAX_DISCARDED:
                self.abort()
            return
        self._busy_poll.note(self._loop)
        self._reader.take(data)

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
        self._reader.read_by = self.write_by = math.inf
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
            for connection in [one for one in connections if now >= one.due]:
                connection.expire(now)
