"""Services are replaced one replica after the other, under load: no client may notice."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from gateway.app import create_gateway
from gateway.timeouts import Timeouts
from gateway.upstream.policy import ServicePolicy
from shared.config import process_environment
from shared.data_access.cache.redis import RedisCache
from shared.serving.registry import instances
from tests.conftest import redis_database
from tests.gateway.conftest import SECRET, gateway_config
from tests.gateway.issuer import FakeAuth
from tests.gateway.replica import EVENTS, create_replica
from tests.gateway.whole.test_resilience import metric
from tests.gateway.wire import until
from tests.ports import free_port

ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/it/{id}", scope = "public", timeout = 10 },
  { method = "POST", path = "/it/{id}", scope = "public", timeout = 10 },
  { method = "GET", path = "/events/{id}", scope = "public", stream = true },
]
[services.enrichment]
slow_start = { window_s = 0 }
health = { interval_s = 0.1 }
"""
TEXT = "x" * 20_000
_KNOWN = r'gateway_upstream_instances\{service="enrichment"\}'

Serve = Callable[[], AbstractAsyncContextManager[None]]


@dataclass
class Load:
    """What clients do at the same time until they are told to stop, and how often it went well."""

    client: httpx.AsyncClient
    done: asyncio.Event = field(default_factory=asyncio.Event)
    seen: Counter[str] = field(default_factory=Counter)

    async def get(self) -> None:
        await self._count("get", await self.client.get(f"/it/{uuid4()}"))

    async def post(self) -> None:
        got = await self.client.post(f"/it/{uuid4()}", json={"text": TEXT})
        await self._count("post", got)
        assert got.json()["data"] == len(TEXT)

    async def post_with_key(self) -> None:
        key = {"Idempotency-Key": str(uuid4())}
        got = await self.client.post(f"/it/{uuid4()}", json={"text": TEXT}, headers=key)
        await self._count("post with key", got)

    async def stream(self) -> None:
        async with self.client.stream("GET", f"/events/{uuid4()}") as got:
            text = "".join([part async for part in got.aiter_text()])
            await self._count("stream", got)
        assert text == "".join(f"data: {number}\n\n" for number in range(EVENTS))

    async def _count(self, kind: str, got: httpx.Response) -> None:
        if got.status_code != 200:
            raise AssertionError(f"{kind}: {got.status_code} {(await got.aread())!r}")
        self.seen[kind] += 1

    async def keep(self, doing: Callable[[], Awaitable[None]]) -> None:
        while not self.done.is_set():
            await doing()


@pytest.fixture
async def registry(redis_at: str) -> AsyncIterator[str]:
    """A registry of these tests alone."""
    url = redis_database(redis_at, 12)
    cache = RedisCache(url)
    await cache.delete(*await cache.scan("registry:"))
    yield url
    assert await instances(cache) == {}  # whoever stopped has withdrawn
    await cache.close()


@pytest.mark.parametrize("delay", [0.0, 0.4])
async def test_replicas_are_replaced_without_a_failed_request(
    tmp_path: Path, registry: str, delay: float
) -> None:
    config = gateway_config(tmp_path, REDIS_URL=registry, DRAIN_DELAY_SECONDS=str(delay))

    @asynccontextmanager
    async def here() -> AsyncIterator[None]:
        async with create_replica(config).running(port=0):
            yield

    await rolling_restarts(tmp_path, registry, here, 2, plain_posts=delay > 0)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 0.6])
async def test_twenty_replaced_processes_fail_no_request(
    tmp_path: Path, registry: str, delay: float
) -> None:
    @asynccontextmanager
    async def process() -> AsyncIterator[None]:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.gateway.replica"),
            cwd=Path(__file__).parents[3],
            env=process_environment(
                LOOMA_HOME=str(tmp_path),
                INTERNAL_TOKEN_SECRET=SECRET,
                REDIS_URL=registry,
                ENRICHMENT_PORT=str(free_port()),
                DRAIN_DELAY_SECONDS=str(delay),
                SHUTDOWN_SECONDS="5",
                LOG_LEVEL="error",
            ),
        )
        try:
            yield
        finally:
            running.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running.wait(), 20) == 0

    await rolling_restarts(tmp_path, registry, process, 20, plain_posts=delay > 0)


async def rolling_restarts(
    home: Path, registry: str, serve: Serve, times: int, *, plain_posts: bool
) -> None:
    """Two replicas are replaced in turns, each once the gateway knows both.

    `plain_posts`: also send what may not be repeated, which takes a notice before a replica stops.
    """
    (home / "routes.toml").write_text(ROUTES)
    auth = FakeAuth()
    await auth.wire.start()
    config = gateway_config(
        home,
        REDIS_URL=registry,
        GATEWAY_UPSTREAMS=f"auth={auth.wire.url}",
        GATEWAY_ROUTES=str(home / "routes.toml"),
    )
    # The registry is read as much more often than by default as these restarts are quicker.
    timeouts = Timeouts(connect=0.5, registry=0.1)
    try:
        async with (
            create_gateway(config, timeouts, ServicePolicy()).running(port=0) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as client,
        ):
            load = Load(client)
            await under_load(load, serve, times, plain_posts=plain_posts)
    finally:
        await auth.wire.stop()


async def under_load(load: Load, serve: Serve, times: int, *, plain_posts: bool) -> None:
    async def known(number: int) -> None:
        async def so_many() -> bool:
            return await metric(load.client, _KNOWN) == number

        await until(so_many, 20)

    async def some_of_each() -> None:
        """However slow this machine is, work goes on between two restarts."""
        before = load.seen.copy()

        async def done() -> bool:
            return all(load.seen[one] >= before[one] + 3 for one in wanted)

        await until(done, 20)

    kinds = [load.get, load.get, load.post_with_key, *[load.stream] * 6]
    if plain_posts:
        kinds += [load.post, load.post]
    wanted = {"get", "post with key", "stream", *(["post"] if plain_posts else [])}
    replicas = [Replica(serve), Replica(serve)]
    await asyncio.gather(*(replica.start() for replica in replicas))
    try:
        await known(2)
        async with asyncio.TaskGroup() as clients:
            for kind in kinds:
                clients.create_task(load.keep(kind))
            for turn in range(times):
                await some_of_each()
                replica = replicas[turn % 2]
                await replica.stop()
                await known(1)
                await replica.start()
                await known(2)
            await some_of_each()
            load.done.set()
    finally:
        await asyncio.gather(*(replica.stop() for replica in replicas))


class Replica:
    """Serves between `start` and `stop`, in a task of its own."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._stopping.clear()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._stopping.set()
        assert self._task is not None
        await self._task

    async def _run(self) -> None:
        async with self._serve():
            await self._stopping.wait()
