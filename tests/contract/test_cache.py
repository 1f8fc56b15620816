"""What every cache promises, on the embedded Redis 6 and a Redis 7."""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis.asyncio as aioredis

from shared.data_access.cache.redis import RedisCache
from shared.embedded.stores import EmbeddedStores
from shared.errors import StoreError, StoreUnavailable
from tests.contract.proxy import proxied
from tests.contract.texts import NASTY


@pytest.fixture(params=["embedded", "local"])
def url(request: pytest.FixtureRequest) -> str:
    name = {"embedded": "redis_url", "local": "local_redis_url"}[request.param]
    return request.getfixturevalue(name)


@pytest.fixture
async def cache(url: str) -> AsyncIterator[RedisCache]:
    cache = RedisCache(url)
    yield cache
    await cache.close()


@pytest.fixture
def prefix() -> str:
    return f"test:{uuid4().hex}:"


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
async def test_values_and_keys_come_back_as_they_went_in(cache, prefix, text):
    await cache.set(prefix + text, text.encode(), ttl=10)
    assert await cache.get(prefix + text) == text.encode()
    assert await cache.scan(prefix) == {prefix + text: text.encode()}


async def test_an_unknown_key_is_none(cache, prefix):
    assert await cache.get(prefix) is None
    assert await cache.delete(prefix) == 0
    assert await cache.delete() == 0
    assert await cache.scan(prefix) == {}


async def test_a_key_ends_with_its_time(cache, prefix):
    await cache.set(prefix + "a", b"1", ttl=0.05)
    await cache.set(prefix + "b", b"1", ttl=10)
    await asyncio.sleep(0.1)
    assert await cache.scan(prefix) == {prefix + "b": b"1"}


async def test_delete_counts(cache, prefix):
    for name in "abc":
        await cache.set(prefix + name, b"1", ttl=10)
    assert await cache.delete(prefix + "a", prefix + "b", prefix + "x") == 2


async def test_a_prefix_is_taken_literally(cache, prefix):
    for name in ("a*b:1", "axb:1", "a[b:1", "a\\b:1"):
        await cache.set(prefix + name, b"1", ttl=10)
    assert list(await cache.scan(prefix + "a*b:")) == [prefix + "a*b:1"]
    assert list(await cache.scan(prefix + "a[b")) == [prefix + "a[b:1"]
    assert list(await cache.scan(prefix + "a\\b")) == [prefix + "a\\b:1"]


async def test_scan_finds_thousands(cache, prefix):
    for start in range(0, 3000, 60):  # not more than the pool has, so that none waits for another
        some = range(start, start + 60)
        await asyncio.gather(*(cache.set(f"{prefix}{n}", b"%d" % n, ttl=60) for n in some))
    found = await cache.scan(prefix)
    assert len(found) == 3000
    assert found[f"{prefix}2999"] == b"2999"


async def test_increment_counts_and_does_not_prolong(cache, prefix):
    assert await cache.increment(prefix, ttl=0.15) == 1
    await asyncio.sleep(0.1)
    assert await cache.increment(prefix, ttl=10) == 2
    await asyncio.sleep(0.1)
    assert await cache.increment(prefix, ttl=10) == 1


async def test_increments_at_once_are_all_counted(cache, prefix):
    counts = await asyncio.gather(*(cache.increment(prefix, ttl=10) for _ in range(200)))
    assert sorted(counts) == list(range(1, 201))


async def test_a_script_runs_atomically_by_its_hash(cache, prefix):
    script = "redis.call('SET', KEYS[1], ARGV[1]); return {KEYS[1], ARGV[2], tonumber(ARGV[2])}"
    for _ in range(2):
        result = await cache.eval(script, [prefix], ["王", 2.5])
        assert result == [prefix.encode(), b"2.5", 2]
    assert await cache.get(prefix) == "王".encode()


async def test_a_script_survives_a_flushed_script_cache(cache, url, prefix):
    script = "return ARGV[1]"
    assert await cache.eval(script, [], ["a"]) == b"a"
    client = aioredis.Redis.from_url(url)
    await client.script_flush()
    await client.aclose()
    assert await cache.eval(script, [], ["b"]) == b"b"


async def test_a_broken_script_is_a_store_error(cache):
    with pytest.raises(StoreError) as caught:
        await cache.eval("return nothing.here", [], [])
    assert type(caught.value) is StoreError
    assert "nothing" not in caught.value.message


async def test_a_subscriber_gets_what_is_published_from_then_on(cache, prefix):
    assert await cache.publish(prefix, b"too early") == 0
    async with cache.subscribe(prefix) as messages, cache.subscribe(prefix) as others:
        for text in NASTY:
            assert await cache.publish(prefix, text.encode()) == 2
        await cache.publish(prefix + "other", b"not ours")
        await cache.publish(prefix, b"last")
        for stream in (messages, others):
            got = [await anext(stream) for _ in range(len(NASTY) + 1)]
            assert got == [*(text.encode() for text in NASTY), b"last"]


async def test_a_subscription_can_be_left_while_waiting(cache, prefix):
    async def listen() -> None:
        async with cache.subscribe(prefix) as messages:
            await anext(messages)

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await cache.ping()


async def test_a_subscription_survives_a_restart(url, prefix):
    async with proxied(url) as (through, proxy):
        cache = RedisCache(through)
        direct = RedisCache(url)
        try:
            async with cache.subscribe(prefix) as messages:
                await direct.publish(prefix, b"before")
                assert await anext(messages) == b"before"
                waiting = asyncio.ensure_future(anext(messages))
                await proxy.cut()
                await asyncio.sleep(0.3)
                await proxy.start()
                async with asyncio.timeout(5):
                    while not waiting.done():
                        await direct.publish(prefix, b"after")
                        await asyncio.sleep(0.05)
                assert await waiting == b"after"
        finally:
            await cache.close()
            await direct.close()


@pytest.fixture
async def own_redis() -> AsyncIterator[str]:
    """A Redis that a test may spoil."""
    with tempfile.TemporaryDirectory(prefix="looma-test-", ignore_cleanup_errors=True) as home:
        stores = EmbeddedStores(Path(home), which=frozenset({"redis"}))
        try:
            yield (await stores.start()).redis_url
        finally:
            await stores.stop()


async def condition(cache: RedisCache, expected: str) -> None:
    async with asyncio.timeout(10):
        while not cache.guard.condition().startswith(expected):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("spoil", "mend"),
    [
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    ],
)
async def test_a_redis_that_refuses_writes_is_not_up(own_redis, spoil, mend):
    cache, admin = RedisCache(own_redis), aioredis.Redis.from_url(own_redis)
    try:
        await cache.ping()
        await admin.execute_command(*spoil.split())
        for call in (cache.ping(), cache.set("key", b"1", ttl=5)):
            with pytest.raises(StoreUnavailable):
                await call
        assert await cache.get("key") is None  # what can be read is
        await condition(cache, "The cache answers, but refuses")
        await admin.execute_command(*mend.split())
        await cache.ping()
        cache.guard.suspect()
        await condition(cache, "up")
    finally:
        await admin.aclose()
        await cache.close()


async def test_many_at_once_share_a_small_pool(url, prefix):
    cache = RedisCache(url, pool_size=2)
    try:
        await asyncio.gather(*(cache.set(prefix, b"1", ttl=5) for _ in range(500)))
    finally:
        await cache.close()


async def test_down_at_the_start_and_back_later(url, prefix):
    async with proxied(url) as (through, proxy):
        await proxy.cut()
        cache = RedisCache(through)
        try:
            started = time.monotonic()
            for call in (cache.ping(), cache.get(prefix), cache.eval("return 1", [], [])):
                with pytest.raises(StoreUnavailable):
                    await call
            with pytest.raises(StoreUnavailable):
                async with cache.subscribe(prefix):
                    pass
            assert time.monotonic() - started < 2
            await proxy.start()
            await cache.ping()
            await cache.set(prefix, b"1", ttl=5)
        finally:
            await cache.close()


async def test_a_restart_is_not_noticed_between_calls(url, prefix):
    async with proxied(url) as (through, proxy):
        cache = RedisCache(through)
        try:
            await asyncio.gather(*(cache.ping() for _ in range(5)))
            await proxy.cut()
            with pytest.raises(StoreUnavailable):
                await cache.ping()
            await proxy.start()
            await asyncio.gather(*(cache.ping() for _ in range(10)))
            await proxy.cut()
            await proxy.start()
            await asyncio.gather(*(cache.ping() for _ in range(10)))
        finally:
            await cache.close()


async def test_a_redis_that_hangs_is_unavailable_soon(url, prefix):
    async with proxied(url) as (through, proxy):
        cache = RedisCache(through)
        try:
            await cache.ping()
            proxy.freeze()
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await cache.get(prefix)
            assert time.monotonic() - started < 3
            proxy.thaw()
            await cache.ping()
        finally:
            await cache.close()


async def test_cancellation_gives_the_connection_back(url, prefix):
    cache = RedisCache(url, pool_size=1)
    try:
        for _ in range(20):
            task = asyncio.create_task(cache.get(prefix))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await cache.set(prefix, b"right", ttl=5)
        assert await cache.get(prefix) == b"right"
    finally:
        await cache.close()


async def test_a_probe_that_is_ended_at_any_step_leaves_no_connection(url):
    for steps in range(0, 120, 2):
        cache = RedisCache(url)
        cache.guard.suspect()
        for _ in range(steps):
            await asyncio.sleep(0)
        await cache.close()
    gc.collect()  # an unclosed connection warns when it is collected, which fails the test
