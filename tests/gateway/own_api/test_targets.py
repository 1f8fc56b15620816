"""What Prometheus is told of whom to scrape, and who else may read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.own_api.targets import Targets
from gateway.timeouts import Timeouts
from gateway.upstream.discovery import Discovery
from shared.data_access.cache.redis import RedisCache
from shared.serving.registry import announce
from tests.conftest import redis_database
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.wire import until

FAR = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
async def cache(redis_server: str) -> AsyncIterator[RedisCache]:
    """A registry of its own."""
    redis = RedisCache(redis_database(redis_server, 12))
    await redis.delete(*await redis.scan("registry:"))
    yield redis
    await redis.delete(*await redis.scan("registry:"))
    await redis.close()


def group(target: str, service: str, version: str = "1", **more: str) -> dict[str, Any]:
    return {"targets": [target], "labels": {"service": service, "version": version, **more}}


async def announced(cache: RedisCache, *places: tuple[str, str, str]) -> list[asyncio.Task[None]]:
    """Stand in the registry as (service, url, version)."""
    tasks = [
        asyncio.create_task(announce(cache, service, url, version, f"{url}:{number}"))
        for number, (service, url, version) in enumerate(places)
    ]

    async def there() -> bool:
        return len(await cache.scan("registry:")) == len(places)

    await until(there, 2)
    return tasks


async def gone(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_every_instance_is_told_with_its_service_and_version(cache: RedisCache) -> None:
    static = {"auth": ["https://user:secret@auth.internal#3"]}
    discovery = Discovery(cache, static, Timeouts())
    tasks = await announced(
        cache,
        ("portrait", "http://10.0.0.1:8215", "1"),
        ("portrait", "http://10.0.0.2:8215", "2"),
        ("gateway", "http://10.0.0.9:8206", "1"),
        ("gateway", "http://10.0.0.9:8206", "1"),  # another worker of the same port
    )
    await discovery.refresh()
    assert Targets(discovery).groups() == [
        group("auth.internal", "auth", "3", __scheme__="https"),
        group("10.0.0.9:8206", "gateway"),
        group("10.0.0.1:8215", "portrait"),
        group("10.0.0.2:8215", "portrait", "2"),
    ]
    for task in tasks:
        await gone(task)


async def test_an_instance_that_leaves_is_told_no_more(cache: RedisCache) -> None:
    discovery = Discovery(cache, {}, Timeouts())
    first, second = await announced(
        cache, ("portrait", "http://10.0.0.1:1", "1"), ("portrait", "http://10.0.0.2:1", "1")
    )
    await discovery.refresh()
    assert len(Targets(discovery).groups()) == 2
    await gone(first)
    await discovery.refresh()
    assert Targets(discovery).groups() == [group("10.0.0.2:1", "portrait")]
    await gone(second)


async def test_without_redis_the_last_known_instances_stay(cache: RedisCache) -> None:
    away = RedisCache("redis://127.0.0.1:1")
    discovery = Discovery(away, {"auth": ["http://10.0.0.1:1"]}, Timeouts())
    await discovery.refresh()
    assert Targets(discovery).groups() == [group("10.0.0.1:1", "auth")]
    await away.close()


async def test_scrapers_may_read_it_and_nobody_else(platform: Platform) -> None:
    got = await platform.client.get("/internal/targets")
    assert (got.status_code, got.headers["content-type"]) == (200, "application/json")
    told = {one["labels"]["service"]: one["targets"] for one in got.json()}
    assert told["enrichment"] == [platform.enrichment.url.removeprefix("http://")]
    assert (await platform.client.get("/internal/targets", headers=FAR)).status_code == 403
    for role, status in (("analyst", 403), ("admin", 200)):
        headers = {**FAR, **platform.auth.bearer(role)}
        got = await platform.client.get("/internal/targets", headers=headers)
        assert got.status_code == status


async def test_listed_networks_may_read_it(tmp_path: Path, redis_at: str) -> None:
    for networks, status in (("10.0.3.0/24", 403), ("127.0.0.0/8", 200)):
        async with platform_in(tmp_path, REDIS_URL=redis_at, METRICS_NETWORKS=networks) as running:
            assert (await running.client.get("/internal/targets")).status_code == status
