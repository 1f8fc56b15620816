"""The other workers of a port: the channel to them, and what goes over it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import Metric

from gateway.upstream.pool import Pools
from gateway.workers.channel import Channel, Kind
from gateway.workers.metrics import WorkerMetrics
from gateway.workers.scatter_gather import ScatterGather
from gateway.workers.state_sync import EVERY_S, StateSync
from gateway.workers.worker import WorkerPlace

_FIRST_WORD_S: Final = 0.2  # at most this long does a start wait for what is known


class Peers:
    """Open from its making on; `close` it."""

    def __init__(
        self, place: WorkerPlace, pools: Pools, metrics: Callable[[], Iterable[Metric]]
    ) -> None:
        ends = {
            number: socket.socket(fileno=descriptor)
            for number, descriptor in enumerate(place.sockets, start=1)
        }
        self.channel = Channel(place.number, ends.pop(place.number), ends)
        self.sync = StateSync(
            place.number, pools, lambda said, to: self.channel.send(Kind.STATE, said, to)
        )
        self.others = ScatterGather(self.channel)
        self.metrics = WorkerMetrics(place.folder, place.number, metrics, self.others)
        self._heard = asyncio.Event()
        pools.on_change(self.sync.noticed)
        self.channel.on(Kind.STATE, self._hear)
        self.channel.on(Kind.HELLO, self._greet)
        self.channel.start()

    @property
    def work(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What runs beside the requests, by name."""
        return {
            "metrics for the other workers": self.metrics.write_forever,
            "news for the other workers": self._repeat_forever,
        }

    def makes_checks(self) -> bool:
        """Whether it is this worker that makes the active checks now."""
        return self.sync.checks

    def close(self) -> None:
        self.metrics.write()
        self.channel.close()

    async def learn(self) -> None:
        """Ask what is known, and wait a moment for the first who says it."""
        self.channel.send(Kind.HELLO, b"")
        try:
            async with asyncio.timeout(_FIRST_WORD_S):
                await self._heard.wait()
        except TimeoutError:
            pass  # nobody is there, as when all start together; more is heard every second

    async def _repeat_forever(self) -> None:
        while True:
            self.sync.repeat()
            await asyncio.sleep(EVERY_S)

    def _hear(self, sender: int, message: bytes) -> None:
        self.sync.hear(sender, message)
        if self.sync.informed:
            self._heard.set()

    def _greet(self, sender: int, _message: bytes) -> None:
        self.sync.greet(sender)
