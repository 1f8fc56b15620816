"""Open-loop load of mixed requests over a gateway: each is answered with 200, or it failed.

Requests leave when they are due, whatever became of those before, over as many connections as it
takes. What can't be connected to, breaks off, or takes longer than 20 s has failed, too: nothing is
tried again here.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import orjson

_PATIENCE_S: Final = 20.0
_MESSAGE: Final = re.compile(rb'"message": ?"([^".]*)')
_NUMBER: Final = re.compile(r"\d+")
_Made = Callable[[], bytes]


@dataclass(slots=True)
class Tally:
    """What became of the requests; `failures` say what came instead of 200, and how often:
    status and message of the error, or the exception of the connection.
    """

    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.failures.total()

    def ms(self, percentile: int) -> float:
        ordered = sorted(self.latencies) or [0.0]
        return round(1e3 * ordered[len(ordered) * percentile // 100], 1)


class Mix:
    """Requests of one user's calls: single ones, pages, portraits, and keyed writes."""

    def __init__(self, port: int, token: str, user: str, calls: list[str]) -> None:
        self._head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n"
        self._user = user
        self._calls = calls
        self._random = random.Random(5)

    def any(self) -> bytes:
        """40% single calls, 20% pages, 20% portraits, 20% writes."""
        kinds: list[_Made] = [self.call, self.call, self.page, self.portrait, self.write]
        return self._random.choice(kinds)()

    def call(self) -> bytes:
        return self._get(f"/api/v1/calls/{self._random.choice(self._calls)}")

    def page(self) -> bytes:
        return self._get(f"/api/v1/calls?user_id={self._user}&limit=20")

    def portrait(self) -> bytes:
        return self._get(f"/api/v1/portrait/{self._user}?period_type=month")

    def write(self) -> bytes:
        body = orjson.dumps({"records": [record(f"w-{uuid4().hex}", f"{self._user}-writes", 1)]})
        return (
            f"POST /api/v1/calls HTTP/1.1\r\n{self._head}Idempotency-Key: {uuid4()}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    def _get(self, target: str) -> bytes:
        return f"GET {target} HTTP/1.1\r\n{self._head}\r\n".encode()


def record(callid: str, user: str, number: int) -> dict[str, object]:
    """A call as POST /api/v1/calls takes it."""
    return {
        "callid": callid,
        "user_id": user,
        "agent_id": f"{user}-{number % 5}",
        "customer_id": f"c-{number % 97}",
        "started_at": f"2025-{number % 12 + 1:02}-{number % 28 + 1:02}T10:{number % 60:02}:00+08:00",
        "duration_ms": 1000 * (number % 300 + 1),
        "call_status": "connected",
        "level_name": "ABCDEF"[number % 6],
        "hangup_by": number % 2 + 1,
    }


@asynccontextmanager
async def load(port: int, rate: float, made: _Made) -> AsyncIterator[Tally]:
    """`rate` requests a second inside the block; at its end those under way are waited for."""
    tally, idle, running = Tally(), list[_Connection](), set[asyncio.Task[None]]()
    clock = asyncio.create_task(_send(port, rate, made, tally, idle, running))
    try:
        yield tally
    finally:
        clock.cancel()
        await asyncio.gather(clock, *running, return_exceptions=True)
        for connection in idle:
            connection.close()


async def _send(
    port: int,
    rate: float,
    made: _Made,
    tally: Tally,
    idle: list[_Connection],
    running: set[asyncio.Task[None]],
) -> None:
    due = time.perf_counter()
    while True:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(_one(port, made(), tally, idle))
        running.add(task)
        task.add_done_callback(running.discard)
        due += 1.0 / rate


async def _one(port: int, request: bytes, tally: Tally, idle: list[_Connection]) -> None:
    began = time.perf_counter()
    connection = idle.pop() if idle else _Connection()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            status, body = await connection.ask(port, request)
    except (OSError, EOFError, ValueError) as error:  # a TimeoutError is an OSError
        connection.close()
        tally.failures[type(error).__name__] += 1
        return
    idle.append(connection)
    if status == 200:
        tally.latencies.append(time.perf_counter() - began)
    else:
        tally.failures[f"{status} {_message(body)}".rstrip()] += 1


def _message(body: bytes) -> str:
    """What an error's body says first, without its numbers; empty for another body."""
    found = _MESSAGE.search(body)
    return _NUMBER.sub("N", found[1].decode()) if found else ""


class _Connection:
    """One connection that is kept, one request at a time."""

    def __init__(self) -> None:
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, port: int, request: bytes) -> tuple[int, bytes]:
        """Status and body, once the answer has come as a whole; no body if it came in chunks."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = self._streams
        writer.write(request)
        head, body = (await reader.readuntil(b"\r\n\r\n")).lower(), b""
        if b"transfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        else:
            length = head.partition(b"content-length:")[2].partition(b"\r")[0]
            body = await reader.readexactly(int(length))
        return int(head.split(b" ", 2)[1]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
