"""A client of a llm service that is found through a real registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from uuid import uuid4

import orjson
import pytest

from shared.data_access.cache.redis import RedisCache
from shared.llm.client import LanguageModels, open_language_models
from shared.security import InternalTokens
from shared.serving.registry import Instance
from tests.shared.llm.models import Models, running_models

SECRET = b"s" * 64


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    async with running_models() as running:
        yield running


@pytest.fixture
async def asking(redis_url: str, models: Models) -> AsyncIterator[LanguageModels]:
    """Beside the instance that lives, one is announced that died without a word."""
    cache = RedisCache(redis_url)
    there = [Instance("llm", url, uuid4().hex) for url in (models.url, "http://127.0.0.1:9")]
    for one in there:
        await cache.set(one.key, orjson.dumps(asdict(one)), ttl=30)
    async with open_language_models(cache, InternalTokens(SECRET)) as opened:
        yield opened
    for one in there:
        await cache.delete(one.key)
    await cache.close()
