"""Files that come as a request's body: read part by part, bounded in size and time."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.config import Config
from shared.errors import NotFound
from shared.security import InternalTokens, Principal
from shared.serving.http_edge import Upload
from shared.serving.service import BaseAIService, Call, Endpoint

SECRET = "s" * 64
LIMIT = 3 << 20
ADMIN = Principal(UUID(int=1), "user:1", "admin", "user")


@dataclass
class Seen:
    parts: list[int] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)


async def take(call: Call[Seen]) -> dict[str, Any]:
    upload: Upload = call.body
    digest = hashlib.sha256()
    try:
        async for part in upload:
            call.state.parts.append(len(part))
            call.state.begun.set()
            digest.update(part)
    finally:
        call.state.ended.set()
    if call.request.headers.get("x-slow"):
        await asyncio.sleep(60)
    return {"sha256": digest.hexdigest(), "media": upload.media, "charset": upload.charset}


async def refuse(_call: Call[Seen]) -> None:
    raise NotFound("Nobody wants it.")


ENDPOINTS = [
    Endpoint(
        "POST", "/files", take, "users:admin", "Take", takes=("text/csv", "text/plain"),
        body_limit=LIMIT,
    ),
    Endpoint(
        "POST", "/refused", refuse, "users:admin", "Refuse", takes=("text/csv",), body_limit=LIMIT
    ),
]  # fmt: skip


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Seen, Any]]:
    config = Config.from_env(
        {"LOOMA_HOME": str(tmp_path), "INTERNAL_TOKEN_SECRET": SECRET, "SHUTDOWN_SECONDS": "1"}
    )
    seen = Seen()

    async def open_state(_service: Any, _stack: Any) -> Seen:
        return seen

    service = BaseAIService("portrait", config, endpoints=ENDPOINTS, open_state=open_state)
    token = InternalTokens(SECRET.encode()).mint(ADMIN, "portrait")
    headers = {"X-Internal-Token": token, "Content-Type": "text/csv"}
    async with (
        service.running(port=0) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client,
    ):
        yield client, seen, service.app


async def pieces(count: int, size: int = 1 << 18) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


async def raw(client: httpx.AsyncClient, rest: bytes) -> tuple[bytes, bytes]:
    """The first line of the answer, and all of it until the connection ends."""
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    token = client.headers["x-internal-token"]
    head = f"POST /files HTTP/1.1\r\nHost: x\r\nX-Internal-Token: {token}\r\nContent-Type: text/csv\r\n"
    writer.write(head.encode() + rest)
    async with asyncio.timeout(10):
        whole = await reader.read()
    writer.close()
    return whole.partition(b"\r\n")[0], whole


async def test_a_file_comes_in_parts_whether_its_length_is_known_or_not(served) -> None:
    client, seen, _ = served
    content = b"x" * LIMIT
    for sent in (content, pieces(LIMIT >> 18)):
        seen.parts.clear()
        answer = await client.post("/files", content=sent)
        assert answer.json()["data"]["sha256"] == hashlib.sha256(content).hexdigest()
        assert sum(seen.parts) == LIMIT
        assert max(seen.parts) < LIMIT
    assert (await client.post("/files", content=b"")).status_code == 200  # whoever reads it decides


async def test_its_media_type_and_charset_are_told(served) -> None:
    client, _, _ = served
    for written, media, charset in (
        ("text/csv", "text/csv", ""),
        ('Text/Plain; charset="GBK"', "text/plain", "gbk"),
    ):
        answer = await client.post("/files", content=b"x", headers={"Content-Type": written})
        data = answer.json()["data"]
        assert (data["media"], data["charset"]) == (media, charset)


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}, {"Content-Type": "csv"}],
)
async def test_another_type_or_coding_is_refused_unread(served, headers) -> None:
    client, seen, _ = served
    answer = await client.post("/files", content=b"x" * 1000, headers=headers)
    assert answer.status_code == 415
    assert seen.parts == []
    assert (await client.post("/files", content=b"x")).status_code == 200


async def test_what_is_too_large_is_refused_before_or_while_it_comes(served) -> None:
    client, seen, _ = served
    answer = await client.post("/files", content=b"x" * (LIMIT + 1))
    assert answer.status_code == 413
    assert seen.parts == []
    answer = await client.post("/files", content=pieces((LIMIT >> 18) + 1))
    assert answer.status_code == 413
    assert sum(seen.parts) <= LIMIT
    assert (await client.post("/files", content=b"x")).status_code == 200


async def test_what_is_refused_does_not_keep_the_connection_from_going_on(served) -> None:
    client, _, _ = served
    for _ in range(3):
        answer = await client.post("/refused", content=b"x" * (1 << 20))
        assert answer.status_code == 404
    assert (await client.post("/files", content=b"x")).status_code == 200


async def test_what_is_refused_and_trickles_in_is_let_go_of(served) -> None:
    """However short its pauses are: it would hold its connection for weeks."""
    client, _, app = served
    app.config.REQUEST_TIMEOUT = 0.3
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    token = client.headers["x-internal-token"]
    head = f"POST /refused HTTP/1.1\r\nHost: x\r\nX-Internal-Token: {token}\r\n"
    writer.write(f"{head}Content-Type: text/csv\r\nContent-Length: {LIMIT}\r\n\r\n".encode())

    async def trickle() -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)

    sending = asyncio.create_task(trickle())
    try:
        async with asyncio.timeout(20):
            answer = await reader.readuntil(b"\r\n\r\n")
            with suppress(ConnectionError):
                await reader.read()  # until the connection ends, one way or the other
    finally:
        sending.cancel()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_a_pause_in_it_is_408_and_ends_the_connection(served) -> None:
    client, _, app = served
    app.config.REQUEST_TIMEOUT = 0.2
    head, whole = await raw(client, b"Content-Length: 9\r\n\r\nx")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in whole.lower()


async def test_an_upload_whose_sender_goes_ends_its_handler(served) -> None:
    client, seen, _ = served

    async def breaking_off() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await seen.begun.wait()
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await client.post("/files", content=breaking_off())
    async with asyncio.timeout(10):
        await seen.ended.wait()


async def test_a_deadline_runs_from_the_end_of_the_body(served) -> None:
    client, _, _ = served

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x"
            await asyncio.sleep(0.2)

    headers = {"X-Deadline-Ms": "400"}
    assert (await client.post("/files", content=slowly(), headers=headers)).status_code == 200
    late = await client.post("/files", content=b"x", headers={**headers, "X-Slow": "1"})
    assert late.status_code == 504


async def test_bad_chunks_are_400(served) -> None:
    client, seen, _ = served
    head, _ = await raw(client, b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\nzz\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert seen.parts == [1]


async def test_it_is_described_as_a_file(served) -> None:
    client, _, _ = served
    described = (await client.get("/openapi.json")).json()["paths"]["/files"]["post"]
    content = described["requestBody"]["content"]
    assert set(content) == {"text/csv", "text/plain"}
    assert {"413", "415", "422"} <= set(described["responses"])
