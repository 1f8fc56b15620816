"""One instance of a service: its address, the connections kept to it, how busy it is."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.resilience.deadline import format_deadline
from gateway.resilience.witnesses import EVERYBODY, Witness
from gateway.timeouts import within
from gateway.upstream.connection import BodySource, Connection
from shared.errors import UpstreamError, UpstreamUnavailable
from shared.wire import DEADLINE_HEADER

# Below the 75 s after which a service closes an idle connection: who closes first wins no race.
_IDLE_S: Final = 55.0
_MAX_IDLE: Final = 256
_COOLING_S: Final = 2.0
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class Exchange:
    """A request as it goes to an instance, whichever that is."""

    def __init__(
        self,
        method: str,
        target: str,
        headers: str,
        body: BodySource | None = None,
        timeout: float = 15.0,
        idle: float = 60.0,
        asker: Witness = EVERYBODY,
    ) -> None:
        self.method = method
        self.target = target  # '/path?query'
        self.headers = headers  # 'name: value\r\n' lines without Host and framing
        self.body = body
        self.timeout = timeout  # seconds
        self.idle = idle
        self.asker = asker  # the organisation that it is for; ANYBODY: nobody signed in
        self.upgrade = False  # asks to leave HTTP; `headers` say for what

    @property
    def repeatable(self) -> bool:
        return self.body is None and self.method in _REPEATABLE


@dataclass(slots=True)
class _Address:
    host: str
    port: int
    name: str  # for the Host header
    tls: ssl.SSLContext | None = field(repr=False)

    @classmethod
    def of(cls, url: str) -> _Address:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        return cls(
            parts.hostname or "",
            parts.port or (443 if secure else 80),
            parts.netloc.rpartition("@")[2],
            ssl.create_default_context() if secure else None,
        )


class Instance:
    """`open` sends a request and returns the connection with its answer; `close` takes it back."""

    def __init__(self, url: str, name: str, connect_timeout: float, version: str = "1") -> None:
        self.url = url
        self.name = name
        self.version = version
        self._connect_timeout = connect_timeout
        self.in_flight = 0
        self.failed_at = float("-inf")
        self.unreachable = False  # connecting failed the last time
        self._returned: Callable[[Instance], None] | None = None
        self._address = _Address.of(url)
        self._idle: deque[Connection] = deque()
        self._retired = False

    def cooling(self, now: float) -> bool:
        """Whether connecting failed a moment ago."""
        return now - self.failed_at < _COOLING_S

    def when_back(self, tell: Callable[[Instance], None]) -> None:
        """`tell` (in the place of whoever was told before) that it can be connected to again."""
        self._returned = tell

    def believe(self, *, unreachable: bool) -> None:
        """Take over what another process found when it connected."""
        self.unreachable = unreachable

    async def open(
        self, exchange: Exchange, timeout: float | None = None, *, tell: bool = True
    ) -> Connection:
        """Send `exchange` and wait for the head of its answer.

        `timeout` takes the place of the exchange's own; `tell` passes it on to the service.

        Raises UpstreamUnavailable only if nothing was sent, so that another instance may be asked;
        UpstreamError or UpstreamTimeout (or what reading the body raised) afterwards. A kept
        connection that turns out to be closed is replaced once if the request may be repeated.
        """
        self.in_flight += 1
        seconds = exchange.timeout if timeout is None else timeout
        try:
            connection = self._kept()
            if connection is not None:
                try:
                    return await self._send(connection, exchange, seconds, tell)
                except UpstreamError:
                    if not (connection.silent and exchange.repeatable):
                        raise
            return await self._send(await self._connect(), exchange, seconds, tell)
        except BaseException:
            self.in_flight -= 1
            raise

    async def close(self, connection: Connection) -> None:
        """End the exchange on a connection that `open` returned; it is kept if it can be."""
        try:
            await connection.stop_sending()
        finally:
            self.release(connection)

    def release(self, connection: Connection) -> None:
        """`close` for an exchange whose request is sent as a whole."""
        self.in_flight -= 1
        if connection.finish() and not self._retired and len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.abort()

    def retire(self) -> None:
        """Close the idle connections; busy ones are closed when they are given back."""
        self._retired = True
        while self._idle:
            self._idle.pop().abort()

    def _kept(self) -> Connection | None:
        oldest = monotonic() - _IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        address = self._address
        try:
            connection = Connection(loop)
            made: Any = lambda: connection  # noqa: E731 - a protocol by its methods
            connecting = loop.create_connection(made, address.host, address.port, ssl=address.tls)
            await within(self._connect_timeout, connecting)
            if connection.closed:
                raise ConnectionResetError  # nothing was sent: another instance may be asked
        except OSError as error:  # TimeoutError is one
            self.failed_at = loop.time()
            self.unreachable = True
            raise UpstreamUnavailable("The service can't be reached.") from error
        if self.unreachable:
            self.unreachable = False
            self.failed_at = float("-inf")
            if self._returned is not None:
                self._returned(self)
        return connection

    async def _send(
        self, connection: Connection, exchange: Exchange, timeout: float, tell: bool
    ) -> Connection:
        head = (
            f"{exchange.method} {exchange.target} HTTP/1.1\r\n"
            f"host: {self._address.name}\r\n{exchange.headers}"
        )
        if exchange.body is None and exchange.method in _WITH_BODY:
            head += "content-length: 0\r\n"
        if tell:
            head += f"{DEADLINE_HEADER}: {format_deadline(timeout)}\r\n"
        connection.upgrading = exchange.upgrade
        try:
            await connection.exchange(head, exchange.body, timeout, exchange.idle)
            return connection
        except BaseException as error:  # noqa: BLE001 - raised below
            failure = error  # decision 0012 allows no await here
        try:
            await connection.stop_sending()
        finally:
            connection.finish()
            connection.abort()
        raise failure
