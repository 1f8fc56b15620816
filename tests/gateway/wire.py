"""Servers and clients on loopback that speak HTTP/1.1 byte by byte, well or badly, as told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson


@dataclass
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    reader: asyncio.StreamReader
    body: bytes = b""
    raw: bytes = b""

    def header(self, name: str) -> str | None:
        values = self.values(name)
        return values[0] if values else None

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    async def parts(self) -> AsyncIterator[bytes]:
        """The body part by part as it arrives."""
        length = self.header("content-length")
        if length is not None:
            left = int(length)
            while left:
                part = await self.reader.read(min(left, 65536))
                if not part:
                    raise ConnectionResetError("body ended early")
                left -= len(part)
                yield part
        elif self.header("transfer-encoding") == "chunked":
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                yield await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)


Behaviour = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Wire:
    """An upstream. `behaviour` answers; requests are recorded (with their bodies unless `stream`)."""

    behaviour: Behaviour
    stream: bool = False
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    lost: asyncio.Event = field(default_factory=asyncio.Event)  # a client went away mid-exchange
    url: str = ""
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def last(self) -> Received:
        return self.requests[-1]

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, limit=1 << 20, backlog=1024
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Refuse new connections and cut those there are."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (received := await read_head(reader)) is not None:
                self.requests.append(received)
                if not self.stream:
                    received.body = b"".join([part async for part in received.parts()])
                await self._answer(received, reader, writer)
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.set()
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _answer(
        self, received: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        answering = asyncio.ensure_future(self.behaviour(received, writer))
        try:
            while not answering.done():
                await asyncio.wait({answering}, timeout=0.02)
                if not self.stream and reader.at_eof():
                    self.lost.set()
                    break
            else:
                await answering
        finally:
            answering.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await answering


async def read_head(reader: asyncio.StreamReader) -> Received | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name.lower(), value.strip()) for name, value in (x.split(":", 1) for x in lines)]
    return Received(method, target, headers, reader, raw=raw)


def answer(
    status: int = 200,
    body: bytes = b"",
    content_type: str = "application/json",
    headers: dict[str, str] | None = None,
) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return (
        f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\n{more}\r\n"
    ).encode() + body


def json_answer(data: Any, status: int = 200, **headers: str) -> bytes:
    return answer(status, orjson.dumps(data), headers=headers)


def always(response: bytes) -> Behaviour:
    async def behave(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await writer.drain()

    return behave


async def echo(received: Received, writer: asyncio.StreamWriter) -> None:
    """Say what was received."""
    said = {"method": received.method, "target": received.target, "size": len(received.body)}
    writer.write(json_answer({"code": 0, "data": said, "request_id": ""}))
    await writer.drain()


@asynccontextmanager
async def served(behaviour: Behaviour, *, stream: bool = False) -> AsyncIterator[Wire]:
    wire = Wire(behaviour, stream)
    await wire.start()
    try:
        yield wire
    finally:
        await wire.stop()


async def exchange(url: str, data: bytes, *, until_closed: bool = True, wait: float = 5) -> bytes:
    """Send bytes as they are and return everything that comes back."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        await writer.drain()
        received = b""
        async with asyncio.timeout(wait):
            while part := await reader.read(65536):
                received += part
                if not until_closed and b"\r\n\r\n" in received:
                    break
        return received
    except ConnectionError:
        return received
    finally:
        writer.close()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Ask until it is so; how long that took. TimeoutError when it takes longer."""
    started = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is asked is another process or a socket
            await asyncio.sleep(0.02)
    return time.monotonic() - started
