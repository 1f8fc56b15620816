"""The route table against what the services really offer, and against a real auth service."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import httpx

import ai_services
from gateway.api_docs.openapi import merge, references
from gateway.app import SERVICES
from gateway.routing.route import Route
from gateway.routing.route_file import packaged_routes, read_route_file
from shared.serving.openapi import describe
from shared.serving.service import Endpoint
from tests.gateway.wire import until


def offered() -> dict[str, list[Endpoint[Any]]]:
    """Service → its endpoints, for every service that has some."""
    found = {}
    for module in pkgutil.iter_modules(ai_services.__path__):
        if importlib.util.find_spec(f"ai_services.{module.name}.routes"):
            routes = importlib.import_module(f"ai_services.{module.name}.routes")
            found[module.name] = list(routes.endpoints)
    return found


ROUTES = read_route_file(packaged_routes(), SERVICES).routes
OFFERED = offered()


def public(endpoint: Endpoint[Any]) -> bool:
    return not endpoint.path.startswith("/internal/")


def test_every_public_endpoint_is_routed_with_its_scope_and_nothing_else_is() -> None:
    routed = {(r.service, r.method, r.path): (r.scope, r.body_limit) for r in ROUTES}
    there = {
        (service, endpoint.method, endpoint.path): (endpoint.scope, endpoint.body_limit)
        for service, endpoints in OFFERED.items()
        for endpoint in endpoints
        if public(endpoint)
    }
    assert routed == there


def test_the_merged_description_covers_every_route() -> None:
    documents = {name: describe(name, "", endpoints) for name, endpoints in OFFERED.items()}
    merged = merge(documents, ROUTES)
    described = {
        (method.upper(), path) for path, item in merged["paths"].items() for method in item
    }
    assert described == {(route.method, route.path) for route in ROUTES}
    assert set(references(merged)) <= set(merged["components"]["schemas"])
    assert merged["info"]["x-missing-services"] == []
    assert not [path for path in merged["paths"] if path.startswith("/internal")]


def test_services_named_here_are_those_there_are() -> None:
    assert set(SERVICES) == set(OFFERED)
    assert all(isinstance(route, Route) for route in ROUTES)


async def test_a_real_session_and_a_real_key_open_and_end(
    signed_in: tuple[httpx.AsyncClient, dict[str, Any]],
) -> None:
    client, tokens = signed_in
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    me = await client.get("/api/v1/auth/me", headers=bearer)
    assert (me.status_code, me.json()["data"]["role"]) == (200, "admin")

    made = await client.post(
        "/api/v1/keys", json={"name": "machine", "role": "agent"}, headers=bearer
    )
    assert made.status_code == 201, made.text
    key = made.json()["data"]
    for headers in (
        {"X-API-Key": key["secret"]},
        {"Authorization": f"Bearer {key['secret']}"},
    ):
        got = await client.get("/api/v1/auth/me", headers=headers)
        assert (got.status_code, got.json()["data"]["kind"]) == (200, "key")
        assert (await client.get("/api/v1/users", headers=headers)).status_code == 403

    async def refused(headers: dict[str, str]) -> bool:
        return (await client.get("/api/v1/auth/me", headers=headers)).status_code == 401

    await client.delete(f"/api/v1/keys/{key['key_id']}", headers=bearer)
    assert await until(lambda: refused({"X-API-Key": key["secret"]}), 5) < 5
    assert (await client.post("/api/v1/auth/logout", headers=bearer)).status_code == 200
    assert await until(lambda: refused(bearer), 5) < 5
