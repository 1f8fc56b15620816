"""What every count of rates promises, in Redis and in memory."""

from __future__ import annotations

import asyncio

import pytest

from shared.data_access.cache.redis import RedisCache
from shared.limits.counts import Counts, Key
from shared.limits.local_gcra import LocalGcra
from shared.limits.redis_gcra import RedisGcra


@pytest.fixture(params=["redis", "memory"])
def counts(request: pytest.FixtureRequest) -> Counts:
    if request.param == "memory":
        return LocalGcra()
    cache: RedisCache = request.getfixturevalue("cache")
    return RedisGcra(cache)


def key(name: str, *, burst: float, per_s: float = 0.001, lease: int = 0) -> Key:
    """At most `burst` units at once; as good as none come back during a test."""
    return Key(name, 1 / per_s, burst / per_s * (1 + 1e-9), lease)


async def taken(counts: Counts, asked: Key) -> float:
    """Units that are missing from the bucket."""
    count = await counts.take([asked], [])
    return round(count.keys[0][0] / asked.interval, 3)


async def test_a_request_over_one_limit_takes_from_none(counts: Counts) -> None:
    keys = [key("wide", burst=10), key("narrow", burst=2)]
    count = await counts.take(keys, [(1, 1, 2, 1)] * 5)
    assert count.allowed == (True, True, False, False, False)
    assert [await taken(counts, one) for one in keys] == [2, 2]


async def test_requests_are_decided_in_order(counts: Counts) -> None:
    asked = key("k", burst=10)
    count = await counts.take([asked], [(1, 6), (1, 5), (1, 4), (1, 1)])
    assert count.allowed == (True, False, True, False)


async def test_what_is_given_out_comes_back_with_time(counts: Counts) -> None:
    asked = key("k", burst=2, per_s=20)
    assert (await counts.take([asked], [(1, 2), (1, 1)])).allowed == (True, False)
    await asyncio.sleep(0.06)
    assert (await counts.take([asked], [(1, 1)])).allowed == (True,)


async def test_costs_may_be_fractions(counts: Counts) -> None:
    asked = key("k", burst=1)
    count = await counts.take([asked], [(1, 0.25), (1, 0.5), (1, 0.5), (1, 0.25)])
    assert count.allowed == (True, True, False, True)


async def test_a_negative_cost_gives_back(counts: Counts) -> None:
    asked = key("k", burst=10)
    await counts.take([asked], [(1, 10)])
    assert (await counts.take([asked], [(1, -3.5), (1, 4), (1, 3)])).allowed == (True, False, True)
    assert await taken(counts, asked) == 9.5


async def test_nothing_given_back_makes_a_bucket_fuller_than_full(counts: Counts) -> None:
    asked = key("k", burst=10)
    await counts.take([asked], [(1, 4)])
    assert (await counts.take([asked], [(1, -9)])).keys[0][0] == 0
    assert (await counts.take([asked], [], [1, -5])).keys[0][0] == 0
    assert (await counts.take([asked], [(1, 10), (1, 1)])).allowed == (True, False)


async def test_a_bucket_that_nobody_took_from_can_be_given_back_to(counts: Counts) -> None:
    asked = key("k", burst=10)
    assert (await counts.take([asked], [(1, -1)])).allowed == (True,)
    assert (await counts.take([asked], [], [1, -1])).allowed == ()
    assert await taken(counts, asked) == 0


async def test_corrections_are_made_whatever_the_room_and_before_requests(counts: Counts) -> None:
    keys = [key("a", burst=10), key("b", burst=10)]
    await counts.take(keys, [(1, 8, 2, 8)])
    count = await counts.take(keys, [(1, 1), (2, 5)], [1, 7, 2, -3])
    assert count.allowed == (False, True)  # the first is as empty as can be, and no emptier
    assert [await taken(counts, one) for one in keys] == [10, 10]


async def test_leases_come_from_what_requests_have_left(counts: Counts) -> None:
    asked = key("k", burst=10, lease=4)
    count = await counts.take([asked], [(1, 1)])
    assert (count.allowed, count.keys[0][1]) == ((True,), 4)
    count = await counts.take([asked], [(1, 2.5)])
    assert (count.allowed, count.keys[0][1]) == ((True,), 2)
    count = await counts.take([asked], [(1, 1)])
    assert (count.allowed, count.keys[0][1]) == ((False,), 0)


async def test_a_limit_that_was_made_smaller_is_empty_at_most(counts: Counts) -> None:
    await counts.take([key("k", burst=100)], [(1, 100)])
    assert await taken(counts, key("k", burst=5)) == 5
