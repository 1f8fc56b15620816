"""The embedded Redis, emptied for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.data_access.cache.redis import RedisCache


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[RedisCache]:
    opened = RedisCache(redis_url)
    yield opened
    await opened.close()
