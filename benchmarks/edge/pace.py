"""Open-loop load: requests leave when they are due, however slow the answers are.

wrk waits for an answer before it asks again, so a proxy that stalls is asked less often and its
stall counted once. Here arrivals are a Poisson process of a fixed rate; a latency runs from the
moment when its request was due, the wait for a free connection included.

On a machine that others use, too, a core stands still for milliseconds at a time (see
edge/stalls.py), and one of ten in a second is a p99 of ten. `calmest` tells what a proxy does from
what its machine does.
"""

from __future__ import annotations

import gc
import random
import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Self

from benchmarks.edge.host import NotMeasured
from benchmarks.edge.stalls import Stalls

_LATE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Paced:
    """What a run at a fixed rate found."""

    latencies: list[float]  # seconds
    seconds: float
    stalled_s: float | None  # how long the cores stood still meanwhile, added up, where known

    @classmethod
    def joined(cls, runs: Sequence[Self]) -> Self:
        stalls = [run.stalled_s for run in runs if run.stalled_s is not None]
        return cls(
            latencies=[latency for run in runs for latency in run.latencies],
            seconds=sum(run.seconds for run in runs),
            stalled_s=sum(stalls) if len(stalls) == len(runs) else None,
        )

    @property
    def rps(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def stalled_ms_per_s(self) -> float | None:
        return None if self.stalled_s is None else round(1e3 * self.stalled_s / self.seconds, 1)

    def ms(self, percentile: int) -> float:
        ordered = sorted(self.latencies)
        return ordered[len(ordered) * percentile // 100] * 1e3


def calm(runs: Sequence[Paced], count: int) -> bool:
    """Whether there are `count` runs in which no core stood still."""
    return sum(run.stalled_s == 0 for run in runs) >= count


def calmest(runs: Sequence[Paced], count: int) -> Paced:
    """The `count` runs in which the cores stood still least, as one, whatever their latencies.

    All of them where nobody knows: then the machine's part can't be told from the proxy's.
    """
    known = [(run.stalled_s, run) for run in runs if run.stalled_s is not None]
    if len(known) < len(runs):
        return Paced.joined(runs)
    return Paced.joined([run for _, run in sorted(known, key=itemgetter(0))[:count]])


class _Client:
    """One connection, one request at a time."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_LATE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.due = 0.0

    def fileno(self) -> int:
        return self.socket.fileno()

    def ask(self, request: bytes, due: float) -> None:
        self.due = due
        self._received = b""
        self.socket.sendall(request)

    def answered(self) -> bool:
        """Take what has come; whether the answer is whole."""
        data = self.socket.recv(65536)
        if not data:
            raise NotMeasured("the connection was closed under load")
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        if not blank:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            line = head.partition(b"\r")[0].decode("latin-1")
            raise NotMeasured(f"a paced request was answered {line}")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r")[0]
        return len(body) >= int(length)


def pace(
    port: int,
    requests: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    stalls: Stalls,
    connections: int = 64,
    seed: int = 7,
) -> Paced:
    """Any of `requests` at `rate` per second for `seconds`; NotMeasured if the server can't follow.

    Connections are opened, and each has asked once, before the clock starts. The same `seed` means
    the same arrivals and the same draws.
    """
    clients = [_Client(port) for _ in range(connections)]
    collecting = gc.isenabled()
    gc.disable()
    try:
        for client in clients:
            client.ask(requests[0], 0.0)
            while not client.answered():
                pass
        return _drive(clients, requests, rate, seconds, stalls, seed)
    finally:
        if collecting:
            gc.enable()
        for client in clients:
            client.socket.close()


def visit(port: int, requests: Iterable[bytes], connections: int = 64) -> None:
    """Send each of `requests` once, as fast as they are answered."""
    idle = [_Client(port) for _ in range(connections)]
    busy = set[_Client]()

    def wait() -> None:
        found = select.select(busy, (), (), _LATE_S)[0]
        if not found:
            raise NotMeasured(f"{len(busy)} requests unanswered after {_LATE_S:g} s")
        for client in found:
            if client.answered():
                busy.discard(client)
                idle.append(client)

    for request in requests:
        while not idle:
            wait()
        client = idle.pop()
        client.ask(request, 0.0)
        busy.add(client)
    while busy:
        wait()
    for client in idle:
        client.socket.close()


def _drive(
    clients: list[_Client],
    requests: Sequence[bytes],
    rate: float,
    seconds: float,
    stalls: Stalls,
    seed: int,
) -> Paced:
    gaps, draws = random.Random(seed), random.Random(seed)
    idle, busy = list(clients), set[_Client]()
    waiting: deque[float] = deque()
    latencies: list[float] = []
    begun = now = time.perf_counter()
    due, end = begun, begun + seconds
    while now < end or busy or waiting:
        while due <= now and due < end:
            waiting.append(due)
            due += gaps.expovariate(rate)
        while waiting and idle:
            client = idle.pop()
            client.ask(draws.choice(requests), waiting.popleft())
            busy.add(client)
        pause = max(0.0, (min(end, due)) - time.perf_counter())
        # select, unlike epoll here, waits with a precision of microseconds.
        for client in select.select(busy, (), (), pause if now < end else 1.0)[0]:
            if client.answered():
                latencies.append(time.perf_counter() - client.due)
                busy.discard(client)
                idle.append(client)
        now = time.perf_counter()
        if now > end + _LATE_S:
            raise NotMeasured(f"{len(busy) + len(waiting)} requests unanswered at {rate:.0f}/s")
    if not latencies:
        raise NotMeasured("nothing was answered")
    return Paced(latencies, now - begun, stalls.within(begun, now))
