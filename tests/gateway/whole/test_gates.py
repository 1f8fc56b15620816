"""What stands before and behind the services: limits, keys, kept answers, batches, origins."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from gateway.http.client_address import ClientAddress
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from tests.contract.proxy import proxied
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.wire import Received, always, answer, echo, json_answer, until

ROUTES = """
[limits]
public = ["public: address 5/m"]
analyst = ["analysts: principal 1000/s burst 5000"]

[enrichment]
routes = [
  { method = "GET", path = "/open", scope = "public" },
  { method = "GET", path = "/api/things/{id}", scope = "calls:read" },
  { method = "GET", path = "/kept/{id}", scope = "calls:read", cache = "5s" },
  { method = "GET", path = "/api/tight", scope = "calls:read", limits = ["principal 3/m"] },
  { method = "POST", path = "/api/things", scope = "calls:write" },
]
"""


@pytest.fixture
async def gated(tmp_path: Path, redis_at: str) -> AsyncIterator[Platform]:
    cache = RedisCache(redis_at)
    for prefix in ("limit:", "idempotency:"):
        await cache.delete(*await cache.scan(prefix))
    await cache.close()
    (tmp_path / "routes.toml").write_text(ROUTES)
    async with platform_in(
        tmp_path,
        REDIS_URL=redis_at,
        GATEWAY_ROUTES=str(tmp_path / "routes.toml"),
        CORS_ORIGINS="https://crm.example.com",
        TRUSTED_PROXIES="127.0.0.0/8",
    ) as running:
        yield running


async def test_a_limit_counts_its_caller_and_says_what_is_left(gated: Platform) -> None:
    mine, other = gated.auth.bearer(sub=f"user:{uuid4()}"), gated.auth.bearer(sub=f"user:{uuid4()}")
    for left in (2, 1, 0):
        got = await gated.client.get("/api/tight", headers=mine)
        assert (got.status_code, got.headers["ratelimit-remaining"]) == (200, str(left))
    got = await gated.client.get("/api/tight", headers=mine)
    assert (got.status_code, got.json()["error"]) == (429, "too_many_requests")
    assert int(got.headers["retry-after"]) >= 1
    assert (await gated.client.get("/api/tight", headers=other)).status_code == 200
    page = (await gated.client.get("/metrics", headers=gated.auth.bearer("admin"))).text
    assert 'rate_limited_total{route="/api/tight",scope="principal"} 1.0' in page


async def test_requests_are_counted_by_the_organisation_of_who_asks_also_those_refused(
    gated: Platform,
) -> None:
    organisation = str(uuid4())
    mine = gated.auth.bearer(sub=f"user:{uuid4()}", org=organisation)
    for wanted in (200, 200, 200, 429):
        assert (await gated.client.get("/api/tight", headers=mine)).status_code == wanted
    page = (await gated.client.get("/metrics", headers=gated.auth.bearer("admin"))).text
    assert f'organisation_requests_total{{organisation="{organisation}",status="429"}} 1.0' in page
    counted = f'organisation_request_duration_seconds_count{{organisation="{organisation}"}} 4.0'
    assert counted in page


async def test_addresses_are_those_that_trusted_proxies_tell(gated: Platform) -> None:
    for _ in range(5):
        got = await gated.client.get("/open", headers={"X-Forwarded-For": "9.9.9.9, 203.0.113.5"})
        assert got.status_code == 200
    assert gated.enrichment.last.header("x-client-address") == "203.0.113.5"
    got = await gated.client.get("/open", headers={"X-Forwarded-For": "8.8.8.8, 203.0.113.5"})
    assert got.status_code == 429
    got = await gated.client.get("/open", headers={"X-Forwarded-For": "203.0.113.6"})
    assert got.status_code == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("192.0.2.1", ["1.2.3.4"], "192.0.2.1"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4", "10.0.0.2"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["::ffff:1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
    ],
)
def test_the_first_untrusted_address_from_the_right(
    peer: str, forwarded: list[str], client: str
) -> None:
    config = Config.from_env({"TRUSTED_PROXIES": "10.0.0.0/8"})
    assert ClientAddress(config.trusted_proxies).of(peer, forwarded) == client
    assert ClientAddress(()).of(peer, forwarded) == peer


async def test_refused_credentials_are_counted_by_address(gated: Platform) -> None:
    headers = {"X-Forwarded-For": "203.0.113.77", "Authorization": "Bearer nonsense"}
    statuses = [
        (await gated.client.get("/api/things/1", headers=headers)).status_code for _ in range(7)
    ]
    assert statuses == [401] * 5 + [429] * 2


async def test_a_request_with_a_key_is_carried_out_once(gated: Platform) -> None:
    bearer = gated.auth.bearer()
    headers = {**bearer, "Idempotency-Key": str(uuid4())}
    first = await gated.client.post("/api/things", json={"a": 1}, headers=headers)
    again = await gated.client.post("/api/things", json={"a": 1}, headers=headers)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert len(gated.enrichment.requests) == 1
    other = await gated.client.post("/api/things", json={"a": 2}, headers=headers)
    assert other.status_code == 409

    async def slowly(received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        await echo(received, writer)

    gated.behave(slowly)
    headers = {**bearer, "Idempotency-Key": str(uuid4())}
    both = await asyncio.gather(
        *(gated.client.post("/api/things", json={"a": 1}, headers=headers) for _ in range(5))
    )
    assert sorted(one.status_code for one in both) == [200, 409, 409, 409, 409]
    assert len(gated.enrichment.requests) == 1


async def test_kept_answers_serve_their_caller_until_something_changes(gated: Platform) -> None:
    mine, other = gated.auth.bearer(sub=f"user:{uuid4()}"), gated.auth.bearer(sub=f"user:{uuid4()}")
    first = await gated.client.get("/kept/1", headers=mine)
    again = await gated.client.get("/kept/1", headers=mine)
    assert first.content == again.content
    assert len(gated.enrichment.requests) == 1
    tagged = {**mine, "If-None-Match": first.headers["etag"]}
    got = await gated.client.get("/kept/1", headers=tagged)
    assert (got.status_code, got.content) == (304, b"")
    await gated.client.get("/kept/1", headers=other)
    assert len(gated.enrichment.requests) == 2
    await gated.client.post("/api/things", json={}, headers=mine)
    await gated.client.get("/kept/1", headers=mine)
    assert len(gated.enrichment.requests) == 4


async def test_texts_are_compressed_for_those_who_accept_it(gated: Platform) -> None:
    text = orjson.dumps(["something that repeats"] * 500)
    gated.behave(always(answer(200, text)))
    bearer = gated.auth.bearer()
    request = gated.client.build_request(
        "GET", "/api/things/1", headers={**bearer, "Accept-Encoding": "gzip"}
    )
    got = await gated.client.send(request, stream=True)
    raw = b"".join([part async for part in got.aiter_raw()])
    assert got.headers["content-encoding"] == "gzip"
    assert len(raw) < len(text) / 10
    assert gzip.decompress(raw) == text
    plain = await gated.client.get(
        "/api/things/1", headers={**bearer, "Accept-Encoding": "identity"}
    )
    assert "content-encoding" not in plain.headers
    assert plain.content == text


async def test_pages_of_allowed_origins_may_read(gated: Platform) -> None:
    ask = {"Access-Control-Request-Method": "POST"}
    good, bad = {"Origin": "https://crm.example.com"}, {"Origin": "https://evil.example"}
    got = await gated.client.options("/api/things", headers={**good, **ask})
    assert got.status_code == 204
    assert got.headers["access-control-allow-origin"] == "https://crm.example.com"
    assert "Authorization" in got.headers["access-control-allow-headers"]
    got = await gated.client.options("/api/things", headers={**bad, **ask})
    assert "access-control-allow-origin" not in got.headers
    got = await gated.client.get("/api/things/1", headers={**gated.auth.bearer(), **good})
    assert got.headers["access-control-allow-origin"] == "https://crm.example.com"
    got = await gated.client.get("/api/things/1", headers=good)
    assert got.status_code == 401
    assert got.headers["access-control-allow-origin"] == "https://crm.example.com"


async def test_a_batch_is_its_requests_one_by_one(gated: Platform) -> None:
    bearer = gated.auth.bearer()
    items = [
        {"method": "GET", "path": "/api/things/7?x=1"},
        {"method": "POST", "path": "/api/things", "body": {"a": 1}},
        {"method": "GET", "path": "/api/nowhere"},
        {"method": "GET", "path": "/api/v1/gateway/routes"},
        {"method": "POST", "path": "/api/v1/batch", "body": {"requests": []}},
    ]
    got = await gated.client.post("/api/v1/batch", json={"requests": items}, headers=bearer)
    assert got.status_code == 200, got.text
    said = got.json()["data"]["responses"]
    assert [one["status"] for one in said] == [200, 200, 404, 403, 422]
    assert said[0]["body"]["data"]["target"] == "/api/things/7?x=1"
    assert said[1]["body"]["data"]["size"] == len(b'{"a":1}')
    for item, one in zip(items[:3], said, strict=False):
        alone = await gated.client.request(
            item["method"], item["path"], json=item.get("body"), headers=bearer
        )
        assert alone.status_code == one["status"]
    page = (await gated.client.get("/metrics", headers=gated.auth.bearer("admin"))).text
    labels = 'method="GET",route="/api/things/{id}",service="gateway",status="200"'
    assert f"http_requests_total{{{labels}}} 2.0" in page
    assert (await gated.client.post("/api/v1/batch", json={"requests": items})).status_code == 401


@pytest.mark.parametrize(
    ("content", "headers", "tells"),
    [
        (b"a,b", {"Content-Type": "text/csv"}, ("accept", "application/json")),
        (b"{}", {"Content-Type": "application/json; charset=gbk"}, ("accept", "application/json")),
        (
            gzip.compress(b"{}", mtime=0),
            {"Content-Encoding": "gzip"},
            ("accept-encoding", "identity"),
        ),
        ("{}".encode("utf-16"), {}, ("accept", "application/json")),
    ],
)
async def test_a_batch_is_json_in_utf_8_as_it_is(
    gated: Platform, content: bytes, headers: dict[str, str], tells: tuple[str, str]
) -> None:
    bearer = gated.auth.bearer("analyst")
    got = await gated.client.post("/api/v1/batch", content=content, headers={**bearer, **headers})
    assert (got.status_code, got.json()["error"]) == (415, "unsupported_media_type")
    assert got.headers[tells[0]] == tells[1]


async def test_the_items_of_a_batch_count_for_limits(gated: Platform) -> None:
    bearer = gated.auth.bearer(sub=f"user:{uuid4()}")
    items = [{"method": "GET", "path": "/api/tight"}] * 5
    got = await gated.client.post("/api/v1/batch", json={"requests": items}, headers=bearer)
    statuses = sorted(one["status"] for one in got.json()["data"]["responses"])
    assert statuses == [200, 200, 200, 429, 429]


async def test_operators_see_routes_pools_and_limits(gated: Platform) -> None:
    admin = gated.auth.bearer("admin")
    routes = (await gated.client.get("/api/v1/gateway/routes", headers=admin)).json()["data"]
    assert {one["path"] for one in routes["routes"]} >= {"/open", "/api/tight"}
    pools = (await gated.client.get("/api/v1/gateway/upstreams", headers=admin)).json()["data"]
    (pool,) = pools["services"]
    assert pool["instances"][0]["circuit"]["state"] == "closed"
    limits = (await gated.client.get("/api/v1/gateway/limits", headers=admin)).json()["data"]
    assert limits["roles"]["analyst"][0]["burst"] == 5000
    for path in ("routes", "upstreams", "limits"):
        got = await gated.get(f"/api/v1/gateway/{path}")
        assert got.status_code == 403
    described = (await gated.client.get("/openapi.json")).json()
    assert {"/api/v1/batch", "/api/v1/gateway/limits"} <= set(described["paths"])
    assert "BatchOut" in described["components"]["schemas"]


async def test_a_reload_takes_the_new_table_or_keeps_the_old(
    gated: Platform, redis_at: str
) -> None:
    path = gated.config.gateway_routes
    assert path is not None
    cache = RedisCache(redis_at)

    async def reloaded(ok: bool) -> None:
        """Channels know no databases: the gateways of other tests answer as well."""
        async with cache.subscribe("gateway:reloaded") as told:
            await cache.publish("gateway:reload", b"")
            async with asyncio.timeout(5):
                async for message in told:
                    said = orjson.loads(message)
                    if said["ok"] is ok and said.get("routes", 5) == 5:
                        return

    async def listening() -> bool:
        return (await gated.client.get("/ready")).status_code == 200

    await until(listening, 5)
    await asyncio.sleep(0.2)
    path.write_text(ROUTES.replace('path = "/open"', 'path = "/opened"'))
    await reloaded(True)
    assert (await gated.client.get("/opened")).status_code == 200
    assert (await gated.client.get("/open")).status_code == 404
    path.write_text("nonsense")
    await reloaded(False)
    assert (await gated.client.get("/opened")).status_code == 200
    await cache.close()


async def test_without_redis_limits_are_counted_alone_and_together_again_after(
    tmp_path: Path, redis_at: str
) -> None:
    (tmp_path / "routes.toml").write_text(ROUTES)
    async with (
        proxied(redis_at) as (url, proxy),
        platform_in(tmp_path, REDIS_URL=url, GATEWAY_ROUTES=str(tmp_path / "routes.toml")) as own,
    ):

        async def degraded() -> bool:
            await own.client.get("/api/tight", headers=own.auth.bearer(sub=f"user:{uuid4()}"))
            return "rate_limit_degraded 1.0" in (await own.client.get("/metrics")).text

        async def together() -> bool:
            return not await degraded()

        assert await together()
        await proxy.cut()
        await until(degraded, 10)
        mine = own.auth.bearer(sub=f"user:{uuid4()}")
        statuses = [
            (await own.client.get("/api/tight", headers=mine)).status_code for _ in range(5)
        ]
        assert statuses == [200, 200, 200, 429, 429]
        await proxy.start()
        await until(together, 15)


async def test_a_failing_answer_is_no_kept_one(gated: Platform) -> None:
    gated.behave(always(json_answer({"error": "x"}, 500)))
    mine = gated.auth.bearer(sub=f"user:{uuid4()}")
    assert (await gated.client.get("/kept/9", headers=mine)).status_code == 500
    gated.behave(echo)
    assert (await gated.client.get("/kept/9", headers=mine)).status_code == 200
    headers = {**mine, "Idempotency-Key": str(uuid4())}
    gated.behave(always(json_answer({"error": "x"}, 500)))
    assert (await gated.client.post("/api/things", json={}, headers=headers)).status_code == 500
    gated.behave(echo)
    assert (await gated.client.post("/api/things", json={}, headers=headers)).status_code == 200
