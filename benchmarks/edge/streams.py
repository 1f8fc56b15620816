"""Many event streams at once: what each costs in memory while nothing happens on it."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, cast

import uvloop

from benchmarks.edge.host import NotMeasured
from benchmarks.rivals.upstream import EVENT

_STATUS: Final = b"HTTP/1.1 200 "
_AT_ONCE: Final = 200
_SETTLE_S: Final = 2.0
_OPEN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Streams:
    """`resident_bytes` with none open and with all; seconds until each got the same event."""

    count: int
    before: int
    during: int
    opened_s: float
    delivered_s: float


class _Crowd:
    """The clients together: how many got how many events."""

    def __init__(self) -> None:
        self._events = 0
        self._wanted = 0
        self._trouble = ""
        self._news = asyncio.Event()

    def heard(self, events: int) -> None:
        self._events += events
        if self._events >= self._wanted:
            self._news.set()

    def lost(self, trouble: str) -> None:
        self._trouble = self._trouble or trouble
        self._news.set()

    async def reach(self, events: int, seconds: float) -> None:
        """Until so many events came in all; NotMeasured when a stream ends or time runs out."""
        self._wanted = events
        self._news.clear()
        if self._events < events and not self._trouble:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)
        if self._trouble or self._events < events:
            raise NotMeasured(
                f"{self._events} of {events} events came: {self._trouble or f'{seconds:g} s passed'}"
            )


class _Stream(asyncio.Protocol):
    def __init__(self, crowd: _Crowd, request: bytes) -> None:
        self._crowd = crowd
        self._request = request
        self._rest = b""
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._begun and len(data) >= len(_STATUS):
            self._begun = True
            if not data.startswith(_STATUS):
                line = data.partition(b"\r")[0].decode("latin-1")
                self._crowd.lost(f"a stream was answered {line}")
        self._crowd.heard(data.count(EVENT))
        self._rest = data[data.rfind(EVENT) + len(EVENT) :] if EVENT in data else data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._crowd.lost("a stream was cut")


def hold(
    port: int, request: bytes, count: int, resident: Callable[[], int], broadcast: str
) -> Streams:
    """Open `count` streams, look at the proxy's memory, let one event go to all of them.

    `broadcast` is the upstream's URL that sends it. NotMeasured if a stream doesn't get it.
    """
    return uvloop.run(_hold(port, request, count, resident, broadcast))


async def _hold(
    port: int, request: bytes, count: int, resident: Callable[[], int], broadcast: str
) -> Streams:
    loop = asyncio.get_running_loop()
    crowd = _Crowd()
    before, begun = resident(), time.perf_counter()
    transports: list[asyncio.BaseTransport] = []
    try:
        for start in range(0, count, _AT_ONCE):
            wanted = min(_AT_ONCE, count - start)
            opened = await asyncio.gather(
                *(
                    loop.create_connection(lambda: _Stream(crowd, request), "127.0.0.1", port)
                    for _ in range(wanted)
                )
            )
            transports += [transport for transport, _ in opened]
            await crowd.reach(start + wanted, _OPEN_S)
        opened_s = time.perf_counter() - begun
        await asyncio.sleep(_SETTLE_S)
        during = resident()
        asked = time.perf_counter()
        told = int(await asyncio.to_thread(_read, broadcast))
        if told != count:
            raise NotMeasured(f"the upstream has {told} of {count} streams")
        await crowd.reach(2 * count, _OPEN_S)
        return Streams(count, before, during, opened_s, time.perf_counter() - asked)
    finally:
        for transport in transports:
            transport.close()


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_OPEN_S) as answer:
        body: bytes = answer.read()
    return body
