"""Clients that could ask services on the gateway's behalf, each as lean as it can be told to be.

A client is opened as a context and then is a function: the path of a GET → the body of its answer.
All send the same headers, give up after as many seconds and keep as many connections as they need.
Redirects, cookies, decompression and proxies are off: a gateway passes on what it gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from httptools import HttpResponseParser

from benchmarks.rivals.answer import SMALL

Get = Callable[[str], Awaitable[bytes]]
Client = Callable[[int], AbstractAsyncContextManager[Get]]  # of the upstream's port

TIMEOUT_S: Final = 15
# What a gateway tells a service, 300 bytes with colons, blanks and ends of lines.
ADDED: Final = (
    ("x-request-id", "0190b6c1-7a1b-7c3e-9a55-0f6d1c2b3a49"),
    ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-internal-token", "t" * 128),
)
LINES: Final = "".join(f"{name}: {value}\r\n" for name, value in ADDED)


@asynccontextmanager
async def none(_port: int) -> AsyncIterator[Get]:
    """Nobody is asked: what the server costs without a client."""

    async def get(_path: str) -> bytes:
        return SMALL

    yield get


@asynccontextmanager
async def ours(port: int) -> AsyncIterator[Get]:
    from gateway.upstream.instance import Exchange, Instance

    upstream = Instance(f"http://127.0.0.1:{port}", "benchmark", TIMEOUT_S)

    async def get(path: str) -> bytes:
        exchange = Exchange("GET", path, LINES, timeout=TIMEOUT_S)
        connection = await upstream.open(exchange)
        try:
            parts = []
            while part := await connection.read(exchange.idle):
                parts.append(part)
            return b"".join(parts)
        finally:
            await upstream.close(connection)

    yield get
    upstream.retire()


class _Answer:
    """What llhttp tells of an answer."""

    def __init__(self) -> None:
        self.parser = HttpResponseParser(self)
        self.body = b""
        self.complete = False
        self.keep_alive = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True
        self.keep_alive = self.parser.should_keep_alive()  # it knows that no longer afterwards


@asynccontextmanager
async def streams(port: int) -> AsyncIterator[Get]:
    """What one writes by hand: asyncio's streams, a list of kept ones, llhttp."""
    kept: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(path: str) -> bytes:
        reader, writer = kept.pop() if kept else await asyncio.open_connection("127.0.0.1", port)
        answer = _Answer()
        async with asyncio.timeout(TIMEOUT_S):
            writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{LINES}\r\n".encode())
            while not answer.complete:
                data = await reader.read(65_536)
                if not data:
                    raise ConnectionError("The answer was broken off.")
                answer.parser.feed_data(data)
        if answer.keep_alive:
            kept.append((reader, writer))
        else:
            writer.close()
        return answer.body

    yield get
    for _, writer in kept:
        writer.close()


@asynccontextmanager
async def httpx(port: int) -> AsyncIterator[Get]:
    import httpx

    headers = dict(ADDED)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=TIMEOUT_S, limits=limits, trust_env=False) as client:

        async def get(path: str) -> bytes:
            answer = await client.get(f"http://127.0.0.1:{port}{path}", headers=headers)
            return answer.content

        yield get


@asynccontextmanager
async def aiohttp(port: int) -> AsyncIterator[Get]:
    from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
    from multidict import CIMultiDict
    from yarl import URL

    headers = CIMultiDict(ADDED)
    async with ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=TIMEOUT_S),
        auto_decompress=False,
    ) as session:

        async def get(path: str) -> bytes:
            url = URL(f"http://127.0.0.1:{port}{path}", encoded=True)
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                return await answer.read()

        yield get


@asynccontextmanager
async def pyreqwest(port: int) -> AsyncIterator[Get]:
    """At its best: an answer is handed over when all of it has come, which no stream can wait for."""
    async with _reqwest() as client:

        async def get(path: str) -> bytes:
            request = client.get(f"http://127.0.0.1:{port}{path}").headers(ADDED).build()
            answer = await request.send()
            return bytes(await answer.bytes())

        yield get


@asynccontextmanager
async def pyreqwest_parts(port: int) -> AsyncIterator[Get]:
    """As a gateway needs it: the head first, then the body part by part."""
    async with _reqwest() as client:

        async def get(path: str) -> bytes:
            request = client.get(f"http://127.0.0.1:{port}{path}").headers(ADDED).build_streamed()
            async with request as answer:
                parts = []
                while (part := await answer.body_reader.read_chunk()) is not None:
                    parts.append(bytes(part))
                return b"".join(parts)

        yield get


def _reqwest() -> Any:
    from pyreqwest.client import (  # type: ignore[import-not-found]  # not in our environment
        ClientBuilder,
    )

    builder = ClientBuilder().no_proxy().follow_redirects(False).referer(False)
    builder = builder.gzip(False).brotli(False).zstd(False).deflate(False)
    return builder.timeout(timedelta(seconds=TIMEOUT_S)).build()


CLIENTS: Final[Mapping[str, Client]] = {
    one.__name__: one for one in (none, ours, streams, pyreqwest, pyreqwest_parts, aiohttp, httpx)
}
