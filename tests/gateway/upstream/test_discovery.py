"""Instances come and go; Redis too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest

from gateway.timeouts import Timeouts
from gateway.upstream.discovery import Discovery
from shared.data_access.cache.redis import RedisCache
from shared.serving.registry import Instance, announce
from tests.conftest import redis_database
from tests.contract.proxy import proxied
from tests.gateway.conftest import platform_in
from tests.gateway.issuer import FakeAuth
from tests.gateway.wire import echo, served, until


@pytest.fixture
def registry_at(redis_at: str) -> str:
    """A database of its own: what is announced here must not reach the other tests' gateway."""
    return redis_database(redis_at, 14)


@pytest.fixture
async def cache(registry_at: str) -> AsyncIterator[RedisCache]:
    redis = RedisCache(registry_at)
    await redis.delete(*await redis.scan("registry:"))
    yield redis
    await redis.delete(*await redis.scan("registry:"))
    await redis.close()


@asynccontextmanager
async def announced(cache: RedisCache, service: str, url: str) -> AsyncIterator[None]:
    task = asyncio.create_task(announce(cache, service, url))

    async def there() -> bool:
        return url.encode() in b"".join((await cache.scan("registry:")).values())

    await until(there, 2)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def urls(discovery: Discovery, service: str) -> list[str]:
    return [instance.url for instance in discovery.of(service)]


async def test_instances_come_and_go(cache: RedisCache) -> None:
    discovery = Discovery(cache, {}, Timeouts())
    await discovery.refresh()
    assert urls(discovery, "portrait") == []
    async with announced(cache, "portrait", "http://127.0.0.1:1"):
        await discovery.refresh()
        (first,) = discovery.of("portrait")
        async with announced(cache, "portrait", "http://127.0.0.1:2"):
            await discovery.refresh()
            assert sorted(urls(discovery, "portrait")) == [
                "http://127.0.0.1:1",
                "http://127.0.0.1:2",
            ]
            assert first in discovery.of("portrait")  # with its connections
        await discovery.refresh()
        assert urls(discovery, "portrait") == ["http://127.0.0.1:1"]


async def test_who_comes_or_goes_is_known_long_before_the_registry_is_read_again(
    cache: RedisCache,
) -> None:
    discovery = Discovery(cache, {}, Timeouts(registry=3600.0))

    async def known(*wanted: str) -> None:
        async def are() -> bool:
            return urls(discovery, "portrait") == list(wanted)

        await until(are, 5)

    loops = (discovery.refresh_forever(), discovery.hear_forever())
    following = [asyncio.create_task(loop) for loop in loops]
    try:
        async with announced(cache, "portrait", "http://127.0.0.1:1"):
            await known("http://127.0.0.1:1")
            async with announced(cache, "portrait", "http://127.0.0.1:2"):
                await known("http://127.0.0.1:1", "http://127.0.0.1:2")
            await known("http://127.0.0.1:1")
    finally:
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def test_static_instances_stand_beside_registered_ones_once(cache: RedisCache) -> None:
    discovery = Discovery(cache, {"portrait": ["http://127.0.0.1:1"]}, Timeouts())
    assert urls(discovery, "portrait") == ["http://127.0.0.1:1"]
    async with (
        announced(cache, "portrait", "http://127.0.0.1:1"),
        announced(cache, "portrait", "http://127.0.0.1:2"),
    ):
        await discovery.refresh()
        assert urls(discovery, "portrait") == ["http://127.0.0.1:1", "http://127.0.0.1:2"]


async def test_a_process_that_came_back_at_its_address_counts_once(cache: RedisCache) -> None:
    discovery = Discovery(cache, {}, Timeouts())
    async with (
        announced(cache, "portrait", "http://127.0.0.1:1"),
        announced(cache, "portrait", "http://127.0.0.1:1"),
    ):
        await asyncio.sleep(0.05)
        await discovery.refresh()
        assert urls(discovery, "portrait") == ["http://127.0.0.1:1"]


async def test_of_two_processes_at_one_address_the_new_one_lives(cache: RedisCache) -> None:
    """One that was killed stands in the registry until its entry expires."""
    ids = ["50000000", "10000000", "90000000", "30000000"]  # sorted by chance, not by age
    discovery = Discovery(cache, {}, Timeouts())
    for number, name in enumerate(ids):
        entry = Instance("portrait", "http://127.0.0.1:1", name)
        await cache.set(entry.key, orjson.dumps(asdict(entry)), ttl=9)
        for _ in range(3):
            await discovery.refresh()
            assert [one.name for one in discovery.of("portrait")] == ids[number : number + 1]
    await cache.delete(f"registry:portrait:{ids[-1]}")
    await discovery.refresh()
    assert discovery.of("portrait")[0].name in ids[:-1]


async def test_a_registry_that_lost_everything_changes_nothing_at_first(cache: RedisCache) -> None:
    """A Redis that restarted is empty until the next heartbeats."""
    discovery = Discovery(cache, {}, Timeouts())
    async with announced(cache, "portrait", "http://127.0.0.1:1"):
        await discovery.refresh()
        await cache.delete(*await cache.scan("registry:"))
        await discovery.refresh()
        assert urls(discovery, "portrait") == ["http://127.0.0.1:1"]


@pytest.mark.parametrize(
    "value",
    [b"nonsense", b"[]", b"{}", b'{"service": "portrait"}', b'"text"'],
)
async def test_an_unreadable_entry_takes_nothing_away(cache: RedisCache, value: bytes) -> None:
    discovery = Discovery(cache, {}, Timeouts())
    async with announced(cache, "portrait", "http://127.0.0.1:1"):
        await discovery.refresh()
        await cache.set("registry:portrait:x", value, ttl=5)
        await discovery.refresh()
        assert urls(discovery, "portrait") == ["http://127.0.0.1:1"]
        assert discovery.registry == "up"


async def test_an_entry_that_is_no_address_is_left_out(cache: RedisCache) -> None:
    discovery = Discovery(cache, {}, Timeouts())
    for url in ("file:///etc/passwd", "http://", "gopher://x", "nonsense"):
        entry = Instance("portrait", url, "x")
        await cache.set(
            entry.key,
            b'{"service":"portrait","url":"%b","id":"x","version":"1"}' % url.encode(),
            ttl=5,
        )
        await discovery.refresh()
        assert urls(discovery, "portrait") == []
    odd = b'{"service":"portrait","url":5,"id":[],"version":"1"}'
    await cache.set("registry:portrait:x", odd, ttl=5)
    await discovery.refresh()
    assert urls(discovery, "portrait") == []


async def test_a_gateway_finds_a_service_and_lives_through_the_loss_of_redis(
    tmp_path: Path, cache: RedisCache, registry_at: str
) -> None:
    auth = FakeAuth()
    await auth.wire.start()
    try:
        async with (
            proxied(registry_at) as (url, proxy),
            served(echo) as late,
            platform_in(
                tmp_path,
                Timeouts(registry=0.2),
                REDIS_URL=url,
                GATEWAY_UPSTREAMS=f"auth={auth.wire.url}",
            ) as own,
        ):
            own.auth = auth

            async def found() -> bool:
                return (await own.get("/api/v1/periods")).status_code == 200

            async def registry_lost() -> bool:
                return (await own.client.get("/ready")).json()["checks"]["registry"] != "up"

            async def registry_back() -> bool:
                return not await registry_lost()

            assert not await found()
            async with announced(cache, "portrait", late.url):
                await until(found, 2)
                await proxy.cut()
                await until(registry_lost, 4)
                assert await found()
                assert (await own.client.get("/ready")).json()["status"] == "ready"
                await proxy.start()
                await until(registry_back, 4)
                assert await found()
    finally:
        await auth.wire.stop()
