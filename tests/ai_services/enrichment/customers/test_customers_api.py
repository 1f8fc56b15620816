"""Customers and erasures over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ai_services.enrichment.app import create_service
from shared.config import Config
from tests.ai_services.enrichment.records import TURNS, record
from tests.ai_services.enrichment.test_calls_api import SECRET, Api, organisation, until

CUSTOMERS = "/api/v1/customers"


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str, graph_url: str) -> dict[str, str]:
    return {
        "LOOMA_HOME": str(tmp_path / "home"),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "GRAPH_URL": graph_url,
        "INTERNAL_TOKEN_SECRET": SECRET,
        "SHUTDOWN_SECONDS": "3",
        "DEFAULT_COUNTRY": "DE",
    }


@pytest.fixture
async def api(settings: dict[str, str]) -> AsyncIterator[Api]:
    config = Config.from_env(settings)
    async with (
        create_service(config).running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        yield Api(client, await organisation(config))


async def customer_of(api: Api, callid: str) -> str | None:
    answer = await api.get(f"/api/v1/calls/{callid}")
    return None if answer.status_code == 404 else answer.json()["data"]["customer_id"]


async def merged(api: Api, customer: str, into: str) -> dict[str, Any]:
    answer = await api.request("POST", f"{CUSTOMERS}/{customer}/merge", json={"into": into})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["data"])


async def test_customers_are_merged_split_and_told_of(api: Api) -> None:
    await api.post(record("a", customer_id="x"), record("b", customer_id="y"))
    done = await merged(api, "y", "x")
    assert (done["customer_id"], done["into"], done["calls"], done["split_at"]) == (
        "y",
        "x",
        1,
        None,
    )
    assert await customer_of(api, "b") == "x"
    told = (await api.request("GET", f"{CUSTOMERS}/x/history", role="agent")).json()["data"]
    assert (told["survivor"], told["aliases"], told["merges"]) == ("x", ["y"], [done])
    body = {"merge_id": done["merge_id"]}
    answer = await api.request("POST", f"{CUSTOMERS}/y/split", json=body)
    assert answer.json()["data"]["split_by"] == "user:1"
    assert await customer_of(api, "b") == "y"


async def test_a_number_is_of_the_country_that_is_set(api: Api) -> None:
    await api.post(
        record("a", customer_id=None, phone="030 901820"),
        record("b", customer_id=None, phone="+49 30 901820"),
    )
    assert await customer_of(api, "a") == await customer_of(api, "b")
    assert str(await customer_of(api, "a")).startswith("tel:")


async def test_an_admin_erases_and_gets_the_receipt(api: Api) -> None:
    await api.post(record("a", customer_id="x", turns=TURNS), record("b", customer_id="x"))
    found = lambda: api.get("/api/v1/calls/search", q="cancel")  # noqa: E731

    async def searchable() -> bool:
        return bool((await found()).json()["data"]["hits"])

    await until(searchable)
    answer = await api.request("DELETE", f"{CUSTOMERS}/x", role="admin")
    assert answer.status_code == 200, answer.text
    receipt = answer.json()["data"]
    assert (receipt["state"], receipt["calls"], receipt["transcripts"]) == ("done", 2, 1)
    assert receipt["requested_by"] == "user:1"
    again = await api.request("DELETE", f"{CUSTOMERS}/x", role="admin")
    assert (again.status_code, again.json()["data"]) == (200, receipt)
    where = answer.headers["location"]
    assert (await api.request("GET", where, role="admin")).json()["data"] == receipt
    assert (await api.get("/api/v1/calls/a")).status_code == 404
    sent = (await api.post(record("a", customer_id="x"))).json()["data"]
    assert (sent["erased"], sent["results"][0]["status"]) == (1, "erased")
    back = await api.request("POST", f"{where}/readmit", role="admin")
    assert back.json()["data"] == {"ids": 1}
    assert (await api.post(record("a", customer_id="x"))).json()["data"]["inserted"] == 1
    single = await api.request("DELETE", "/api/v1/calls/a", role="admin")
    assert (single.status_code, single.json()["data"]["kind"]) == (200, "call")


async def test_who_waits_gets_the_receipt_of_a_large_erasure(api: Api) -> None:
    for start in (0, 1000):
        await api.post(*(record(f"c{start + n}", customer_id="x") for n in range(1000)))
    answer = await api.request("DELETE", f"{CUSTOMERS}/x", role="admin")
    assert answer.status_code == 202, answer.text
    assert answer.json()["data"]["state"] == "running"

    async def over() -> bool:
        told = await api.request("GET", answer.headers["location"], role="admin")
        return bool(told.json()["data"]["state"] == "done")

    await until(over, 30)
    told = await api.request("DELETE", f"{CUSTOMERS}/x", role="admin")
    assert (told.status_code, told.json()["data"]["calls"]) == (200, 2000)


async def test_only_admins_erase_and_agents_merge_nobody(api: Api) -> None:
    await api.post(record("a", customer_id="x"), record("b", customer_id="y"))
    some = uuid4()
    for role, method, path, body in (
        ("analyst", "DELETE", f"{CUSTOMERS}/x", None),
        ("analyst", "DELETE", "/api/v1/calls/a", None),
        ("service", "GET", f"/api/v1/erasures/{some}", None),
        ("analyst", "POST", f"/api/v1/erasures/{some}/readmit", None),
        ("agent", "POST", f"{CUSTOMERS}/x/merge", {"into": "y"}),
        ("agent", "POST", f"{CUSTOMERS}/x/split", {"merge_id": str(some)}),
    ):
        answer = await api.request(method, path, role=role, json=body)
        assert answer.status_code == 403, (role, method, path)
    assert await customer_of(api, "a") == "x"


async def test_what_never_was_or_is_anothers_is_not_found(
    api: Api, settings: dict[str, str]
) -> None:
    await api.post(record("a", customer_id="x"), record("b", customer_id="y"))
    done = await merged(api, "y", "x")
    erased = (await api.request("DELETE", "/api/v1/calls/a", role="admin")).json()["data"]
    other = Api(api._client, await organisation(Config.from_env(settings)))
    for method, path, body in (
        ("DELETE", f"{CUSTOMERS}/x", None),
        ("DELETE", "/api/v1/calls/b", None),
        ("GET", f"{CUSTOMERS}/x/history", None),
        ("POST", f"{CUSTOMERS}/x/merge", {"into": "y"}),
        ("POST", f"{CUSTOMERS}/x/split", {"merge_id": done["merge_id"]}),
        ("GET", f"/api/v1/erasures/{erased['erasure_id']}", None),
        ("POST", f"/api/v1/erasures/{erased['erasure_id']}/readmit", None),
        ("GET", "/api/v1/erasures/none", None),
    ):
        answer = await other.request(method, path, role="admin", json=body)
        assert answer.status_code == 404, (method, path, answer.text)
    assert await customer_of(api, "b") == "x"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"into": ""},
        {"into": "x" * 65},
        {"into": "x"},
        {"to": "y"},
        {"into": "a/b"},
        {"into": "a\u0007"},
    ],
)
async def test_a_merge_that_cant_be_is_422(api: Api, body: Any) -> None:
    await api.post(record("a", customer_id="x"))
    answer = await api.request("POST", f"{CUSTOMERS}/x/merge", json=body)
    assert answer.status_code == 422
    assert answer.json()["details"][0]["fix"]
