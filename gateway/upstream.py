"""One instance of a service: its address, its pooled connections, how busy it is."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from gateway.connection import BodySource, Connection
from shared.errors import UpstreamError, UpstreamUnavailable

# Below the 75 s after which a service closes an idle connection: who closes first wins no race.
_IDLE_S: Final = 55.0
_MAX_IDLE: Final = 256
_COOLING_S: Final = 2.0
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as it goes to an instance, whichever that is."""

    method: str
    target: str  # '/path?query'
    headers: str  # 'name: value\r\n' lines without Host and framing
    body: BodySource | None = None
    timeout: float = 15.0  # seconds
    idle: float = 60.0

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


class Upstream:
    """`open` sends a request and returns the connection with its answer; `close` takes it back."""

    def __init__(self, url: str, name: str, connect_timeout: float) -> None:
        self.url = url
        self.name = name
        self._connect_timeout = connect_timeout
        self.in_flight = 0
        self.failed_at = float("-inf")
        self._address = _Address.of(url)
        self._idle: deque[Connection] = deque()
        self._retired = False

    def cooling(self, now: float) -> bool:
        """Whether connecting failed a moment ago."""
        return now - self.failed_at < _COOLING_S

    async def open(self, exchange: Exchange) -> Connection:
        """Send `exchange` and wait for the head of its answer.

        Raises UpstreamUnavailable only if nothing was sent, so that another instance may be asked;
        UpstreamError or UpstreamTimeout (or what reading the body raised) afterwards. A kept
        connection that turns out to be closed is replaced once if the request may be repeated.
        """
        self.in_flight += 1
        try:
            connection = self._kept()
            if connection is not None:
                try:
                    return await self._send(connection, exchange)
                except UpstreamError:
                    if not (connection.silent and exchange.repeatable):
                        raise
            return await self._send(await self._connect(), exchange)
        except BaseException:
            self.in_flight -= 1
            raise

    async def close(self, connection: Connection) -> None:
        """End the exchange on a connection that `open` returned; it is kept if it can be."""
        self.in_flight -= 1
        if await connection.finish() and not self._retired and len(self._idle) < _MAX_IDLE:
            self._idle.append(connection)
        else:
            connection.abort()

    def retire(self) -> None:
        """Close the idle connections; busy ones are closed when they are given back."""
        self._retired = True
        while self._idle:
            self._idle.pop().abort()

    def _kept(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - _IDLE_S
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
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop), address.host, address.port, ssl=address.tls
                )
        except OSError as error:  # TimeoutError is one
            self.failed_at = loop.time()
            raise UpstreamUnavailable("The service can't be reached.") from error
        return connection

    async def _send(self, connection: Connection, exchange: Exchange) -> Connection:
        head = (
            f"{exchange.method} {exchange.target} HTTP/1.1\r\n"
            f"host: {self._address.name}\r\n{exchange.headers}"
        )
        if exchange.body is None and exchange.method in _WITH_BODY:
            head += "content-length: 0\r\n"
        try:
            await connection.exchange(head, exchange.body, exchange.timeout, exchange.idle)
        except BaseException:
            await connection.finish()
            connection.abort()
            raise
        return connection
