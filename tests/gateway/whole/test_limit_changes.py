"""Limits of a route table that replaces another one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from gateway.auth.caller import Caller
from gateway.limits.rate_limiter import RateLimited, RateLimiter
from shared.data_access.cache.redis import RedisCache
from shared.security import Principal
from tests.gateway.limit_worker import limited

ALICE = Caller(Principal(UUID(int=7), "user:a", "analyst", "user"))


@pytest.fixture
async def limiter(redis_url: str) -> AsyncIterator[RateLimiter]:
    cache = RedisCache(redis_url)
    opened = RateLimiter(cache, CollectorRegistry(), budget=1.0)
    yield opened
    await opened.close()
    await cache.close()


async def test_a_known_caller_is_under_the_new_limit_at_once(limiter: RateLimiter) -> None:
    narrow = limited(limiter, "principal 2/h")
    for _ in range(2):
        await limiter.count(narrow, ALICE, "")
    with pytest.raises(RateLimited):
        await limiter.count(narrow, ALICE, "")
    wide = limited(limiter, "principal 100/h burst 1000")
    got = await limiter.count(wide, ALICE, "")
    assert got.limit == 1000
    other = limited(limiter, "principal 1/h")
    with pytest.raises(RateLimited, match="1 per 3600 s"):
        await limiter.count(other, ALICE, "")
