"""The service behind every proxy: ready-made answers, no framework.

`python -m benchmarks.rivals.upstream PORT JWKS_FILE`. Any path is answered with 230 bytes of JSON
but `…/1kb`, `…/64kb`, `…/1mb`, `…/stream` (an event stream that stays open), `/broadcast` (an
event to every open stream, answered with their number), and the two of the auth service that a
gateway asks for: its keys and its revocations.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import orjson
import uvloop

from benchmarks.rivals.answer import SMALL, filled

SIZES: Final = {"1kb": 1 << 10, "64kb": 64 << 10, "1mb": 1 << 20}
EVENT: Final = b"data: here\n\n"
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
_CHUNK: Final = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)
_LENGTH: Final = b"\r\ncontent-length:"


def answer(body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Answers:
    """What is answered to which path, and who listens to the event stream."""

    def __init__(self, jwks: bytes) -> None:
        self.small = answer(SMALL)
        self.sized = {name.encode(): answer(filled(size)) for name, size in SIZES.items()}
        self.keys = answer(jwks)
        self.streams: set[asyncio.Transport] = set()

    def of(self, path: bytes, transport: asyncio.Transport) -> bytes:
        sized = self.sized.get(path.rpartition(b"/")[2])
        if sized is not None:
            return sized
        if path.endswith(b"/stream"):
            self.streams.add(transport)
            return _STREAM_HEAD + _CHUNK
        if path == b"/broadcast":
            for stream in self.streams:
                stream.write(_CHUNK)
            return answer(b"%d" % len(self.streams))
        if path == b"/.well-known/jwks.json":
            return self.keys
        if path.startswith(b"/internal/v1/revocations"):
            page: dict[str, Any] = {
                "items": [],
                "next_cursor": None,
                "as_of": datetime.now(UTC).isoformat(),
            }
            return answer(orjson.dumps({"code": 0, "data": page}))
        return self.small


class Upstream(asyncio.Protocol):
    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._transport: asyncio.Transport
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._answers.streams.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        while data:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                break
            end += 4
            if not data.startswith(b"GET "):
                end += _length(data[:end])
                if len(data) < end:
                    break
            path = data[data.index(b" ") + 1 :].partition(b" ")[0]
            self._transport.write(self._answers.of(path, self._transport))
            data = data[end:]
        self._rest = data


def _length(head: bytes) -> int:
    """Content-Length; no client of this server sends chunks."""
    found = head.lower().partition(_LENGTH)[2]
    return int(found.partition(b"\r")[0]) if found else 0


async def _serve(port: int, answers: Answers) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(answers), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), Answers(Path(sys.argv[2]).read_bytes())))
