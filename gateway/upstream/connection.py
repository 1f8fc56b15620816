"""One keep-alive HTTP/1.1 connection to a service, one exchange at a time.

Parsing is llhttp's (httptools) with all its leniencies off: duplicate or contradictory framing,
blanks before colons, bare line feeds and malformed chunks end the connection. Both directions
have back pressure: reading pauses while more than 64 KiB wait to be taken, writing while the
kernel takes no more.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import Final, Protocol, cast

import httptools

from gateway.http.upgrade import UpgradedConnection
from gateway.timeouts import StallGuard, within
from shared.errors import UpstreamError, UpstreamTimeout

_HEAD_LIMIT: Final = 65_536
_HIGH_WATER: Final = 65_536
_SOON_S: Final = 0.001
_VERSIONS: Final = frozenset({"1.1", "1.0"})


class BodySource(Protocol):
    """A request's body: its first part is at hand, the others are read."""

    @property
    def length(self) -> int | None: ...
    @property
    def first(self) -> bytes: ...
    @property
    def complete(self) -> bool: ...
    async def read(self) -> bytes: ...


class Connection:
    """`exchange`, then `read` until b'', then `finish`. An error ends the connection.

    It is an asyncio.Protocol by its methods; deriving from that class would cost it its compiled
    form.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._socket: asyncio.Transport  # set by connection_made, before anything else happens
        self._parser = httptools.HttpResponseParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiter: asyncio.Future[None] | None = None
        # One timer follows the deadlines of all exchanges, as few of them are ever reached.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._due = math.inf  # by the monotonic clock
        self._stalls = StallGuard()
        self._upload: asyncio.Task[None] | None = None
        self._chunks: list[bytes] = []
        self._busy = False
        self._paused = False
        self.upgrading = False  # the request asks to leave HTTP
        self.closed = False
        self._hung_up = False
        self.idle_since = 0.0
        self._chunked = False
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []  # names in lower case
        self.length: int | None = None
        self._chunked = False
        self._head_done = False
        self._done = False
        self._keep_alive = False
        self._head_size = 0
        self._buffered = 0
        self._sent = False
        self._failure: BaseException | None = None
        self._chunks.clear()

    # The exchange.

    async def exchange(
        self, head: str, body: BodySource | None, timeout: float, idle: float
    ) -> None:
        """Send a request and wait for the head of its answer: `status`, `headers`, `length`.

        `head` is the request line and header lines without those that frame the body. The timeout
        runs from the moment when all of the body is sent; until then the service must take some of
        it every `idle` seconds. Raises UpstreamError, UpstreamTimeout, or whatever reading the
        body raised.
        """
        self._begin()
        self._busy = True
        if body is None:
            self._write(head.encode("utf-8", "surrogateescape") + b"\r\n")
            self._all_sent(timeout)
        else:
            framing = (
                "transfer-encoding: chunked\r\n\r\n"
                if body.length is None and not body.complete
                else f"content-length: {len(body.first) if body.complete else body.length}\r\n\r\n"
            )
            encoded = (head + framing).encode("utf-8", "surrogateescape")
            if body.complete:
                self._write(encoded + body.first)
                self._all_sent(timeout)
            else:
                self._write(encoded)
                self._upload = self._loop.create_task(self._send(body, timeout, idle))
        while not self._head_done and self._failure is None:
            waiter = self._waiter = self._loop.create_future()
            try:
                await waiter
            finally:
                self._waiter = None
        if self._failure is not None:
            raise self._failure
        self._due = math.inf

    def at_hand(self) -> bytes:
        """What has come of the body and was not read yet."""
        if not self._chunks:
            return b""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and not self.closed:
            self._paused = False
            self._socket.resume_reading()
        return data

    async def read(self, idle: float) -> bytes:
        """What has come of the body, b'' at its end; UpstreamError if it ends too early.

        Waits at most `idle` seconds for the next part.
        """
        while not self._chunks:
            if self._done:
                return b""
            if self._failure is not None:
                raise self._failure
            self._deadline(idle)
            await self._wait()
        self._due = math.inf
        return self.at_hand()

    @property
    def waiting(self) -> bool:
        """Whether `read` would have to wait."""
        return not self._chunks and not self._done and self._failure is None

    @property
    def exhausted(self) -> bool:
        """Whether all of the answer has been read."""
        return self._done and not self._chunks

    @property
    def silent(self) -> bool:
        """Whether the peer closed the connection without a byte of an answer."""
        return self._hung_up and self._head_size == 0

    @property
    def sending(self) -> bool:
        """Whether the request's body may still be read: `stop_sending` before `finish`."""
        return self._upload is not None

    async def stop_sending(self) -> None:
        """Once this returns, the source of the body isn't read any more."""
        upload = self._upload
        if upload is not None:
            if not upload.done():
                upload.cancel()
            await asyncio.gather(upload, return_exceptions=True)
            self._upload = None

    def finish(self) -> bool:
        """End the exchange; whether the connection may carry another one."""
        self._due = math.inf
        self._busy = False
        # What was not read must not become the beginning of the next answer.
        whole = self._done and not self._chunks and self._sent and not self._paused
        if whole and self._keep_alive and not self.closed:
            self.idle_since = monotonic()
            return True
        self.abort()
        return False

    def abort(self) -> None:
        self.closed = True
        self._stop_timer()
        self._socket.abort()

    def hand_over(self) -> UpgradedConnection:
        """The connection itself, after an answer of 101: what comes on it is no HTTP any more."""
        self._due = math.inf
        self._stop_timer()
        self.closed = True
        return UpgradedConnection(self._socket, b"".join(self._chunks), not self._writable.is_set())

    # Sending.

    def _write(self, data: bytes) -> None:
        if not self.closed:
            self._socket.write(data)

    def _all_sent(self, timeout: float) -> None:
        self._sent = True
        if not self._head_done:
            self._deadline(timeout)

    async def _send(self, body: BodySource, timeout: float, idle: float) -> None:
        try:
            data = body.first
            while data and not self.closed:
                self._write(
                    data if body.length is not None else b"%x\r\n%b\r\n" % (len(data), data)
                )
                await self._room(idle)
                data = await body.read()
        except Exception as error:  # noqa: BLE001 - raised again where the answer is awaited
            self._fail(error)
            return
        if body.length is None:
            self._write(b"0\r\n\r\n")
        self._all_sent(timeout)

    async def _room(self, idle: float) -> None:
        if self._writable.is_set():
            return
        try:
            await within(idle, self._writable.wait())
        except TimeoutError:
            raise UpstreamTimeout("The service stopped taking the request.") from None

    # Waiting.

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _deadline(self, seconds: float) -> None:
        self._due = due = monotonic() + seconds
        if self._timer_at > due:
            self._stop_timer()
            self._start_timer(due, seconds)

    def _start_timer(self, due: float, seconds: float) -> None:
        self._timer_at = due
        self._timer = self._loop.call_later(seconds, self._time_is_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_at = math.inf

    def _time_is_up(self) -> None:
        """The timer's end: perhaps that of a deadline, which may have moved."""
        self._timer = None
        self._timer_at = math.inf
        due = self._due
        left = due - monotonic()
        if not self._stalls.counts(-left):
            self._start_timer(due, _SOON_S)
        elif left <= 0:
            self._due = math.inf
            self._late()
        elif due != math.inf:
            self._start_timer(due, left)

    def _late(self) -> None:
        what = "paused too long" if self._head_done else "did not answer in time"
        self._fail(UpstreamTimeout(f"The service {what}. Try again, or ask for less at once."))

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self.abort()
        self._wake()

    # asyncio's callbacks.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self._busy or self._done:
            if self.status == 101:
                self._take(data)
                return
            self._keep_alive = False  # nobody asked for these bytes
            self.abort()
            return
        if not self._head_done:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as end:
            if self.status != 101:
                self._fail(UpstreamError("The service sent an answer that is not HTTP."))
                return
            self._take(data[end.args[0] :])
        except httptools.HttpParserError:
            self._fail(UpstreamError("The service sent an answer that is not HTTP."))
            return
        if not self._head_done and self._head_size > _HEAD_LIMIT:
            self._fail(UpstreamError("The service sent a head without end."))
            return
        self._pause_if_full()
        self._wake()

    def _take(self, data: bytes) -> None:
        """Keep what follows a 101 for whoever the connection is handed over to."""
        self._chunks.append(data)
        self._buffered += len(data)
        self._pause_if_full()

    def _pause_if_full(self) -> None:
        if self._buffered > _HIGH_WATER and not self.closed and not self._paused:
            self._paused = True
            self._socket.pause_reading()

    def eof_received(self) -> None:
        """Let the transport close: services don't close one half only."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._hung_up = not self.closed
        self.closed = True
        self._stop_timer()
        self._writable.set()
        framed = self.length is not None or self._chunked
        if self._head_done and not self._done and not framed and exc is None:
            self._done = True  # an answer without length ends with its connection
        elif self._busy and not self._done and self._failure is None:
            self._failure = UpstreamError("The service broke off its answer.")
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # The parser's callbacks. Whatever follows a finished answer was not asked for.

    def on_message_begin(self) -> None:
        if self._done:
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # after it come trailers, which are dropped
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status, version = self._parser.get_status_code(), self._parser.get_http_version()
        if version not in _VERSIONS or not 100 <= status < 600 or self._is_too_long():
            self._fail(UpstreamError("The service sent an answer that is not HTTP/1.1."))
            return
        switched = status == 101 and self.upgrading and version == "1.1"
        if self._done or (status < 200 and not switched):  # 100 Continue, 103 Early Hints
            return
        for name, value in self.headers:
            if name == b"content-length":
                self.length = int(value)
            elif name == b"transfer-encoding":
                if self._chunked or version != "1.1" or value.lower() != b"chunked":
                    self._fail(UpstreamError("The service sent an unknown transfer coding."))
                self._chunked = True
        if status in (204, 304):
            self.length = 0
        self.status = status
        self._head_done = True

    def _is_too_long(self) -> bool:
        """Whether the head has too many bytes; what came with it may belong to the body."""
        return self._head_size > _HEAD_LIMIT < sum(len(n) + len(v) for n, v in self.headers)

    def on_body(self, data: bytes) -> None:
        if not self._done:
            self._buffered += len(data)
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        if not self._head_done:  # an interim answer
            self.headers.clear()
        elif not self._done:
            self._done = True
            self._keep_alive = self._parser.should_keep_alive() and not self.upgrading
