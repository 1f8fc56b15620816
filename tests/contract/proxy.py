"""A TCP proxy on loopback that can go away, hang and come back: a store's bad days."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit


class Proxy:
    """Forwards a TCP port to `connect`'s stream until it is cut or frozen."""

    def __init__(self, host: str, port: int, path: str | None) -> None:
        self._target = (host, port, path)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    def point_at(self, host: str, port: int) -> None:
        """Where connections made from now on go: another server has taken over."""
        self._target = (host, port, None)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Close the port and every connection: the server is down."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self._flowing.set()
        await asyncio.sleep(0.02)

    def freeze(self) -> None:
        """Pass nothing on any more: the server, or the network, hangs."""
        self._flowing.clear()

    def thaw(self) -> None:
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._writers.add(writer)
        try:
            source, sink = await self._connect()
            ends.append(sink)
            self._writers.add(sink)
            if writer.transport.is_closing():  # cut meanwhile
                return
            await asyncio.gather(self._pump(reader, sink), self._pump(source, writer))
        finally:
            for end in ends:
                self._writers.discard(end)
                end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port, path = self._target
        if path is not None:
            return await asyncio.open_unix_connection(path)
        return await asyncio.open_connection(host, port)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await self._flowing.wait()
                sink.write(data)
                await sink.drain()
        sink.transport.abort()


@asynccontextmanager
async def proxied_grpc(url: str) -> AsyncIterator[tuple[str, Proxy]]:
    """(Weaviate's URL with its gRPC, and nothing else, through a proxy; the proxy)."""
    base, _, grpc = url.partition("?grpc=")
    host, _, port = grpc.rpartition(":")
    proxy = Proxy(host, int(port), None)
    await proxy.start()
    try:
        yield f"{base}?grpc=127.0.0.1:{proxy.port}", proxy
    finally:
        await proxy.cut()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[str, Proxy]]:
    """(the same URL through a proxy, the proxy)."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    socket_path: str | None = None
    if parts.scheme == "unix":  # Redis
        socket_path = parts.path
        path = "/" + query.get("db", ["0"])[0]
        scheme = "redis"
    elif "host" in query:  # PostgreSQL on a socket
        socket_path = query["host"][0] + "/.s.PGSQL.5432"
        path, scheme = parts.path, parts.scheme
    else:
        path, scheme = parts.path, parts.scheme
    default = {"redis": 6379, "postgresql": 5432, "bolt": 7687, "http": 80}[scheme]
    proxy = Proxy(parts.hostname or "", parts.port or default, socket_path)
    await proxy.start()
    user = parts.netloc.rpartition("@")[0]
    netloc = f"{user}@127.0.0.1:{proxy.port}" if user else f"127.0.0.1:{proxy.port}"
    try:
        # Weaviate's gRPC, if named, is not proxied.
        grpc = f"grpc={query['grpc'][0]}" if "grpc" in query else ""
        yield urlunsplit((scheme, netloc, path, grpc, "")), proxy
    finally:
        await proxy.cut()
