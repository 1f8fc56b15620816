"""WebSockets on loopback, byte by byte: a service, a client, and a gateway between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from gateway.app import create_gateway
from gateway.timeouts import Timeouts
from gateway.websocket.handshake import accept_of
from tests.gateway.conftest import LENIENT, gateway_config
from tests.gateway.issuer import FakeAuth
from tests.gateway.wire import Received, read_head

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455 §1.3
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
ROUTES = """
[chat]
routes = [
  { method = "GET", path = "/open/{id}", scope = "public", websocket = true },
  { method = "GET", path = "/api/open", scope = "public", websocket = true },
  { method = "GET", path = "/talk/{id}", scope = "calls:read", websocket = true },
  { method = "GET", path = "/quick", scope = "public", websocket = true, timeout = 0.2 },
  { method = "GET", path = "/limited", scope = "public", websocket = true, limits = ["address 2/m burst 2"] },
  { method = "GET", path = "/plain", scope = "public" },
]
"""
POLICY = """
[services.chat]
retry = {{ retries = 0 }}
streams = {{ limit = {streams} }}
"""


def frame(payload: bytes, opcode: int = BINARY, *, masked: bool = False) -> bytes:
    """A frame; `masked` as clients send it."""
    size, mark = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((0x80 | opcode, mark | size))
    elif size < 65_536:
        head = bytes((0x80 | opcode, mark | 126)) + size.to_bytes(2)
    else:
        head = bytes((0x80 | opcode, mark | 127)) + size.to_bytes(8)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + _masked(payload, mask)


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(opcode, payload) of the next frame, masked or not."""
    first, second = await reader.readexactly(2)
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    mask = await reader.readexactly(4) if second & 0x80 else bytes(4)
    return first & 0xF, _masked(await reader.readexactly(size), mask)


def _masked(payload: bytes, mask: bytes) -> bytes:
    if mask == bytes(4):
        return payload
    long = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload) ^ int.from_bytes(long)).to_bytes(len(payload))


def switching(received: Received, *more: str, **changed: str | None) -> bytes:
    """A good 101; `changed` replaces headers by name (None leaves one out), `more` are lines."""
    lines: dict[str, str | None] = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_of(received.header("sec-websocket-key") or ""),
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    written = [f"{name}: {value}" for name, value in lines.items() if value is not None]
    head = "\r\n".join(["HTTP/1.1 101 Switching Protocols", *written, *more])
    return head.encode() + b"\r\n\r\n"


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


async def echo_frames(received: Received, writer: asyncio.StreamWriter) -> None:
    """Agree, send back every message, answer Ping and Close."""
    writer.write(switching(received))
    while True:
        opcode, payload = await read_frame(received.reader)
        writer.write(frame(payload, PONG if opcode == PING else opcode))
        await writer.drain()
        if opcode == CLOSE:
            return


@dataclass
class Chat:
    """A service; `behave` has a connection from its first request on, until it returns."""

    behave: Behaviour = echo_frames
    requests: list[Received] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    ended: asyncio.Event = field(default_factory=asyncio.Event)  # some connection has
    url: str = ""

    @property
    def last(self) -> Received:
        return self.requests[-1]

    def use(self, behave: Behaviour) -> None:
        self.behave = behave
        self.requests.clear()
        self.ended.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            received = await read_head(reader)
            if received is not None:
                self.requests.append(received)
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await self.behave(received, writer)
        finally:
            self.writers.discard(writer)
            self.ended.set()
            writer.close()


@dataclass
class Sockets:
    """A running gateway with a service of WebSockets behind it."""

    url: str
    http: httpx.AsyncClient
    auth: FakeAuth
    chat: Chat

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def open_count(self) -> float:
        """The gauge of open WebSockets; 0 before there was one."""
        return await self.metric('gateway_websockets{service="chat"} ')

    async def metric(self, beginning: str) -> float:
        text = (await self.http.get("/metrics")).text
        found = [line for line in text.splitlines() if line.startswith(beginning)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    async def all_closed(self) -> bool:
        """Whether nothing is left of any WebSocket, on either side of the gateway."""
        return await self.open_count() == 0 and not self.chat.writers


@asynccontextmanager
async def sockets_in(
    home: Path,
    timeouts: Timeouts | None = None,
    *,
    service: str = "",
    streams: int = 1000,
    **settings: str,
) -> AsyncIterator[Sockets]:
    """A gateway; `service` is the URL of another one than a Chat."""
    auth, chat = FakeAuth(), Chat()
    await auth.wire.start()
    server = await asyncio.start_server(chat.serve, "127.0.0.1", 0, limit=1 << 22, backlog=1024)
    chat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    (home / "routes.toml").write_text(ROUTES + POLICY.format(streams=streams))
    upstreams = f"auth={auth.wire.url},chat={service or chat.url}"
    config = gateway_config(
        home,
        **{
            "GATEWAY_UPSTREAMS": upstreams, "GATEWAY_ROUTES": str(home / "routes.toml"), **settings,
        },
    )  # fmt: skip
    try:
        async with (
            create_gateway(config, timeouts, LENIENT).running(port=0) as url,
            httpx.AsyncClient(base_url=url, timeout=10) as http,
        ):
            yield Sockets(url, http, auth, chat)
    finally:
        server.close()
        for writer in chat.writers:
            writer.transport.abort()
        await auth.wire.stop()


def handshake(target: str = "/open/1", *lines: str, **changed: str | None) -> bytes:
    """A good handshake; `changed` replaces headers by name (None leaves one out)."""
    headers: dict[str, str | None] = {
        "Host": "x",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    written = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {target} HTTP/1.1", *written, *lines, "", ""]).encode()


@dataclass
class Client:
    """A client's connection; `head` is the answer to its handshake."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: Received

    @property
    def status(self) -> int:
        return int(self.head.target)  # of 'HTTP/1.1 101 …', read as a request line would be

    async def say(self, payload: bytes, opcode: int = BINARY) -> None:
        self.writer.write(frame(payload, opcode, masked=True))
        await self.writer.drain()

    async def hear(self, seconds: float = 5) -> tuple[int, bytes]:
        async with asyncio.timeout(seconds):
            return await read_frame(self.reader)

    async def rest(self, seconds: float = 5) -> bytes:
        """What still comes, up to the end."""
        async with asyncio.timeout(seconds):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read()
        return b""


@asynccontextmanager
async def client(sockets: Sockets, sent: bytes, limit: int = 1 << 16) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", sockets.port, limit=limit)
    try:
        writer.write(sent)
        raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        headers = [(name.lower(), value) for name, value in (x.split(": ", 1) for x in lines)]
        yield Client(reader, writer, Received(version, status, headers, reader, raw=raw))
    finally:
        writer.transport.abort()
