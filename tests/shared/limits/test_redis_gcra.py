"""The script in Redis against a token bucket in exact fractions, by Redis's own clock."""

from __future__ import annotations

import asyncio
import random
from fractions import Fraction

import pytest
import redis.asyncio as aioredis

from shared.data_access.cache.redis import RedisCache
from shared.errors import StoreUnavailable
from shared.limits.counts import Key
from shared.limits.redis_gcra import RedisGcra
from tests.token_bucket import TokenBucket


def key(name: str, *, rate: float, burst: int, lease: int = 0) -> Key:
    return Key(name, 1 / rate, burst / rate * (1 + 1e-9), lease)


@pytest.mark.parametrize(("rate", "burst"), [(40, 5), (2000, 50), (30_000, 300)])
async def test_decisions_are_those_of_a_token_bucket(
    cache: RedisCache, rate: int, burst: int
) -> None:
    counts = RedisGcra(cache)
    reference = TokenBucket(Fraction(rate), Fraction(burst))
    chance = random.Random(rate)
    decided: list[bool] = []
    for _ in range(400):
        cost = chance.choice((1, burst // 4, burst // 2, burst // 2))  # soon too much
        count = await counts.take([key("a", rate=rate, burst=burst)], [(1, cost)])
        at = Fraction(round(count.at * 1e6), 10**6)
        reference.fill(at)
        # Within a microsecond of the border, which is how finely Redis tells time, either is right.
        near = abs(reference.tokens - cost) < Fraction(rate, 10**6)
        if near and count.allowed[0]:
            reference.tokens = max(reference.tokens, Fraction(cost))
        if not near or count.allowed[0]:
            assert reference.take(at, cost) == count.allowed[0]
        decided.append(count.allowed[0])
        if chance.random() < 0.05:
            await asyncio.sleep(chance.random() * min(burst / rate, 0.02))
    assert any(decided)
    assert not all(decided)


async def test_one_refusing_limit_takes_from_none_of_the_others(cache: RedisCache) -> None:
    counts = RedisGcra(cache)
    keys = [key("wide", rate=0.001, burst=10), key("narrow", rate=0.001, burst=2)]
    count = await counts.take(keys, [(1, 1, 2, 1)] * 5)
    assert count.allowed == (True, True, False, False, False)
    assert [round(ahead) for ahead, _ in count.keys] == [2000, 2000]
    count = await counts.take(keys[:1], [(1, 1)] * 9)
    assert count.allowed == (True,) * 8 + (False,)


async def test_leases_come_from_what_all_requests_have_left(cache: RedisCache) -> None:
    counts = RedisGcra(cache)

    async def lease(wanted: int, *costs: int) -> tuple[list[bool], int]:
        asked = key("k", rate=0.001, burst=10, lease=wanted)
        count = await counts.take([asked], [(1, cost) for cost in costs])
        return list(count.allowed), count.keys[0][1]

    assert await lease(4, 1) == ([True], 4)  # 5 gone
    assert await lease(4, 1, 2, 9) == ([True, True, False], 2)  # all gone
    assert await lease(4, 1) == ([False], 0)


async def test_who_is_refused_gets_no_lease(cache: RedisCache) -> None:
    keys = [key("wide", rate=0.001, burst=100, lease=5), key("narrow", rate=0.001, burst=1)]
    counts = RedisGcra(cache)
    assert (await counts.take(keys, [(1, 1, 2, 1)])).keys[0][1] == 5
    count = await counts.take(keys, [(1, 1, 2, 1)])
    assert (count.allowed, count.keys[0][1]) == ((False,), 0)


async def test_a_key_lives_until_its_bucket_is_full_again(
    cache: RedisCache, redis_url: str
) -> None:
    keys = [key("k", rate=10, burst=5), key("l", rate=9, burst=1)]
    await RedisGcra(cache).take(keys, [(1, 3, 2, 1)])
    client = aioredis.Redis.from_url(redis_url)
    lives = {name: await client.pttl(name) for name in await client.keys("*")}
    await client.aclose()
    assert lives.keys() == {b"k", b"l"}
    assert 250 < lives[b"k"] <= 302
    assert 60 < lives[b"l"] <= 113


async def test_a_clock_that_was_set_back_only_empties_a_bucket(cache: RedisCache) -> None:
    counts, asked = RedisGcra(cache), key("k", rate=100, burst=2)
    far = (await counts.take([key("other", rate=1, burst=1)], [(1, 1)])).at + 3600
    await cache.set("k", b"%.3f" % (far * 1e6), ttl=60)
    count = await counts.take([asked], [(1, 1)])
    assert count.allowed == (False,)
    assert count.keys[0][0] <= 0.021
    await asyncio.sleep(0.011)
    assert (await counts.take([asked], [(1, 1)])).allowed == (True,)


async def test_a_value_that_is_no_number_counts_as_nothing(cache: RedisCache) -> None:
    await cache.set("k", b"spoilt", ttl=60)
    assert (await RedisGcra(cache).take([key("k", rate=1, burst=1)], [(1, 1)])).allowed[0]


async def test_an_unreachable_redis_is_a_store_error(free_port: int) -> None:
    cache = RedisCache(f"redis://127.0.0.1:{free_port}/0")
    with pytest.raises(StoreUnavailable):
        await RedisGcra(cache).probe()
    await cache.close()
