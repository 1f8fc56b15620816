"""Everything that is asked for by somebody counts: own routes, refusals, and what doesn't exist."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from shared.data_access.cache.redis import RedisCache
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.sockets import KEY

ROUTES = """
[limits]
public = ["public: address 5/h"]
admin = ["admins: principal 5/h"]
analyst = ["analysts: principal 5/h"]

[enrichment]
routes = [
  { method = "GET", path = "/open", scope = "public" },
  { method = "GET", path = "/api/things/{id}", scope = "calls:read" },
  { method = "GET", path = "/api/audit", scope = "audit:read" },
  { method = "GET", path = "/socket", scope = "calls:read", websocket = true },
]
"""
NOBODY = {"Authorization": "Bearer nonsense"}
addresses = (f"198.51.{one}.{two}" for one, two in itertools.product(range(256), range(1, 255)))


@pytest.fixture(scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Platform]:
    cache = RedisCache(redis_at)
    await cache.delete(*await cache.scan("limit:"))
    await cache.close()
    home = tmp_path_factory.mktemp("admission")
    (home / "routes.toml").write_text(ROUTES)
    async with platform_in(
        home,
        REDIS_URL=redis_at,
        GATEWAY_ROUTES=str(home / "routes.toml"),
        TRUSTED_PROXIES="127.0.0.0/8",
        CORS_ORIGINS="https://crm.example.com",
    ) as platform:
        yield platform


async def six(
    gate: Platform, path: str, method: str = "GET", **headers: str
) -> list[httpx.Response]:
    """Six requests of one address that no other test has."""
    address = {"X-Forwarded-For": next(addresses)}
    return [
        await gate.client.request(method, path, headers={**address, **headers}) for _ in range(6)
    ]


def statuses(got: list[httpx.Response]) -> list[int]:
    return [one.status_code for one in got]


@pytest.mark.parametrize(
    ("path", "method", "refusal"),
    [
        ("/api/things/1", "GET", 401),
        ("/api/things/1", "HEAD", 401),
        ("/api/v1/gateway/routes", "GET", 401),
        ("/api/v1/batch", "POST", 401),
        ("/nowhere", "GET", 404),
        ("/nowhere", "OPTIONS", 404),
        ("/api/things/1", "OPTIONS", 204),
        ("/api/things/1", "PATCH", 405),
        ("/health", "POST", 405),
        ("/api/v1/gateway/routes", "DELETE", 405),
        ("/socket", "GET", 426),
        ("/docs", "GET", 200),
        ("/openapi.json", "GET", 200),
        ("/metrics", "GET", 401),
    ],
)
async def test_strangers_are_counted_by_address(
    running: Platform, path: str, method: str, refusal: int
) -> None:
    got = await six(running, path, method, **NOBODY)
    assert statuses(got) == [refusal] * 5 + [429]
    assert int(got[-1].headers["retry-after"]) > 0


async def test_a_refused_handshake_counts_like_any_refusal(running: Platform) -> None:
    opens = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }  # fmt: skip
    assert statuses(await six(running, "/socket", **opens, **NOBODY)) == [401] * 5 + [429]
    foreign = {**opens, "Origin": "https://evil.example"}
    assert statuses(await six(running, "/socket", **foreign)) == [403] * 5 + [429]


async def test_they_share_one_count(running: Platform) -> None:
    address = {"X-Forwarded-For": next(addresses)}
    asked = ["/nowhere", "/api/v1/gateway/routes", "/api/things/1", "/open", "/docs", "/open"]
    got = [await running.client.get(path, headers=address) for path in asked]
    assert statuses(got) == [404, 401, 401, 200, 200, 429]


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_probes_are_never_refused(running: Platform, path: str) -> None:
    address = {"X-Forwarded-For": next(addresses)}
    for _ in range(6):
        await running.client.get("/nowhere", headers=address)
    got = [await running.client.get(path, headers=address) for _ in range(20)]
    assert set(statuses(got)) == {200}


@pytest.mark.parametrize(
    ("path", "role", "status"),
    [
        ("/api/v1/gateway/routes", "admin", 200),
        ("/api/v1/gateway/routes", "analyst", 403),
        ("/api/audit", "analyst", 403),
        ("/api/things/1", "analyst", 200),
    ],
)
async def test_callers_are_counted_by_their_role_allowed_or_not(
    running: Platform, path: str, role: str, status: int
) -> None:
    mine = running.auth.bearer(role, sub=f"user:{uuid4()}")
    assert statuses(await six(running, path, **mine)) == [status] * 5 + [429]
    other = running.auth.bearer(role, sub=f"user:{uuid4()}")
    assert (await running.client.get(path, headers=other)).status_code == status


async def test_own_routes_say_what_is_left(running: Platform) -> None:
    mine = running.auth.bearer("admin", sub=f"user:{uuid4()}")
    left = [one.headers["ratelimit-remaining"] for one in await six(running, "/api/audit", **mine)]
    assert left == ["4", "3", "2", "1", "0", "0"]
    mine = running.auth.bearer("admin", sub=f"user:{uuid4()}")
    got = await six(running, "/api/v1/gateway/limits", **mine)
    assert [one.headers["ratelimit-remaining"] for one in got] == ["4", "3", "2", "1", "0", "0"]


async def test_a_batch_counts_with_its_items(running: Platform) -> None:
    mine = running.auth.bearer(sub=f"user:{uuid4()}")
    items = [
        {"method": "GET", "path": "/api/things/1"},
        {"method": "GET", "path": "/api/audit"},
    ] * 3
    got = await running.client.post("/api/v1/batch", json={"requests": items}, headers=mine)
    said = sorted(one["status"] for one in got.json()["data"]["responses"])
    assert said.count(429) == 2  # one of five went for the batch itself
    again = await running.client.post("/api/v1/batch", json={"requests": items}, headers=mine)
    assert again.status_code == 429


async def test_a_refused_address_does_not_lock_its_callers_out(running: Platform) -> None:
    address = {"X-Forwarded-For": next(addresses)}
    for _ in range(6):
        await running.client.get("/nowhere", headers=address)
    mine = running.auth.bearer(sub=f"user:{uuid4()}")
    got = await running.client.get("/api/things/1", headers={**address, **mine})
    assert got.status_code == 200


async def test_a_preflight_counts_as_any_question_of_nobody(running: Platform) -> None:
    asks = {"Origin": "https://crm.example.com", "Access-Control-Request-Method": "GET"}
    got = await six(running, "/api/things/1", "OPTIONS", **asks)
    assert statuses(got) == [204] * 5 + [429]
    assert got[-1].headers["access-control-allow-origin"] == asks["Origin"]
    foreign = {**asks, "Origin": "https://elsewhere.example.com"}
    assert statuses(await six(running, "/open", "OPTIONS", **foreign)) == [204] * 5 + [429]


async def test_a_preflight_tells_of_paths_that_there_are(running: Platform) -> None:
    asks = {"Origin": "https://crm.example.com", "Access-Control-Request-Method": "POST"}
    for path in ("/nowhere", "/api/things", "/api/things/1/more"):
        assert statuses(await six(running, path, "OPTIONS", **asks)) == [404] * 5 + [429]
    for path in ("/api/v1/batch", "/health"):
        got = await six(running, path, "OPTIONS", **asks)
        assert statuses(got)[:5] == [204] * 5
