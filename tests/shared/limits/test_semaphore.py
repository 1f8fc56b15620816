"""What every semaphore promises, in Redis and in memory."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
import redis.asyncio as aioredis

from shared.data_access.cache.redis import RedisCache
from shared.errors import StoreUnavailable
from shared.limits.semaphore import LocalSemaphore, RedisSemaphore, Semaphore


@pytest.fixture(params=["redis", "memory"])
def places(request: pytest.FixtureRequest) -> Semaphore:
    if request.param == "memory":
        return LocalSemaphore()
    cache: RedisCache = request.getfixturevalue("cache")
    return RedisSemaphore(cache)


async def test_no_more_places_than_the_limit(places: Semaphore) -> None:
    tokens = await asyncio.gather(*(places.acquire("a", 3, 10) for _ in range(20)))
    held = [token for token in tokens if token]
    assert len(held) == len(set(held)) == 3
    assert await places.acquire("b", 1, 10)


async def test_a_released_place_is_free_at_once_and_once(places: Semaphore) -> None:
    first = await places.acquire("a", 2, 10)
    assert first
    assert await places.acquire("a", 2, 10)
    for _ in range(2):  # the second time it holds nothing that could be given back
        await places.release("a", first)
    assert await places.acquire("a", 2, 10)
    assert await places.acquire("a", 2, 10) is None


async def test_a_token_that_nobody_got_holds_nothing(places: Semaphore) -> None:
    assert await places.acquire("a", 1, 10)
    await places.release("a", uuid4().hex)
    assert not await places.renew("a", uuid4().hex, 10)
    assert await places.acquire("a", 1, 10) is None


async def test_who_does_not_renew_in_time_has_lost_the_place(places: Semaphore) -> None:
    first = await places.acquire("a", 1, 0.05)
    assert first
    assert await places.acquire("a", 1, 10) is None
    await asyncio.sleep(0.06)
    assert not await places.renew("a", first, 10)
    second = await places.acquire("a", 1, 10)
    assert second
    assert not await places.renew("a", first, 10)
    await places.release("a", first)
    assert await places.acquire("a", 1, 10) is None
    assert await places.renew("a", second, 10)


async def test_who_renews_keeps_the_place(places: Semaphore) -> None:
    token = await places.acquire("a", 1, 0.15)
    assert token
    for _ in range(4):
        await asyncio.sleep(0.05)
        assert await places.renew("a", token, 0.15)
    assert await places.acquire("a", 1, 10) is None


async def test_a_short_lease_does_not_end_a_longer_one(places: Semaphore) -> None:
    long = await places.acquire("a", 2, 10)
    assert long
    assert await places.acquire("a", 2, 0.02)
    await asyncio.sleep(0.05)
    assert await places.renew("a", long, 10)
    assert await places.acquire("a", 2, 10)
    assert await places.acquire("a", 2, 10) is None


async def test_a_limit_that_was_made_smaller_holds_at_once(places: Semaphore) -> None:
    tokens = [await places.acquire("a", 3, 10) for _ in range(3)]
    for token in tokens[:2]:
        assert await places.acquire("a", 1, 10) is None
        await places.release("a", str(token))
    assert await places.acquire("a", 2, 10)


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_of_nothing_has_no_place(places: Semaphore, limit: int) -> None:
    assert await places.acquire("a", limit, 10) is None


async def test_nothing_is_left_in_redis(cache: RedisCache, redis_url: str) -> None:
    places = RedisSemaphore(cache)
    released = await places.acquire("released", 1, 10)
    await places.release("released", str(released))
    await places.acquire("left", 2, 0.2)
    await places.acquire("left", 2, 0.05)
    client = aioredis.Redis.from_url(redis_url)
    assert await client.keys("*") == [b"left"]
    assert 100 < await client.pttl("left") <= 200
    await client.aclose()


async def test_an_unreachable_redis_is_a_store_error(free_port: int) -> None:
    cache = RedisCache(f"redis://127.0.0.1:{free_port}/0")
    with pytest.raises(StoreUnavailable):
        await RedisSemaphore(cache).acquire("a", 1, 10)
    await cache.close()
