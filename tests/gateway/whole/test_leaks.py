"""A million requests of all sorts leave a gateway as it was: its memory, its series, its sockets."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.gateway.gateway_process import GatewayProcess, gateway_process
from tests.gateway.issuer import FakeAuth
from tests.gateway.quick_service import Pipeline, quick_service
from tests.gateway.wire import until

ROUTES = """
[limits]
public = ["public: address 100000/s burst 1000000"]
analyst = ["analysts: principal 100000/s burst 1000000"]

[enrichment]
routes = [
  { method = "GET", path = "/things/{id}", scope = "calls:read" },
  { method = "GET", path = "/kept/{id}", scope = "calls:read", cache = "2s" },
  { method = "GET", path = "/hangs/{id}", scope = "public" },
  { method = "GET", path = "/open/{id}", scope = "public" },
  { method = "POST", path = "/things", scope = "calls:write" },
]
[services.enrichment]
breaker = { consecutive = 1000000000, requests = 1000000000 }
outliers = { errors = false, gateway_errors = false }
health = false
"""
WARM_UP: Final = 100_000
TOTAL: Final = 1_000_000
CONNECTIONS: Final = 16
BATCH: Final = 25
CALLERS: Final = 500
ADDRESSES: Final = 2_000
BODY: Final = b'{"text": "%s"}' % (b"x" * 300)
NEAR = {"X-Forwarded-For": "127.0.0.1"}


class Mixture:
    """Endlessly different requests: batches that are answered, and those whose client goes away."""

    def __init__(self, auth: FakeAuth) -> None:
        self._numbers = itertools.count(1)
        self._tokens = itertools.cycle(
            [auth.token(sub=f"user:{uuid4()}").encode() for _ in range(CALLERS)]
        )
        self._key = auth.new_key("analyst").encode()
        self.sent = 0

    def batch(self) -> bytes:
        self.sent += BATCH
        return b"".join(itertools.islice(self._requests(), BATCH))

    def broken(self) -> Iterator[bytes]:
        """What a client may leave behind."""
        number = next(self._numbers)
        self.sent += 4
        yield b"GET /hangs/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number
        yield b"GET /things/%d HTTP/1.1\r\nHost: x\r\nX-Half: " % number
        yield self._post(number, next(self._tokens), b"")[:-100]
        yield b"GET /open/1 HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"BREW %d\n\n" % number

    def _requests(self) -> Iterator[bytes]:
        while True:
            number, token = next(self._numbers), next(self._tokens)
            known = b"Authorization: Bearer %b\r\n" % token
            match number % 20:
                case 0 | 1:
                    yield _get(b"/nowhere/%d/x%d" % (number, number % 7), known)
                case 2:
                    yield _get(b"/things/%d" % number, b"Authorization: Bearer %x.y.z\r\n" % number)
                case 3:
                    yield _get(b"/things/%d" % number, known[:-20] + b"%06d\r\n" % (number % 10**6))
                case 4:
                    yield b"DELETE /things/%d HTTP/1.1\r\nHost: x\r\n%b\r\n" % (number, known)
                case 5:
                    letters = (number // 20 // 26**place % 26 for place in range(3))
                    method = b"X" + bytes(65 + letter for letter in letters)
                    yield b"%b /things/1 HTTP/1.1\r\nHost: x\r\n%b\r\n" % (method, known)
                case 6 | 7:
                    more = b"X-Odd-%d: %d\r\nX-Request-Id: %b\r\nTraceparent: 00-%032x-%016x-01\r\n"
                    odd = more % (number, number, str(uuid4()).encode(), number, number)
                    yield _get(
                        b"/things/%d?q=%d&page=%d" % (number, number, number % 3), known + odd
                    )
                case 8:
                    address = b"X-Forwarded-For: 10.0.%d.%d\r\n" % divmod(number % ADDRESSES, 250)
                    yield _get(b"/open/%d" % number, address)
                case 9:
                    yield _get(b"/kept/%d" % number, known)
                case 10 | 11:
                    yield self._post(number, token, b"")
                case 12 if number % 100 == 12:
                    yield self._post(number, token, b"Idempotency-Key: %d\r\n" % number)
                case 13 if number % 100 == 13:
                    yield _get(b"/things/%d" % number, b"X-API-Key: looma_%032x\r\n" % number)
                case 14:
                    yield _get(b"/things/%d" % number, b"X-API-Key: %b\r\n" % self._key)
                case _:
                    yield _get(b"/things/%d" % number, known)

    def _post(self, number: int, token: bytes, more: bytes) -> bytes:
        head = b"POST /things HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n%b" % (token, more)
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def _get(target: bytes, more: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (target, more)


class Load:
    def __init__(self, mixture: Mixture, port: int) -> None:
        self._mixture = mixture
        self._port = port
        self.statuses: Counter[int] = Counter()

    async def run(self, total: int) -> None:
        """Send until the mixture has given out so many requests; all connections are closed then."""
        await asyncio.gather(*(self._client(total) for _ in range(CONNECTIONS)))

    async def _client(self, total: int) -> None:
        pipeline = Pipeline(self._port, self.statuses)
        for turn in itertools.count(1):
            if self._mixture.sent >= total:
                break
            await pipeline.send(self._mixture.batch(), BATCH)
            if turn % 40 == 0:
                pipeline.close()
                for half in self._mixture.broken():
                    await pipeline.leave(half)
        pipeline.close()


@dataclass(frozen=True)
class Held:
    """What a gateway at rest holds."""

    rss: int  # bytes
    files: int  # without connections to the service
    upstream: int  # connections to the service
    series: frozenset[str]

    def __str__(self) -> str:
        return (
            f"{self.rss / 2**20:.1f} MiB, {self.files} files, {self.upstream} connections upstream, "
            f"{len(self.series)} series"
        )


async def held(gateway: GatewayProcess, service: str) -> Held:
    process = psutil.Process(gateway.process.pid)

    def connections(url: str, *, local: bool) -> int:
        port = int(url.rpartition(":")[2])
        ends = [
            one.laddr if local else one.raddr
            for one in process.net_connections("tcp")
            if one.status != psutil.CONN_LISTEN
        ]
        return sum(end.port == port for end in ends)

    async def left_alone() -> bool:
        return connections(gateway.url, local=True) == 0

    await until(left_alone, 20)
    async with httpx.AsyncClient(base_url=gateway.url) as client:
        await client.get("/metrics", headers=NEAR)  # which has a series of its own
        page = (await client.get("/metrics", headers=NEAR)).text
    await until(left_alone, 20)
    flying = [line for line in page.splitlines() if line.startswith("gateway_upstream_in_flight{")]
    assert flying
    assert all(line.endswith(" 0.0") for line in flying), flying
    lines = (line.rpartition(" ")[0] for line in page.splitlines() if not line.startswith("#"))
    upstream = connections(service, local=False)
    return Held(process.memory_info().rss, process.num_fds() - upstream, upstream, frozenset(lines))


@pytest.mark.slow
async def test_a_million_requests_leave_nothing_behind(
    tmp_path: Path, redis_at: str, free_port: int
) -> None:
    auth = FakeAuth()
    await auth.wire.start()
    async with (
        quick_service() as service,
        gateway_process(
            tmp_path,
            free_port,
            routes=ROUTES,
            upstreams={"auth": auth.wire.url, "enrichment": service},
            REDIS_URL=redis_at,
            TRUSTED_PROXIES="127.0.0.0/8",
            METRICS_NETWORKS="127.0.0.0/8",
        ) as gateway,
    ):
        load = Load(Mixture(auth), free_port)
        await load.run(WARM_UP)
        warm = await held(gateway, service)
        await load.run(TOTAL)
        end = await held(gateway, service)
    await auth.wire.stop()
    told = f"warm: {warm}; in the end: {end}; answers: {dict(load.statuses)}"
    assert load.statuses.total() > 0.95 * TOTAL, told
    assert load.statuses.keys() == {200, 401, 404, 405}, told
    assert end.rss <= 1.05 * warm.rss + (10 << 20), told
    assert end.series == warm.series, (told, end.series ^ warm.series)
    assert end.files <= warm.files + 4, told
    assert end.upstream <= 5 * CONNECTIONS, told  # for each client, and the four that it leaves
