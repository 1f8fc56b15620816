"""Server-sent events for many who mostly wait."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import httpx
import pytest

from gateway.app import create_gateway
from shared.serving.process import allow_many_connections
from tests.gateway.conftest import gateway_config
from tests.gateway.issuer import FakeAuth
from tests.gateway.wire import until

STREAMS = 1500  # each is four open files here, as client, gateway and service are one process
ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/events", scope = "self", stream = true },
  { method = "GET", path = "/things", scope = "self" },
]
"""
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b"data: hello\n\n"
FIRST = HEAD + b"%x\r\n%b\r\n" % (len(EVENT), EVENT)


class Service(asyncio.Protocol):
    """Begins a stream for whoever asks for events, and says no more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        events = data.startswith(b"GET /events")
        self.transport.write(FIRST if events else b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


class Listener(asyncio.Protocol):
    """A client that wants to hear the first event."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.received = b""
        self.heard = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.received += data
        if EVENT in self.received and not self.heard.done():
            self.heard.set_result(self.received)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.heard.done():
            self.heard.set_exception(exc or ConnectionError(repr(self.received)))


async def test_idle_streams_are_held_by_default(tmp_path: Path, redis_at: str) -> None:
    allow_many_connections()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == min(hard if hard != resource.RLIM_INFINITY else 1 << 20, 1 << 20)
    if soft < 4 * STREAMS + 500:
        pytest.skip(f"only {soft} open files are granted")
    loop, auth = asyncio.get_running_loop(), FakeAuth()
    await auth.wire.start()
    service = await loop.create_server(Service, "127.0.0.1", backlog=STREAMS)
    (tmp_path / "routes.toml").write_text(ROUTES)
    port = service.sockets[0].getsockname()[1]
    config = gateway_config(
        tmp_path,
        REDIS_URL=redis_at,
        GATEWAY_ROUTES=str(tmp_path / "routes.toml"),
        GATEWAY_UPSTREAMS=f"auth={auth.wire.url},enrichment=http://127.0.0.1:{port}",
    )
    async with (
        create_gateway(config).running(port=0) as url,
        httpx.AsyncClient(base_url=url) as one,
    ):

        async def counted() -> int:
            page = (await one.get("/metrics")).text
            (line,) = [x for x in page.splitlines() if x.startswith("gateway_streams_in_flight{")]
            return int(float(line.rpartition(" ")[2]))

        host, at = url.removeprefix("http://").split(":")
        request = (
            f"GET /events HTTP/1.1\r\nHost: x\r\nAuthorization: {auth.bearer()['Authorization']}\r\n\r\n"
        ).encode()
        opened = [
            await loop.create_connection(lambda: Listener(request), host, int(at))
            for _ in range(STREAMS)
        ]
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(listener.heard for _, listener in opened))
        assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
        assert await counted() == STREAMS
        assert (await one.get("/things", headers=auth.bearer())).status_code == 200
        for transport, _ in opened:
            transport.close()

        async def none() -> bool:
            return await counted() == 0

        await until(none, 10)
    service.close()
    await auth.wire.stop()
