"""What a caller who shows nothing can read, as a list; and who reads the metrics."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest

from gateway.api_docs.viewer import viewer_pages
from gateway.app import create_gateway
from tests.gateway.conftest import Platform, gateway_config, platform_in

OPEN = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/swagger-ui.HASH.css"),
    ("GET", "/docs/swagger-ui.HASH.js"),
    ("GET", "/.well-known/jwks.json"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/refresh"),
    ("POST", "/api/v1/sources/{source}/events"),  # opened by the message's own signature
}
OWN = {
    ("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics"),
    ("GET", "/internal/targets"), ("GET", "/openapi.json"), ("GET", "/docs"), ("POST", "/api/v1/batch"), ("GET", "/api/v1/gateway/routes"),
    ("GET", "/api/v1/gateway/upstreams"), ("GET", "/api/v1/gateway/limits"),
}  # fmt: skip
FAR = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture
async def behind_proxy(tmp_path: Path, redis_at: str) -> AsyncIterator[Platform]:
    async with platform_in(
        tmp_path,
        REDIS_URL=redis_at,
        TRUSTED_PROXIES="127.0.0.1/32,10.0.0.0/8",
        METRICS_NETWORKS="10.0.3.0/24,192.0.2.7/32",
    ) as running:
        yield running


async def test_this_and_nothing_else_is_open_to_anybody(behind_proxy: Platform) -> None:
    """A new page or route is in this list, or asks who is there."""
    table = create_gateway(gateway_config(behind_proxy.config.home)).read()[1]
    everything = {*OWN, *((route.method, route.path) for route in table.routes)}
    described = (await behind_proxy.client.get("/openapi.json", headers=FAR)).json()["paths"]
    everything |= {(method.upper(), path) for path, item in described.items() for method in item}
    everything |= {("GET", path) for path in viewer_pages()}
    found = set()
    for method, path in everything:
        got = await behind_proxy.client.request(
            method, path.replace("{", "").replace("}", ""), headers=FAR
        )
        assert got.status_code < 500, (method, path)
        named = (method, re.sub(r"\.[0-9a-f]{16}\.", ".HASH.", path))
        if got.status_code not in (401, 403):
            found.add(named)
        if method == "GET":
            head = await behind_proxy.client.head(path, headers=FAR)
            assert (head.status_code in (401, 403)) == (named not in OPEN), path
    assert found == OPEN


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),  # this machine is a proxy here, and says nothing
        ({"X-Forwarded-Proto": "https"}, 403),
        ({"X-Real-Ip": "192.0.2.7"}, 403),
        ({"X-Forwarded-For": "nonsense, 192.0.2.7"}, 403),
        ({"X-Forwarded-For": "nonsense, 10.0.3.4"}, 403),
        ({"X-Forwarded-For": "10.0.3.4,"}, 403),
        (FAR, 403),
        ({"X-Forwarded-For": "127.0.0.1"}, 403),  # of a proxy, however it is called
        ({"X-Forwarded-For": "::1"}, 403),
        ({"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}, 403),
        ({"X-Forwarded-For": "10.0.3.4, 203.0.113.9"}, 403),
        ({"X-Forwarded-For": "127.0.0.1, 10.9.9.9"}, 403),
        ({"X-Forwarded-For": ""}, 403),
        ({"X-Forwarded-For": "nonsense"}, 403),
        ({"Forwarded": "for=127.0.0.1"}, 403),
        ({"X-Real-Ip": "127.0.0.1"}, 403),
        ({"Via": "1.1 proxy"}, 403),
        ({"X-Forwarded-For": "192.0.2.7"}, 200),  # a listed one that comes by a trusted proxy
        ({"X-Forwarded-For": "::ffff:192.0.2.7"}, 200),
        ({"X-Forwarded-For": "10.0.3.4"}, 200),
        ({**FAR, "Authorization": "Bearer nonsense"}, 401),
    ],
)
async def test_metrics_are_for_this_machine_and_listed_networks(
    behind_proxy: Platform, headers: dict[str, str], status: int
) -> None:
    got = await behind_proxy.client.get("/metrics", headers=headers)
    assert got.status_code == status, got.text
    assert (b"http_requests_total" in got.content) == (status == 200)
    assert (await behind_proxy.client.head("/metrics", headers=headers)).status_code == status


async def test_networks_take_the_place_of_this_machine(tmp_path: Path, redis_at: str) -> None:
    """A proxy on it that tells nothing of its clients: whoever knows of one can leave it out."""
    for networks, status in (("10.0.3.0/24", 403), ("10.0.3.0/24,127.0.0.0/8", 200)):
        async with platform_in(tmp_path, REDIS_URL=redis_at, METRICS_NETWORKS=networks) as running:
            assert (await running.client.get("/metrics")).status_code == status
            via = await running.client.get("/metrics", headers={"Via": "1.1 x"})
            assert via.status_code == 403


@pytest.mark.parametrize("named", [True, False])
async def test_no_item_of_a_batch_reads_them(
    platform: Platform, behind_proxy: Platform, named: bool
) -> None:
    gate = behind_proxy if named else platform
    items = [
        {"method": "GET", "path": path} for path in ("/metrics", "/%6detrics", "/api/../metrics")
    ]
    for more in ({}, FAR, {"Via": "1.1 x"}, {"X-Real-Ip": "192.0.2.7"}):
        got = await gate.client.post(
            "/api/v1/batch", json={"requests": items}, headers={**gate.auth.bearer("agent"), **more}
        )
        assert [one["status"] for one in got.json()["data"]["responses"]] == [422] * 3


async def test_a_proxy_that_nobody_named_is_not_this_machine(platform: Platform) -> None:
    """A tunnel or a proxy on the same host: its clients come from the network all the same."""
    assert (await platform.client.get("/metrics")).status_code == 200
    for headers in (
        FAR, {"X-Forwarded-For": "127.0.0.1"}, {"Via": "1.1 x"}, {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Anything": ""}, {"Forwarded": ""}, {"X-Real-IP": "127.0.0.1"},
        {"CF-Connecting-IP": "127.0.0.1"}, {"CF-Ray": "1"}, {"True-Client-IP": "127.0.0.1"},
    ):  # fmt: skip
        assert (await platform.client.get("/metrics", headers=headers)).status_code == 403


async def test_metrics_are_for_operators_wherever_they_are(behind_proxy: Platform) -> None:
    for role, status in (("admin", 200), ("analyst", 403)):
        bearer = behind_proxy.auth.bearer(role)
        got = await behind_proxy.client.get("/metrics", headers={**FAR, **bearer})
        assert got.status_code == status
    key = {"X-API-Key": behind_proxy.auth.new_key("admin")}
    assert (await behind_proxy.client.get("/metrics", headers={**FAR, **key})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/openapi.json", *sorted({*viewer_pages()} - {"/docs"})], ids=["json", "css", "js"]
)
async def test_pages_are_compressed_once_for_who_wants_it(platform: Platform, path: str) -> None:
    async with httpx.AsyncClient(base_url=platform.url) as client:
        request = client.build_request("GET", path, headers={"Accept-Encoding": "gzip"})
        packed = await client.send(request, stream=True)
        raw = b"".join([part async for part in packed.aiter_raw()])
    assert packed.headers["content-encoding"] == "gzip"
    assert "accept-encoding" in packed.headers["vary"]
    plain = await platform.client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert "accept-encoding" in plain.headers["vary"]
    assert gzip.decompress(raw) == plain.content
    assert len(raw) * 2 < len(plain.content)
    for encoding in ("gzip", "identity"):
        asked = {"Accept-Encoding": encoding, "If-None-Match": plain.headers["etag"]}
        got = await platform.client.get(path, headers=asked)
        assert (got.status_code, got.content) == (304, b"")
        assert got.headers["etag"] == plain.headers["etag"]


async def test_a_small_page_is_not_compressed(platform: Platform) -> None:
    got = await platform.client.get("/ready", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in got.headers
    assert orjson.loads(got.content)["status"] == "ready"
