"""Kept answers: bound to their organisation and key, and no request's trouble."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest
import redis.asyncio as aioredis
from prometheus_client import CollectorRegistry

from ai_services.llm.asking.answers_cache import LARGEST, OUTCOMES, AnswersCache
from shared.data_access.cache.redis import RedisCache
from tests.contract.proxy import proxied

ORG, OTHER = UUID(int=7), UUID(int=8)
KEY, SECOND = hashlib.sha256(b"one").digest(), hashlib.sha256(b"two").digest()
DATA_KEY = bytes(range(32))
ANSWER = '{"choices": [{"message": {"content": "您好"}}]}'.encode()


@dataclass
class Kept:
    """An AnswersCache, and what lies in Redis under it."""

    url: str
    data_key: bytes = DATA_KEY
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.cache = RedisCache(self.url)
        self.answers = AnswersCache(self.cache, self.data_key, self.registry)
        self.redis = aioredis.Redis.from_url(self.url)

    def counted(self) -> dict[str, float]:
        counts = {
            outcome: self.registry.get_sample_value("llm_answers_cache_total", {"outcome": outcome})
            for outcome in OUTCOMES
        }
        return {outcome: count for outcome, count in counts.items() if count}

    async def stored(self) -> dict[bytes, bytes]:
        return {name: await self.redis.get(name) for name in await self.redis.keys("*")}

    async def close(self) -> None:
        await self.cache.close()
        await self.redis.aclose()


@pytest.fixture
async def kept(redis_url: str) -> AsyncIterator[Kept]:
    opened = Kept(redis_url)
    yield opened
    await opened.close()


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("answer", [b"", ANSWER, b"\x00\x01" * (LARGEST // 2)])
async def test_an_answer_comes_back_as_it_was(kept: Kept, answer: bytes, encrypted: bool) -> None:
    assert await kept.answers.get(ORG, KEY) is None
    await kept.answers.put(ORG, KEY, answer, ttl=60, encrypted=encrypted)
    assert await kept.answers.get(ORG, KEY) == answer
    assert await kept.answers.get(OTHER, KEY) is None
    assert await kept.answers.get(ORG, SECOND) is None
    assert kept.counted() == {"hit": 1, "miss": 3, "stored": 1}


async def test_an_answer_lives_for_its_time(kept: Kept) -> None:
    await kept.answers.put(ORG, KEY, ANSWER, ttl=0.05, encrypted=False)
    assert await kept.answers.get(ORG, KEY)
    await asyncio.sleep(0.06)
    assert await kept.answers.get(ORG, KEY) is None


async def test_a_larger_answer_is_not_kept(kept: Kept) -> None:
    await kept.answers.put(ORG, KEY, b"x" * (LARGEST + 1), ttl=60, encrypted=False)
    assert await kept.stored() == {}
    assert kept.counted() == {"skipped": 1}


async def test_an_encrypted_answer_shows_nothing_and_never_looks_the_same(kept: Kept) -> None:
    seen = set()
    for _ in range(2):
        await kept.answers.put(ORG, KEY, ANSWER, ttl=60, encrypted=True)
        (value,) = (await kept.stored()).values()
        assert ANSWER[:8] not in value
        assert "您好".encode() not in value
        seen.add(value)
    assert len(seen) == 2


@pytest.mark.parametrize(("org", "key"), [(OTHER, KEY), (ORG, SECOND)])
async def test_an_entry_that_was_moved_does_not_open(kept: Kept, org: UUID, key: bytes) -> None:
    await kept.answers.put(ORG, KEY, ANSWER, ttl=60, encrypted=True)
    ((name, value),) = (await kept.stored()).items()
    moved = name.decode().replace(str(ORG), str(org)).replace(KEY.hex(), key.hex())
    await kept.redis.set(moved, value)
    assert await kept.answers.get(org, key) is None
    assert kept.counted()["unreadable"] == 1
    await kept.answers.put(org, key, b"new", ttl=60, encrypted=True)
    assert await kept.answers.get(org, key) == b"new"
    assert await kept.answers.get(ORG, KEY) == ANSWER


async def test_every_changed_byte_is_noticed(kept: Kept) -> None:
    await kept.answers.put(ORG, KEY, b"answer", ttl=60, encrypted=True)
    ((name, value),) = (await kept.stored()).items()
    for place in range(1, len(value)):
        spoilt = bytearray(value)
        spoilt[place] ^= 1
        await kept.redis.set(name, bytes(spoilt))
        assert await kept.answers.get(ORG, KEY) is None


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x01short", b"\x01" + b"n" * 12, b"\x7frest"])
async def test_what_is_no_entry_is_a_miss(kept: Kept, value: bytes) -> None:
    await kept.answers.put(ORG, KEY, ANSWER, ttl=60, encrypted=False)
    (name,) = await kept.stored()
    await kept.redis.set(name, value)
    assert await kept.answers.get(ORG, KEY) is None
    assert kept.counted() == {"stored": 1, "unreadable": 1}


async def test_another_data_key_opens_nothing(kept: Kept, redis_url: str) -> None:
    await kept.answers.put(ORG, KEY, ANSWER, ttl=60, encrypted=True)
    other = Kept(redis_url, data_key=bytes(32))
    assert await other.answers.get(ORG, KEY) is None
    assert other.counted() == {"unreadable": 1}
    await other.close()


async def test_without_redis_every_request_is_a_miss_and_soon(redis_url: str) -> None:
    async with proxied(redis_url) as (url, proxy):
        kept = Kept(url)
        await kept.answers.put(ORG, KEY, ANSWER, ttl=60, encrypted=False)
        proxy.freeze()
        began = time.monotonic()
        assert await kept.answers.get(ORG, KEY) is None
        await kept.answers.put(ORG, SECOND, ANSWER, ttl=60, encrypted=False)
        assert time.monotonic() - began < 1.5
        await proxy.cut()
        assert await kept.answers.get(ORG, KEY) is None
        assert kept.counted() == {"stored": 1, "away": 3}
        await kept.close()
