"""An upstream and a client that cost so little that what is measured is the gateway."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.gateway.wire import json_answer

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_ANSWER: Final = json_answer({"code": 0, "data": {"text": "x" * 180}, "request_id": ""})


class QuickService(asyncio.Protocol):
    """Answers everything alike and at once, but never what goes to `/hangs`."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while (end := buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(buffer, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(buffer) < size:
                return
            if b"/hangs" not in buffer[:30]:
                self._transport.write(_ANSWER)
            del buffer[:size]


@asynccontextmanager
async def quick_service() -> AsyncIterator[str]:
    """Its URL."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(QuickService, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@dataclass
class Pipeline:
    """One connection that sends requests in batches and counts the answers by status."""

    port: int
    statuses: Counter[int] = field(default_factory=Counter)
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, batch: bytes, number: int) -> None:
        """Send `number` requests and read their answers; a connection that ends is given up."""
        reader, writer = await self._connected()
        writer.write(batch)
        seen, tail = 0, b""
        while seen < number:
            try:
                data = await reader.read(65_536)
            except ConnectionError:
                data = b""
            if not data:
                self.close()
                return
            tail += data
            last = 0
            for found in _STATUS.finditer(tail):
                self.statuses[int(found[1])] += 1
                seen += 1
                last = found.end()
            # The beginning of a status line may be at the end of what has come.
            tail = tail[max(last, len(tail) - 12) :]

    async def leave(self, batch: bytes) -> None:
        """Send this and go away without reading an answer."""
        _, writer = await self._connected()
        writer.write(batch)
        await asyncio.sleep(0)
        writer.transport.abort()
        self._streams = None

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        return self._streams
