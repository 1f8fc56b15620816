"""Real services with real data of one organisation, and an admin of another who asks for it all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_services.auth import app as auth
from ai_services.enrichment import app as enrichment
from ai_services.portrait import app as portrait
from gateway.app import create_gateway
from gateway.routing.packaged import packaged_routes
from gateway.routing.route import Route
from shared.security import PUBLIC
from tests.ai_services.enrichment.records import record
from tests.gateway.conftest import gateway_config
from tests.gateway.whole.test_external_issuers import BETA, Provider
from tests.gateway.wire import until

PASSWORD = "correct horse battery staple"
SERVICES = (auth, enrichment, portrait)
NAMES = [app.__name__.split(".")[1] for app in SERVICES]
# What is public belongs to nobody who signs in: a signature of its own opens it. An upload takes parts
# of a file, no JSON.
PARAMETRIC = [
    one
    for one in packaged_routes()
    if one.parameters
    and one.service in NAMES
    and one.scope != PUBLIC
    and not one.path.startswith("/api/v1/uploads/")
]
# Whoever owns the thing would be answered with success.
BODIES: dict[str, Any] = {
    "PATCH /api/v1/users/{user_id}": {"name": "Mallory"},
    "POST /api/v1/users/{user_id}/password": {"password": "an entirely new pass phrase"},
    "POST /api/v1/keys/{key_id}/transfer": {"role": "agent"},
    "POST /api/v1/customers/{customer_id}/merge": {"into": "somebody-else"},
    "PATCH /api/v1/calls/{callid}/analysis": {"sentiment": "negative"},
}
LISTS = (
    "/api/v1/users", "/api/v1/keys", "/api/v1/audit", "/api/v1/imports",
    "/api/v1/calls?user_id=account-1", "/api/v1/calls/search?q=complaint", "/api/v1/periods?type=week",
    "/api/v1/portrait/trend?metric=total_calls&period_type=week", "/api/v1/customers",
    "/api/v1/portrait/export?period_type=week", "/api/v1/portrait/summary/history",
)  # fmt: skip


@dataclass
class Tenants:
    client: httpx.AsyncClient
    owner: dict[str, str]
    foreigner: dict[str, str]
    ids: dict[str, str]  # of what belongs to the owner, by the route parameter's name

    async def ask(self, route: Route, who: dict[str, str]) -> httpx.Response:
        body = BODIES.get(f"{route.method} {route.path}")
        if route.path.endswith("/split"):
            body = {"merge_id": self.ids["merge_id"]}
        ids, query = dict(self.ids), dict[str, str]()
        if route.service == "portrait":  # its users are the accounts of calls
            ids["user_id"] = "account-1"
        path = route.path.format(**ids)
        if "chart" in route.path or route.path.endswith("/trend"):
            query = {"metric": "total_calls"}
        return await self.client.request(route.method, path, params=query, headers=who, json=body)


@pytest.fixture
async def tenants(
    tmp_path: Path, database_url: str, redis_url: str, graph_url: str
) -> AsyncIterator[Tenants]:
    settings = {
        "DATABASE_URL": database_url, "REDIS_URL": redis_url, "GRAPH_URL": graph_url,
        "DATA_KEY": "d" * 64, "ADMIN_PASSWORD": PASSWORD,
    }  # fmt: skip
    config = gateway_config(tmp_path, **settings)
    beta = Provider("beta", BETA)
    async with AsyncExitStack() as stack:
        await beta.wire.start()
        stack.push_async_callback(beta.wire.stop)
        issuers = tmp_path / "issuers.toml"
        issuers.write_text(beta.entry())
        urls = [
            f"{name}={await stack.enter_async_context(app.create_service(config).running(port=0))}"
            for name, app in zip(NAMES, SERVICES, strict=True)
        ]
        gateway = create_gateway(
            gateway_config(
                tmp_path,
                **settings,
                GATEWAY_UPSTREAMS=",".join(urls),
                GATEWAY_ISSUERS=str(issuers),
            )
        )
        url = await stack.enter_async_context(gateway.running(port=0))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20))
        owner = await signed_in(client)
        yield Tenants(client, owner, beta.bearer("ops"), await made(client, owner))


async def signed_in(client: httpx.AsyncClient) -> dict[str, str]:
    answers: list[httpx.Response] = []

    async def first_start_done() -> bool:
        credentials = {"email": "admin@looma.local", "password": PASSWORD}
        answers.append(await client.post("/api/v1/auth/login", json=credentials))
        return answers[-1].status_code == 200

    await until(first_start_done, 20)
    return {"Authorization": f"Bearer {answers[-1].json()['data']['access_token']}"}


async def made(client: httpx.AsyncClient, owner: dict[str, str]) -> dict[str, str]:
    """A user, a key, a call with a reject beside it, a merge, an erasure, a portrait."""

    async def post(path: str, body: Any) -> Any:
        got = await client.post(path, json=body, headers={**owner, "Prefer": "wait=15"})
        assert got.status_code in (200, 201), f"{path}: {got.text}"
        return got.json()["data"]

    someone = {"email": "jo@example.com", "name": "Jo", "role": "agent", "password": PASSWORD}
    user = await post("/api/v1/users", someone)
    key = await post("/api/v1/keys", {"name": "machine", "role": "agent"})
    imported = await post("/api/v1/calls", {"records": [record("secret-call"), {"callid": "b"}]})
    await post("/api/v1/calls", {"records": [record("call-b", customer_id="customer-b")]})
    merge = await post("/api/v1/customers/customer-b/merge", {"into": "customer-1"})
    await post("/api/v1/calls", {"records": [record("call-c")]})
    erased = await client.delete("/api/v1/calls/call-c", headers=owner)
    assert erased.status_code == 200, erased.text
    await post(
        "/api/v1/admin/compute",
        {"period_type": "week", "from": "2024-12-01", "to": "2024-12-31"},
    )
    return {
        "user_id": user["user_id"],
        "key_id": key["key_id"],
        "callid": "secret-call",
        "import_id": imported["import_id"],
        "customer_id": "customer-1",
        "dimension": "customers",
        "subject_id": "customer-1",
        "merge_id": merge["merge_id"],
        "erasure_id": erased.json()["data"]["erasure_id"],
    }


@pytest.mark.slow
async def test_an_admin_of_another_organisation_finds_nothing_and_changes_nothing(
    tenants: Tenants,
) -> None:
    for route in PARAMETRIC:
        got = await tenants.ask(route, tenants.foreigner)
        assert got.status_code == 404, f"{route.method} {route.path}: {got.text}"
        assert got.json()["error"] == "not_found"
    for path in LISTS:
        got = await tenants.client.get(path, headers=tenants.foreigner)
        assert got.status_code in (200, 404), f"{path}: {got.text}"
        for secret in ("secret-call", "jo@example.com", *set(tenants.ids.values()) - {"customers"}):
            assert secret not in got.text.replace("user_id=account-1", ""), path


@pytest.mark.slow
async def test_the_owner_finds_all_that(tenants: Tenants) -> None:
    deletions = [route for route in PARAMETRIC if route.method == "DELETE"]
    deletions.sort(key=lambda route: -route.path.count("/"))  # what belongs to a thing before it
    for route in [one for one in PARAMETRIC if one not in deletions] + deletions:
        got = await tenants.ask(route, tenants.owner)
        assert got.status_code in (200, 202), f"{route.path}: {got.text}"
