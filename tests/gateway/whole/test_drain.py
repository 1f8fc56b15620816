"""A gateway that is told to stop: out of the pool first, then no new work, then the rest of the old."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.gateway.gateway_process import GatewayProcess, gateway_process
from tests.gateway.wire import Received, Wire, echo, exchange, served, until

ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/quick", scope = "public" },
  { method = "POST", path = "/slow", scope = "public" },
  { method = "GET", path = "/events", scope = "public", stream = true },
]
[services.enrichment]
health = false
"""
BODY = b"x" * 100_000
NOTICE_S = "1"  # in which a busy machine gets to ask
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def event(data: bytes) -> bytes:
    line = b"data: %b\n\n" % data
    return b"%x\r\n%b\r\n" % (len(line), line)


@dataclass
class Service:
    """Streams until `finish`, answers POSTs once they `may_answer`."""

    finish: asyncio.Event = field(default_factory=asyncio.Event)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, received: Received, writer: asyncio.StreamWriter) -> None:
        if received.path == "/events":
            writer.write(HEAD)
            while not self.finish.is_set():
                writer.write(event(b"more"))
                await writer.drain()
                await asyncio.sleep(0.02)
            writer.write(event(b"last") + b"0\r\n\r\n")
            return
        received.body = b"".join([part async for part in received.parts()])
        if received.method == "POST":
            await self.may_answer.wait()
        await echo(received, writer)


@asynccontextmanager
async def drained(
    home: Path, redis_at: str, port: int, workers: int, **settings: str
) -> AsyncIterator[tuple[GatewayProcess, Service, Wire]]:
    service = Service()
    async with (
        served(service.answer, stream=True) as wire,
        gateway_process(
            home,
            port,
            workers,
            routes=ROUTES,
            upstreams={"enrichment": wire.url},
            REDIS_URL=redis_at,
            **settings,
        ) as gateway,
    ):
        yield gateway, service, wire


async def ask(gateway: GatewayProcess, path: str) -> tuple[int, bytes]:
    """Status and answer, asked on a connection of its own; 0 if it is refused."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    try:
        raw = await exchange(gateway.url, request)
    except ConnectionError:
        raw = b""
    return (int(raw.split(b" ", 2)[1]), raw) if raw else (0, b"")


async def scrape_on(gateway: GatewayProcess) -> int:
    """Scrape until that is refused; how many pages there were, each of them whole."""
    pages = 0
    while True:
        status, answer = await asyncio.wait_for(ask(gateway, "/metrics"), 5)
        if status == 0:
            return pages
        head, _, page = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        assert status == 200
        assert length is not None
        assert len(page) == int(length[1])
        pages += 1


async def reached(wire: Wire, path: str, times: int) -> None:
    async def has() -> bool:
        return sum(one.path == path for one in wire.requests) >= times

    await until(has, 10)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_stop_takes_nothing_new_and_ends_nothing_that_runs(
    tmp_path: Path, redis_at: str, free_port: int, workers: int
) -> None:
    async with (
        drained(tmp_path, redis_at, free_port, workers, DRAIN_DELAY_SECONDS=NOTICE_S) as running,
        httpx.AsyncClient(base_url=running[0].url, timeout=20) as client,
    ):
        gateway, service, wire = running
        may_end = asyncio.Event()

        async def upload() -> AsyncIterator[bytes]:
            yield BODY
            await may_end.wait()
            yield BODY

        assert (await client.get("/quick")).status_code == 200
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", free_port)
        idle_writer.write(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await idle_reader.readuntil(b"\r\n\r\n")
        async with client.stream("GET", "/events") as stream:
            events = stream.aiter_lines()
            assert await anext(events) == "data: more"
            posts = [
                asyncio.create_task(client.post("/slow", content=content))
                for content in (BODY, upload())
            ]
            await reached(wire, "/slow", 2)
            gateway.tell(signal.SIGTERM)

            async def draining() -> bool:
                return b'"draining"' in (await ask(gateway, "/ready"))[1]

            async def refused() -> bool:
                return (await ask(gateway, "/quick"))[0] == 0

            await until(draining, 5)
            scraping = asyncio.create_task(scrape_on(gateway))
            assert (await ask(gateway, "/ready"))[0] == 503
            assert (await ask(gateway, "/quick"))[0] == 200  # while balancers look elsewhere
            await until(refused, 10)
            assert await asyncio.wait_for(scraping, 10) > 0
            await asyncio.wait_for(idle_reader.read(), 5)  # up to the end of an idle connection
            idle_writer.close()

            service.may_answer.set()
            may_end.set()
            whole, parts = await asyncio.gather(*posts)
            assert (whole.status_code, whole.json()["data"]["size"]) == (200, len(BODY))
            assert (parts.status_code, parts.json()["data"]["size"]) == (200, 2 * len(BODY))
            assert whole.headers["connection"] == parts.headers["connection"] == "close"
            assert await anext(events) in ("", "data: more")  # it still runs
            assert gateway.process.returncode is None
            service.finish.set()
            rest = [line async for line in events]
            assert rest[-2:] == ["data: last", ""]
        assert await gateway.ended() == 0
        assert not gateway.said("connections cut")
        assert gateway.said('"stopped"') == workers


async def test_an_answer_during_the_notice_is_the_last_on_its_connection(
    tmp_path: Path, redis_at: str, free_port: int
) -> None:
    """So that who goes on asking has moved to another gateway before connections are closed."""
    async with (
        drained(tmp_path, redis_at, free_port, 1, DRAIN_DELAY_SECONDS=NOTICE_S) as running,
        httpx.AsyncClient(base_url=running[0].url, timeout=10) as client,
    ):
        assert "connection" not in (await client.get("/quick")).headers
        running[0].tell(signal.SIGTERM)

        async def draining() -> bool:
            return b'"draining"' in (await ask(running[0], "/ready"))[1]

        await until(draining, 5)
        got = await client.get("/quick")
        assert (got.status_code, got.headers.get("connection")) == (200, "close")


async def test_a_stream_without_end_is_cut_and_never_looks_whole(
    tmp_path: Path, redis_at: str, free_port: int
) -> None:
    async with drained(tmp_path, redis_at, free_port, 1, SHUTDOWN_SECONDS="1") as running:
        gateway, _, wire = running
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        got = await reader.readuntil(b"data: more")
        gateway.tell(signal.SIGTERM)
        started = time.monotonic()
        try:
            async with asyncio.timeout(10):
                while part := await reader.read(65_536):
                    got += part
        except ConnectionResetError:
            pass  # one of the ways to learn of a cut
        assert 0.9 < time.monotonic() - started < 5
        assert b"data: more" in got
        assert not got.endswith(b"0\r\n\r\n")
        await asyncio.wait_for(wire.lost.wait(), 5)  # its service hears of it, too
        assert await gateway.ended() == 0
        assert gateway.said("connections cut") == 1
        writer.close()
