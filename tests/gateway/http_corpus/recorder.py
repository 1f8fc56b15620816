"""A service that keeps the very bytes that it gets, and reads them by the RFC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.gateway.http_corpus.reference import Incomplete, Refused, Request, request_at
from tests.gateway.wire import json_answer

# What must never come from a client as it was, whatever it was called there.
ENDS_HERE = frozenset(
    {
        "authorization", "connection", "cookie", "expect", "forwarded", "http2-settings",
        "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te",
        "trailer", "upgrade", "x-api-key",
    }
)  # fmt: skip
ONCE = (
    "host", "x-internal-token", "x-request-id", "x-client-address", "x-forwarded-for",
    "x-forwarded-proto", "traceparent",
)  # fmt: skip


@dataclass
class Recorder:
    """Requests in the order of their ends; `wrong` is what no gateway may send."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def clear(self) -> None:
        self.requests.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        try:
            while part := await reader.read(1 << 18):
                data += part
                while data:
                    try:
                        request, end = request_at(data, 0, limited=False)
                    except Incomplete:
                        break
                    data = data[end:]
                    if request.target != "/health":  # asked by the gateway itself
                        self._check(request)
                        self.requests.append(request)
                    writer.write(_said(request))
        except Refused as reason:
            self.wrong.append(f"{reason}: {data!r}")
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _check(self, request: Request) -> None:
        """What holds for every request that the gateway sends."""
        names = [name for name, _ in request.fields]
        for name in ONCE:
            if names.count(name) != 1:
                self.wrong.append(f"{name} {names.count(name)} times: {request}")
        if bad := [name for name in names if name in ENDS_HERE or "_" in name]:
            self.wrong.append(f"{bad} passed: {request}")
        if request.version != "HTTP/1.1" or not request.target.startswith("/"):
            self.wrong.append(f"request line: {request}")
        if request.trailers:
            self.wrong.append(f"trailers passed: {request}")
        if request.values("host") != [self.url.removeprefix("http://").encode()]:
            self.wrong.append(f"host: {request}")


def _said(request: Request) -> bytes:
    said = {"method": request.method, "target": request.target, "size": len(request.body)}
    return json_answer(said)


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        await recorder.serve(reader, writer)
        writers.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    recorder.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield recorder
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await server.wait_closed()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> dict[str, Any]:
        said = orjson.loads(self.body)
        assert isinstance(said, dict)
        return said


def answers_in(data: bytes, *, first_is_head: bool = False) -> list[Answer]:
    """All answers of one connection; fails if they aren't whole and nothing else."""
    found: list[Answer] = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, f"an answer without end: {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        pairs = tuple((name.lower(), value) for name, value in (x.split(": ", 1) for x in lines))
        answer = Answer(int(status), pairs, b"")
        if answer.status == 100:
            found.append(answer)
            continue
        body = b""
        if first_is_head and not found:
            pass
        elif answer.header("transfer-encoding") == "chunked":
            while True:
                size, _, data = data.partition(b"\r\n")
                body, rest = body + data[: int(size, 16)], data[int(size, 16) :]
                assert rest.startswith(b"\r\n")
                data = rest[2:]
                if int(size, 16) == 0:
                    break
        elif length := answer.header("content-length"):
            assert len(data) >= int(length), "an answer that is cut off"
            body, data = data[: int(length)], data[int(length) :]
        found.append(Answer(answer.status, pairs, body))
    return found
