"""Which request goes where, who may send it, and what is answered when it goes nowhere."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.routing.packaged import packaged_routes
from gateway.routing.route import Route
from shared.security import PUBLIC, ROLE_SCOPES, USER_ROLES, InternalTokens, Role
from tests.gateway.conftest import SECRET, Platform
from tests.gateway.wire import exchange

ROUTES = packaged_routes()


def concrete(route: Route) -> str:
    path = route.path
    for name in route.parameters:
        path = path.replace(f"{{{name}}}", "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11")
    return path


async def test_a_routed_request_reaches_its_service(platform: Platform) -> None:
    got = await platform.get("/api/v1/calls/c-1?limit=5&x=%20y")
    assert got.status_code == 200
    assert got.json()["data"]["target"] == "/api/v1/calls/c-1?limit=5&x=%20y"
    assert platform.portrait.requests == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_each_route_opens_to_the_roles_that_have_its_scope(
    platform: Platform, route: Route
) -> None:
    wire = platform.wires[route.service]
    for role in USER_ROLES:
        wire.requests.clear()
        got = await platform.client.request(
            route.method, concrete(route), headers=platform.auth.bearer(role)
        )
        allowed = route.scope == PUBLIC or route.scope in ROLE_SCOPES[cast("Role", role)]
        assert got.status_code == (200 if allowed else 403), (role, got.text)
        seen = [received for received in wire.requests if received.path == concrete(route)]
        assert len(seen) == (1 if allowed else 0)
    got = await platform.client.request(route.method, concrete(route))
    assert got.status_code == (200 if route.scope == PUBLIC else 401)


async def test_the_service_learns_the_principal_by_internal_token(platform: Platform) -> None:
    tokens = InternalTokens(SECRET.encode())
    await platform.get("/api/v1/calls", role="agent", X_Ignored="1")
    seen = platform.enrichment.last
    principal = tokens.verify(seen.header("x-internal-token") or "", "enrichment")
    assert (principal.role, principal.kind) == ("agent", "user")
    assert principal.subject.startswith("user:")
    assert principal.session


async def test_a_public_route_carries_the_anonymous_principal(platform: Platform) -> None:
    """Also when the client sends a token, even a bad one: it must be able to sign in."""
    await platform.client.post(
        "/api/v1/auth/login", headers={"Authorization": "Bearer old.old.old"}
    )
    token = platform.auth.wire.last.header("x-internal-token") or ""
    assert InternalTokens(SECRET.encode()).verify(token, "auth").kind == "anonymous"


async def test_an_internal_token_is_minted_once_per_principal(platform: Platform) -> None:
    headers = platform.auth.bearer()
    for _ in range(3):
        await platform.client.get("/api/v1/calls", headers=headers)
    assert len({one.header("x-internal-token") for one in platform.enrichment.requests}) == 1


async def test_unknown_path_is_an_enveloped_404(platform: Platform) -> None:
    known = "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11"
    got = await platform.client.get("/nowhere", headers={"X-Request-Id": known})
    assert (got.status_code, got.json()["error"], got.json()["code"]) == (404, "not_found", 1007)
    assert got.json()["request_id"] == got.headers["x-request-id"] == known


async def test_wrong_method_is_an_enveloped_405_with_allow(platform: Platform) -> None:
    got = await platform.client.put("/api/v1/calls")
    assert (got.status_code, got.json()["error"]) == (405, "method_not_allowed")
    assert got.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (await platform.client.post("/health")).headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "FOO"])
async def test_methods_without_a_route_are_405_and_cors_is_off(
    platform: Platform, method: str
) -> None:
    got = await platform.client.request(
        method, "/api/v1/calls",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
    )  # fmt: skip
    assert got.status_code == 405
    assert not [name for name in got.headers if name.startswith("access-control")]


async def test_internal_paths_of_services_are_not_routed(platform: Platform) -> None:
    for path in (
        "/internal/v1/keys/verify",
        "/internal/v1/revocations",
        "/api/../internal/v1/revocations",
        "/api/%2e%2e/internal/v1/revocations",
        "//internal/v1/revocations",
    ):
        got = await exchange(
            platform.url,
            f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {platform.auth.token('admin')}\r\n\r\n".encode(),
        )
        assert got.startswith(b"HTTP/1.1 404 "), path


async def test_answers_carry_the_security_headers(platform: Platform) -> None:
    for got in (await platform.get("/api/v1/calls"), await platform.client.get("/nowhere")):
        assert got.headers["x-content-type-options"] == "nosniff"
        assert got.headers["x-frame-options"] == "DENY"
        assert got.headers["referrer-policy"] == "no-referrer"
        assert got.headers["content-security-policy"].startswith("default-src 'none'")
        assert got.headers["cache-control"] == "no-store"
        assert "server" not in got.headers
        assert "alt-svc" not in got.headers
