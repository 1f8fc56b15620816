"""What one worker has with the others of its port: a channel, and what goes over it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from prometheus_client.metrics_core import Metric

from gateway.upstream.pool import Pools
from gateway.workers.channel import Channel, Kind
from gateway.workers.metrics import WorkerMetrics
from gateway.workers.scatter_gather import Inquiries
from gateway.workers.state_sync import EVERY_S, Gossip
from gateway.workers.worker import WorkerPlace

_FIRST_WORD_S: Final = 0.2  # at most this long does a start wait for what is known


class Siblings:
    """Open from its making on; `close` it."""

    def __init__(
        self, place: WorkerPlace, pools: Pools, metrics: Callable[[], Iterable[Metric]]
    ) -> None:
        ends = {
            number: socket.socket(fileno=descriptor)
            for number, descriptor in enumerate(place.sockets, start=1)
        }
        self.channel = Channel(place.number, ends.pop(place.number), ends)
        self.gossip = Gossip(
            place.number, pools, lambda said, to: self.channel.send(Kind.STATE, said, to)
        )
        self.inquiries = Inquiries(self.channel)
        self.metrics = WorkerMetrics(place.folder, place.number, metrics, self.inquiries)
        self._heard = asyncio.Event()
        self.channel.on(Kind.STATE, self._hear)
        self.channel.on(Kind.HELLO, self._greet)
        self.channel.start()

    @property
    def work(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """What runs beside the requests, by name."""
        return {
            "metrics for the other workers": self.metrics.write_forever,
            "news for the other workers": self._gossip_forever,
        }

    def makes_checks(self) -> bool:
        """Whether it is this worker that makes the active checks now."""
        return self.gossip.checks

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

    async def _gossip_forever(self) -> None:
        while True:
            self.gossip.repeat()
            await asyncio.sleep(EVERY_S)

    def _hear(self, sender: int, message: bytes) -> None:
        self.gossip.hear(sender, message)
        if self.gossip.informed:
            self._heard.set()

    def _greet(self, sender: int, _message: bytes) -> None:
        self.gossip.greet(sender)
