"""The count in memory decides exactly as the one in Redis, and stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data_access.cache.redis import RedisCache
from shared.limits.counts import Key
from shared.limits.local_gcra import LocalGcra
from shared.limits.redis_gcra import RedisGcra


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
async def shared_cache(redis_server: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache(redis_server)
    yield cache
    await cache.close()


# (units per second, burst, lease): some that are full again within a pause, and some that never are.
RULES = ((0.01, 7, 0), (90, 3, 0), (700, 20, 2), (33_333, 1000, 10), (2000, 2.5, 1))
COSTS = st.one_of(
    st.integers(-3, 10),
    st.floats(-5, 20, allow_nan=False).map(lambda cost: round(cost, 4)),
    st.sampled_from((2.5, 3, 7, 1000)),
)
PARTS = st.dictionaries(st.integers(1, len(RULES)), COSTS, min_size=1)
STEPS = st.lists(
    st.tuples(st.lists(PARTS, max_size=4), PARTS | st.just({}), st.sampled_from((0, 0, 0, 0.004))),
    min_size=1,
    max_size=12,
)


def written(parts: dict[int, float]) -> list[float]:
    return [number for part in parts.items() for number in part]


@settings(max_examples=30)
@given(steps=STEPS)
async def test_it_decides_as_redis_does(
    shared_cache: RedisCache, steps: list[tuple[list[dict[int, float]], dict[int, float], float]]
) -> None:
    clock, there = Clock(), RedisGcra(shared_cache)
    here = LocalGcra(clock=clock)
    names = uuid4().hex
    keys = [
        Key(f"test:{names}:{number}", 1 / rate, burst / rate * (1 + 1e-9), lease)
        for number, (rate, burst, lease) in enumerate(RULES)
    ]
    for requests, corrections, pause in steps:
        asked = [written(request) for request in requests], written(corrections)
        theirs = await there.take(keys, *asked)
        clock.now = theirs.at
        ours = await here.take(keys, *asked)
        assert ours.allowed == theirs.allowed
        assert [lease for _, lease in ours.keys] == [lease for _, lease in theirs.keys]
        for (our, _), (their, _) in zip(ours.keys, theirs.keys, strict=True):
            assert our == pytest.approx(their, rel=1e-12, abs=1e-9)
        await asyncio.sleep(pause)


async def test_what_was_taken_from_longest_ago_is_forgotten() -> None:
    counts = LocalGcra(size=3, clock=Clock(100.0))

    async def take(name: str) -> bool:
        return (await counts.take([Key(name, 1.0, 1.0)], [(1, 1)])).allowed[0]

    assert [await take(name) for name in "abc"] == [True] * 3
    assert [await take(name) for name in "abc"] == [False] * 3
    assert await take("d")
    assert [await take(name) for name in "dcb"] == [False] * 3
    assert await take("a")  # forgotten
