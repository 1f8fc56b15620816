"""Processes announce themselves, withdraw, and are forgotten when they go quiet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from shared.data_access.cache.redis import RedisCache
from shared.serving.registry import Instance, announce, instances


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[RedisCache]:
    opened = RedisCache(redis_url)
    yield opened
    await opened.close()


async def found(cache: RedisCache, service: str) -> list[str]:
    return [instance.url for instance in (await instances(cache)).get(service, ())]


async def test_an_announced_process_is_found_until_it_withdraws(cache: RedisCache) -> None:
    one = asyncio.create_task(announce(cache, "portrait", "http://127.0.0.1:1"))
    two = asyncio.create_task(announce(cache, "portrait", "http://127.0.0.1:2"))
    await asyncio.sleep(0.1)
    assert sorted(await found(cache, "portrait")) == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    one.cancel()
    with suppress(asyncio.CancelledError):
        await one
    assert await found(cache, "portrait") == ["http://127.0.0.1:2"]
    two.cancel()
    await asyncio.gather(two, return_exceptions=True)


async def test_a_quiet_process_is_forgotten(cache: RedisCache) -> None:
    silent = Instance("portrait", "http://127.0.0.1:3", "silent")
    await cache.set(
        silent.key, b'{"service":"portrait","url":"http://127.0.0.1:3","id":"silent"}', ttl=0.2
    )
    assert await found(cache, "portrait") == ["http://127.0.0.1:3"]
    await asyncio.sleep(0.3)
    assert await found(cache, "portrait") == []


async def test_one_unreadable_entry_hides_no_other(cache: RedisCache) -> None:
    good = Instance("portrait", "http://127.0.0.1:4", "good")
    await cache.set("registry:portrait:bad", b"\xff not json", ttl=5)
    await cache.set("registry:portrait:odd", b'{"service":"portrait","colour":1}', ttl=5)
    await cache.set(
        good.key, b'{"service":"portrait","url":"http://127.0.0.1:4","id":"good"}', ttl=5
    )
    assert await found(cache, "portrait") == ["http://127.0.0.1:4"]
    await cache.delete(good.key, "registry:portrait:bad", "registry:portrait:odd")


async def test_a_redis_that_is_away_does_not_end_the_heartbeat() -> None:
    away = RedisCache("redis://127.0.0.1:9/0")
    heartbeat = asyncio.create_task(announce(away, "portrait", "http://127.0.0.1:5"))
    await asyncio.sleep(0.2)
    assert not heartbeat.done()
    heartbeat.cancel()
    await asyncio.gather(heartbeat, return_exceptions=True)
    await away.close()
