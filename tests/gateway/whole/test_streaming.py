"""Bodies pass as they come, in both directions, and end as they end."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.gateway.conftest import SECRET, Platform
from tests.gateway.issuer import FakeAuth
from tests.gateway.wire import Received, Wire, always, answer, exchange, json_answer


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_an_answer_begins_before_it_ends(platform: Platform) -> None:
    go_on = asyncio.Event()

    async def slowly(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"first"))
        await go_on.wait()
        writer.write(chunk(b"last") + b"0\r\n\r\n")

    platform.behave(slowly)
    headers = platform.auth.bearer()
    async with platform.client.stream("GET", "/api/v1/calls", headers=headers) as got:
        parts = got.aiter_raw()
        assert await asyncio.wait_for(anext(parts), 2) == b"first"
        go_on.set()
        assert b"".join([part async for part in parts]) == b"last"


async def test_the_head_of_an_answer_comes_before_its_body(platform: Platform) -> None:
    go_on = asyncio.Event()

    async def slowly(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
        await go_on.wait()
        writer.write(b"body")

    platform.behave(slowly)
    headers = platform.auth.bearer()
    async with asyncio.timeout(3):
        async with platform.client.stream("GET", "/api/v1/calls", headers=headers) as got:
            assert got.headers["content-length"] == "4"
            go_on.set()
            assert await got.aread() == b"body"


async def test_an_upload_arrives_before_it_ends(platform: Platform) -> None:
    arrived = asyncio.Event()

    async def receive(received: Received, writer: asyncio.StreamWriter) -> None:
        size = 0
        async for part in received.parts():
            size += len(part)
            arrived.set()
        writer.write(json_answer({"size": size}))

    async def upload():
        yield b"first"
        await asyncio.wait_for(arrived.wait(), 2)
        yield b"last"

    platform.behave(receive, stream=True)
    headers = platform.auth.bearer()
    got = await platform.client.post("/api/v1/calls", content=upload(), headers=headers)
    assert got.json() == {"size": 9}
    assert platform.enrichment.last.header("transfer-encoding") == "chunked"


async def test_a_length_stays_a_length(platform: Platform) -> None:
    body = os.urandom(300_000)
    got = await platform.client.post("/api/v1/calls", content=body, headers=platform.auth.bearer())
    assert got.json()["data"]["size"] == len(body)
    seen = platform.enrichment.last
    assert seen.values("content-length") == [str(len(body))]
    assert seen.header("transfer-encoding") is None
    assert seen.body == body


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 65_537, 1_000_000])
async def test_bodies_of_any_size_pass_unchanged(platform: Platform, size: int) -> None:
    body = os.urandom(size)

    async def mirror(received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, received.body, "application/octet-stream"))
        await writer.drain()

    platform.behave(mirror)
    got = await platform.client.post("/api/v1/calls", content=body, headers=platform.auth.bearer())
    assert hashlib.sha256(got.content).digest() == hashlib.sha256(body).digest()
    assert got.headers["content-length"] == str(size)


async def test_answers_of_every_framing_pass(platform: Platform) -> None:
    for raw, status, body in (
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\n\r\n", 200, b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nContent-Length: 7\r\n\r\n', 304, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nhi", 201, b"hi"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
        (b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nhi", 599, b"hi"),
    ):  # fmt: skip
        platform.behave(always(raw))
        got = await platform.get("/api/v1/calls")
        assert (got.status_code, got.content) == (status, body)
        assert "link" not in got.headers


async def test_an_answer_that_ends_with_its_connection_passes(platform: Platform) -> None:
    async def close(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        await writer.drain()
        writer.close()

    platform.behave(close)
    got = await platform.get("/api/v1/calls")
    assert (got.status_code, got.content) == (200, b"all of it")
    assert got.headers["transfer-encoding"] == "chunked"


async def test_connections_are_kept_in_both_directions(platform: Platform) -> None:
    before = platform.enrichment.connections
    for _ in range(20):
        await platform.get("/api/v1/calls")
    assert platform.enrichment.connections - before <= 1


@pytest.mark.parametrize("path", ["/api/v1/calls", "/api/v1/admin/compute"])
async def test_a_body_over_the_limit_is_413_by_its_length(platform: Platform, path: str) -> None:
    limit = 32 << 20 if path == "/api/v1/calls" else 1 << 20
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {limit + 1}\r\n"
        f"Authorization: Bearer {platform.auth.token()}\r\n\r\n"
    )
    got = await exchange(platform.url, head.encode(), until_closed=False)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b'"error":"payload_too_large"' in got
    assert platform.enrichment.requests == []
    assert platform.portrait.requests == []


async def test_a_body_over_the_limit_is_413_in_chunks_too(platform: Platform) -> None:
    async def more_than_a_mebibyte():
        for _ in range(48):
            yield b"x" * 65_536

    async def receive(received: Received, writer: asyncio.StreamWriter) -> None:
        async for _ in received.parts():
            pass
        writer.write(json_answer({}))

    platform.behave(receive, stream=True)
    got = await platform.client.post(
        "/api/v1/admin/compute", content=more_than_a_mebibyte(), headers=platform.auth.bearer()
    )
    assert (got.status_code, got.json()["error"]) == (413, "payload_too_large")
    await asyncio.wait_for(platform.portrait.lost.wait(), 2)


async def test_a_body_at_the_limit_passes(platform: Platform) -> None:
    got = await platform.client.post(
        "/api/v1/admin/compute", content=b"x" * (1 << 20), headers=platform.auth.bearer()
    )
    assert got.status_code == 200


async def test_a_refused_upload_reads_its_refusal(platform: Platform) -> None:
    """The client sends megabytes before it looks; the answer must not be lost to a reset."""
    for _ in range(5):
        got = await platform.client.post("/api/v1/calls", content=b"x" * (8 << 20))
        assert got.status_code == 401
    assert platform.enrichment.requests == []


async def test_leave_to_send_is_only_given_after_authorisation(platform: Platform) -> None:
    head = "POST /api/v1/calls HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
    got = await exchange(platform.url, (head + "\r\n").encode())
    assert got.startswith(b"HTTP/1.1 401 ")
    good = f"{head}Authorization: Bearer {platform.auth.token()}\r\n\r\n"
    got = await exchange(platform.url, good.encode(), until_closed=False)
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize("chunks", [b"zz\r\n", b"5\r\nhello", b"-1\r\n"])
async def test_broken_chunks_run_nothing(platform: Platform, chunks: bytes) -> None:
    head = (
        "POST /api/v1/calls HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: Bearer {platform.auth.token()}\r\n\r\n"
    )

    async def receive(received: Received, writer: asyncio.StreamWriter) -> None:
        async for _ in received.parts():
            pass
        writer.write(json_answer({}))

    platform.behave(receive, stream=True)
    host, port = platform.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + chunks)
    writer.write_eof()
    got = await asyncio.wait_for(reader.read(), 3)
    writer.close()
    assert b" 200 " not in got


async def test_an_early_answer_to_an_upload_passes(platform: Platform) -> None:
    """A service may refuse before it has read everything."""

    async def refuse(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(409, b"no"))
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    async def upload():
        yield b"x" * 1000
        await asyncio.sleep(0.1)
        yield b"y" * 1000

    platform.behave(refuse, stream=True)
    got = await platform.client.post(
        "/api/v1/calls", content=upload(), headers=platform.auth.bearer()
    )
    assert (got.status_code, got.content) == (409, b"no")


async def up(process: subprocess.Popen[bytes], url: str) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(20):
        while process.poll() is None:
            try:
                await client.get(f"{url}/health")
            except httpx.ConnectError:
                await asyncio.sleep(0.1)
            else:
                return
    pytest.fail("the gateway did not start")


@pytest.mark.slow
async def test_hundred_megabytes_either_way_leave_memory_flat(
    tmp_path: Path, redis_at: str, free_port: int
) -> None:
    size = 100 << 20
    part = os.urandom(1 << 20)

    async def both(received: Received, writer: asyncio.StreamWriter) -> None:
        got = 0
        async for piece in received.parts():
            got += len(piece)
        if received.method == "POST":
            writer.write(json_answer({"size": got}))
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // len(part)):
            writer.write(part)
            await writer.drain()

    auth, service = FakeAuth(), Wire(both, stream=True)
    await auth.wire.start()
    await service.start()
    routes = tmp_path / "routes.toml"
    routes.write_text(
        '[enrichment]\nroutes = [\n{ method = "GET", path = "/big", scope = "self" },\n'
        f'{{ method = "POST", path = "/big", scope = "self", body_limit = {size} }},\n]\n'
    )
    environment = {
        "LOOMA_HOME": str(tmp_path),
        "INTERNAL_TOKEN_SECRET": SECRET,
        "GATEWAY_PORT": str(free_port),
        "REDIS_URL": redis_at,
        "GATEWAY_ROUTES": str(routes),
        "GATEWAY_UPSTREAMS": f"auth={auth.wire.url},enrichment={service.url}",
    }
    process = subprocess.Popen(  # noqa: ASYNC220 - polled, and awaited in a thread
        [sys.executable, "-m", "gateway"], stderr=subprocess.DEVNULL,
        env={**os.environ, **environment}, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{free_port}"
        await up(process, url)
        memory = psutil.Process(process.pid).memory_info
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            await client.get("/health")
            before, peak = memory().rss, 0

            async def upload():
                nonlocal peak
                for _ in range(size // len(part)):
                    yield part
                    peak = max(peak, memory().rss)

            got = await client.post("/big", content=upload(), headers=auth.bearer())
            assert got.json() == {"size": size}
            received = 0
            started = time.monotonic()
            async with client.stream("GET", "/big", headers=auth.bearer()) as streamed:
                async for piece in streamed.aiter_raw():
                    received += len(piece)
                    if time.monotonic() - started > 0.05:
                        started = time.monotonic()
                        peak = max(peak, memory().rss)
            assert received == size
        assert peak - before < 20 << 20, f"{before >> 20} MiB grew to {peak >> 20} MiB"
    finally:
        process.terminate()
        assert await asyncio.to_thread(process.wait, 10) == 0
        await service.stop()
        await auth.wire.stop()
