"""What one gateway of several allows by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from socket import gethostname
from uuid import uuid4

import orjson
import pytest

from gateway.limits.replicas import Replicas
from shared.data_access.cache.redis import RedisCache
from shared.serving.registry import instances
from tests.conftest import redis_database
from tests.contract.proxy import Proxy, proxied
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.fake_time import FakeClock
from tests.gateway.wire import until

ROUTES = """
[enrichment]
routes = [ { method = "GET", path = "/tight", scope = "calls:read", limits = ["principal 12/h"] } ]
"""
OWN = f"{gethostname()}:8206:0"


@pytest.fixture
async def own_redis(redis_server: str) -> AsyncIterator[str]:
    """A database in which only the gateway of the test announces itself."""
    url = redis_database(redis_server, 12)
    cache = RedisCache(url)
    await cache.delete(*await cache.scan("registry:"))
    yield url
    await cache.delete(*await cache.scan("registry:"))
    await cache.close()


@asynccontextmanager
async def gateway_at(
    home: Path, redis_at: str, **settings: str
) -> AsyncIterator[tuple[Platform, Proxy]]:
    (home / "routes.toml").write_text(ROUTES)
    routes = str(home / "routes.toml")
    async with (
        proxied(redis_at) as (url, proxy),
        platform_in(home, REDIS_URL=url, GATEWAY_ROUTES=routes, **settings) as own,
    ):
        yield own, proxy


async def allowed(own: Platform) -> int:
    """How many requests of one caller pass before one is refused."""
    headers = own.auth.bearer(sub=f"user:{uuid4()}")
    for number in range(20):
        status = (await own.client.get("/tight", headers=headers)).status_code
        if status == 429:
            return number
        assert status == 200
    raise AssertionError("nothing is limited")


async def degraded(own: Platform) -> bool:
    await own.client.get("/tight", headers=own.auth.bearer(sub=f"user:{uuid4()}"))
    return "rate_limit_degraded 1.0" in (await own.client.get("/metrics")).text


async def test_alone_a_gateway_gives_out_its_part_of_a_limit(
    tmp_path: Path, own_redis: str
) -> None:
    async with gateway_at(tmp_path, own_redis, GATEWAY_REPLICAS="3") as (own, proxy):
        assert await allowed(own) == 12
        await proxy.cut()
        await until(lambda: degraded(own), 10)
        assert await allowed(own) == 4


async def test_gateways_learn_of_each_other_while_redis_is_there(
    tmp_path: Path, own_redis: str
) -> None:
    cache = RedisCache(own_redis)
    for identity in (OWN, "other:8206:0", "other:8206:1"):
        entry = {"service": "gateway", "url": "http://x:8206", "id": identity}
        await cache.set(f"registry:gateway:{identity}", orjson.dumps(entry), ttl=60)
    async with gateway_at(tmp_path, own_redis) as (own, proxy):

        async def announced() -> bool:
            (ours,) = [x for x in (await instances(cache))["gateway"] if x.id == OWN]
            return ours.url == "http://127.0.0.1:8206"

        await until(announced, 5)
        assert await allowed(own) == 12
        await proxy.cut()
        await until(lambda: degraded(own), 10)
        assert await allowed(own) == 4
    await cache.close()


def test_fewer_gateways_must_be_seen_for_a_while() -> None:
    clock = FakeClock()
    count = Replicas(2, clock)
    assert [count.seen(found) for found in (0, 2, 5, 5)] == [False, False, True, False]
    assert count.number == 5
    clock.advance(29)
    assert not count.seen(0)  # a Redis that has just restarted
    assert not count.seen(5)
    clock.advance(29)
    assert not count.seen(3)
    clock.advance(1)
    assert count.seen(3)
    clock.advance(30)
    assert count.seen(0)
    assert count.number == 2  # what the settings say
