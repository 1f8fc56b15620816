"""API keys, caches, and sessions that end before their tokens do."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import orjson

from gateway.expiring_cache import ExpiringCache
from shared.data_access.cache.redis import RedisCache
from shared.security import InternalTokens
from tests.gateway.conftest import SECRET, Platform, platform_in
from tests.gateway.wire import until


async def within(seconds: float, platform: Platform, headers: dict[str, str], status: int) -> float:
    """How long until the gateway answers with `status`."""

    async def so() -> bool:
        got = await platform.client.get("/api/v1/calls", headers=headers)
        return got.status_code == status

    return await until(so, seconds)


async def test_a_revoked_session_is_refused_within_five_seconds_by_poll(platform: Platform) -> None:
    session = str(uuid4())
    headers = platform.auth.bearer(sid=session)
    assert (await platform.client.get("/api/v1/calls", headers=headers)).status_code == 200
    platform.auth.revoke(f"session:{session}")
    assert await within(5, platform, headers, 401) < 5
    # Another session of the same user goes on.
    assert (await platform.get("/api/v1/calls")).status_code == 200


async def test_a_message_ends_a_session_at_once(platform: Platform, redis_at: str) -> None:
    session = str(uuid4())
    headers = platform.auth.bearer(sid=session)
    await platform.client.get("/api/v1/calls", headers=headers)
    cache = RedisCache(redis_at)
    item = platform.auth.revoke(f"session:{session}")
    platform.auth.revoked.remove(item)  # so that the poll can't be what tells
    await cache.publish("revocations", b"not json")
    await cache.publish("revocations", orjson.dumps(item))
    await cache.close()
    assert await within(1, platform, headers, 401) < 1


async def test_a_key_opens_in_both_headers(platform: Platform) -> None:
    key = platform.auth.new_key("analyst")
    got = await platform.client.get("/api/v1/calls", headers={"X-API-Key": key})
    assert got.status_code == 200
    token = platform.enrichment.last.header("x-internal-token") or ""
    principal = InternalTokens(SECRET.encode()).verify(token, "enrichment")
    assert (principal.kind, principal.role, principal.session) == ("key", "analyst", "")
    assert principal.subject.startswith("key:")
    got = await platform.client.get("/api/v1/calls", headers={"Authorization": f"Bearer {key}"})
    assert got.status_code == 200
    short = platform.auth.new_key(mark="lk_")
    got = await platform.client.get("/api/v1/calls", headers={"Authorization": f"Bearer {short}"})
    assert got.status_code == 200


async def test_the_auth_service_is_asked_once_per_key(platform: Platform) -> None:
    key = platform.auth.new_key()
    platform.auth.verify_asked = 0
    await asyncio.gather(
        *(platform.client.get("/api/v1/calls", headers={"X-API-Key": key}) for _ in range(10))
    )
    await platform.client.get("/api/v1/calls", headers={"X-API-Key": key})
    assert platform.auth.verify_asked == 1


async def test_an_unknown_key_is_401_and_not_asked_about_again(platform: Platform) -> None:
    platform.auth.verify_asked = 0
    for _ in range(5):
        got = await platform.client.get("/api/v1/calls", headers={"X-API-Key": "looma_unknown"})
        assert got.status_code == 401
    assert platform.auth.verify_asked == 1


async def test_a_revoked_key_is_refused_within_five_seconds(platform: Platform) -> None:
    key = platform.auth.new_key()
    headers = {"X-API-Key": key}
    await platform.client.get("/api/v1/calls", headers=headers)
    (known,) = [k for k in platform.auth.keys.values() if k["key_id"]][-1:]
    platform.auth.revoke(f"key:{known['key_id']}")
    assert await within(5, platform, headers, 401) < 5


async def test_a_keys_role_is_its_own(platform: Platform) -> None:
    key = platform.auth.new_key("agent")
    got = await platform.client.get("/api/v1/calls/search", headers={"X-API-Key": key})
    assert got.status_code == 403


async def test_an_outage_of_auth_signs_nobody_out(tmp_path: Path, redis_at: str) -> None:
    async with platform_in(tmp_path, REDIS_URL=redis_at) as own:
        headers = own.auth.bearer()
        key = {"X-API-Key": own.auth.new_key()}
        assert (await own.client.get("/api/v1/calls", headers=headers)).status_code == 200
        await own.auth.wire.stop()
        # Known and new tokens go on: the keys are at hand.
        assert (await own.client.get("/api/v1/calls", headers=headers)).status_code == 200
        assert (await own.get("/api/v1/calls")).status_code == 200
        # A key that nobody can tell about is 503, not 401.
        got = await own.client.get("/api/v1/calls", headers=key)
        assert (got.status_code, got.headers["retry-after"]) == (503, "2")
        assert got.json()["error"] == "upstream_unavailable"


async def test_a_gateway_that_starts_before_auth_is_not_ready_until_it_comes(
    tmp_path: Path, redis_at: str
) -> None:
    async with platform_in(tmp_path, REDIS_URL=redis_at) as first:
        port = int(first.auth.wire.url.rpartition(":")[2])
        await first.auth.wire.stop()
        async with platform_in(
            tmp_path, REDIS_URL=redis_at, GATEWAY_UPSTREAMS=f"auth=http://127.0.0.1:{port}"
        ) as late:
            assert (await late.client.get("/ready")).status_code == 503
            got = await late.client.get("/api/v1/calls", headers=first.auth.bearer())
            assert got.status_code == 503
            await first.auth.wire.start(port)

            async def ready() -> bool:
                return (await late.client.get("/ready")).status_code == 200

            await until(ready, 5)
            got = await late.client.get("/api/v1/calls", headers=first.auth.bearer())
            assert got.status_code == 503  # verified now; there is no enrichment service here
            assert "enrichment" in got.json()["message"]


def test_the_cache_is_bounded_and_forgets_in_time() -> None:
    now = 0.0
    cache: ExpiringCache[str, int] = ExpiringCache(2, lambda: now)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    assert cache.get("a") == 1
    cache.put("c", 3, 5)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)
    now = 5.0
    assert cache.get("c") is None
    now = 10.0
    assert cache.get("a") is None
    assert len(cache) == 0
