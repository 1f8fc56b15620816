"""Customers over the API: found by what is known of them, and their pages."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ai_services.enrichment.customers.called import customer_called
from ai_services.enrichment.customers.routes import endpoints as customer_endpoints
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.serving.registry import announce, instances
from shared.serving.service import BaseAIService
from tests.ai_services.portrait.calls import Call, Organisation, at, new_organisation
from tests.ai_services.portrait.test_portrait_api import (  # noqa: F401 - fixtures
    SECRET,
    Api,
    client,
    empty,
)

CALLS = (
    Call("a1", "u1", at("2024-10-02 09:30"), duration_ms=60_000, sentiment="negative",
         complaint_risk="high", churn_risk="high", customer_id="k1"),
    Call("a2", "u1", at("2024-12-04 09:30"), "no_answer", customer_id="k1"),
    Call("a3", "u2", at("2024-12-05 09:10"), duration_ms=30_000, sentiment="positive",
         complaint_risk="low", customer_id="k1"),
    Call("b1", "u1", at("2024-12-05 14:30"), duration_ms=1_000, churn_risk="high", customer_id="k2"),
    Call("c1", "u1", at("2024-05-05 14:30"), "busy", customer_id="k3"),
)  # fmt: skip


async def insight(organisation: Organisation, callid: str, **facts: Any) -> None:
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute(
            """INSERT INTO call_insight (org_id, callid, step, degraded, waits, evidence, summary,
                                         topic, follow_up, callbacks)
               VALUES ($1, $2, 'model', false, false, $3, $4, $5, $6, $7)""",
            organisation.org_id, callid, facts.get("evidence", []), facts.get("summary"),
            facts.get("topic"), facts.get("follow_up"), facts.get("callbacks", []),
        )  # fmt: skip


@pytest.fixture
async def api(empty: Api) -> Api:  # noqa: F811
    await empty.organisation.write(*CALLS)
    await insight(
        empty.organisation, "a1", evidence=[{"turn": 3, "text": "太贵了"}], topic="price",
    )  # fmt: skip
    await insight(
        empty.organisation, "a3", follow_up="send the contract",
        callbacks=[{"said": "next Monday", "date": "2024-12-09", "time": None}],
    )  # fmt: skip
    assert (await empty.compute({})).status_code == 200
    return empty


def ids(found: Any) -> list[str]:
    return [one["customer_id"] for one in found["items"]]


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({}, ["k1", "k2"]),
        ({"period_key": "2024-Q2"}, ["k3"]),
        ({"min_total_calls": 2}, ["k1"]),
        ({"max_connect_rate": 0.7}, ["k1"]),
        ({"high_complaint_risk": "true"}, ["k1"]),
        ({"high_complaint_risk": "false"}, ["k2"]),
        ({"high_churn_risk": "true"}, ["k1", "k2"]),
        ({"negative": "true", "high_churn_risk": "true", "min_total_calls": 3}, ["k1"]),
        ({"period_type": "month", "high_complaint_risk": "true"}, []),
        ({"id": "k3"}, ["k3"]),
        ({"id": "k3", "min_total_calls": 2}, []),
        ({"id": "nobody"}, []),
    ],
)
async def test_customers_are_found_by_figures_of_a_period(
    api: Api, params: Any, wanted: list[str]
) -> None:
    assert ids(await api.data("customers", **params)) == wanted


async def test_a_list_is_paged_by_id(api: Api) -> None:
    first = await api.data("customers", limit=1)
    assert ids(first) == ["k1"]
    second = await api.data("customers", limit=1, cursor=first["next_cursor"])
    assert (ids(second), second["next_cursor"]) == (["k2"], None)
    other = await api.get("customers", limit=1, cursor=first["next_cursor"], negative="true")
    assert other.status_code == 400


async def test_a_page_holds_what_a_conversation_needs(api: Api) -> None:
    page = await api.data("customers/k1")
    assert (page["customer_id"], page["one_with"]) == ("k1", [])
    assert page["portraits"]["quarter"]["call_stats"]["total_calls"] == 3
    assert page["portraits"]["month"]["period"]["key"] == "2024-12"
    assert page["portraits"]["quarter"]["customer_id"] == "k1"
    calls = page["last_calls"]
    assert [one["callid"] for one in calls] == ["a3", "a2", "a1"]
    assert calls[2]["evidence"] == [{"turn": 3, "text": "太贵了"}]
    assert (calls[2]["topic"], calls[2]["duration"]) == ("price", 60.0)
    assert [(one["period_key"], one["high_complaint_risk"]) for one in page["risk_trend"]] == [
        ("2024-10", 1), ("2024-12", 0),
    ]  # fmt: skip
    assert [(one["kind"], one["due"], one["overdue"]) for one in page["promises"]] == [
        ("follow_up", None, False), ("callback", "2024-12-09", True),
    ]  # fmt: skip
    best = page["best_time"]
    assert (best["hour"], best["calls"], best["answered"]) == (9, 3, 2)
    freshness = page["freshness"]
    assert freshness["last_call_at"] == "2024-12-05T01:10:00Z"
    assert freshness["as_of"] is not None


async def test_who_was_merged_is_shown_as_the_other(api: Api) -> None:
    async with api.organisation.db.tenant(api.organisation.org_id) as tx:
        await tx.execute(
            "INSERT INTO customer_alias (org_id, customer_id, survivor) VALUES ($1, 'old', 'k2')",
            api.organisation.org_id,
        )
    page = await api.data("customers/old")
    assert (page["customer_id"], page["one_with"]) == ("k2", ["old"])
    assert ids(await api.data("customers", id="old")) == ["k2"]


async def test_who_is_erased_is_in_no_list_and_has_no_page(api: Api) -> None:
    await api.organisation.delete("a1", "a2", "a3")
    assert ids(await api.data("customers")) == ["k2"]
    assert (await api.get("customers/k1")).status_code == 404


async def test_customers_of_others_are_nobody(api: Api) -> None:
    stranger = Api(api.client, await new_organisation(api.organisation.db))
    assert ids(await stranger.data("customers")) == []
    assert (await stranger.get("customers/k1")).status_code == 404


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 10**9}, "limit"),
        ({"period_key": "2024-W01"}, "period_key"),
        ({"min_total_calls": -1}, "min_total_calls"),
        ({"high_churn_risk": "perhaps"}, "high_churn_risk"),
        ({"name": "张三"}, "name"),
        ({"id": "k1", "number": "13812348000"}, "number"),
    ],
)
async def test_bad_queries_name_their_field(api: Api, params: Any, field: str) -> None:
    answer = await api.get("customers", **params)
    assert answer.status_code == 422
    assert [detail["field"] for detail in answer.json()["details"]] == [field]


async def test_a_customer_is_found_by_number_however_it_is_written(
    api: Api, redis_server: str, tmp_path: Path
) -> None:
    """The enrichment service says whose it is, to this one only."""
    key, org_id = b"k" * 32, api.organisation.org_id
    theirs = customer_called("13812348000", key, org_id, "CN")
    await api.organisation.write(Call("t1", "u1", at("2024-12-05 14:30"), customer_id=theirs))
    await api.compute({})
    state = SimpleNamespace(data_key=key, country="CN")

    cache = RedisCache(redis_server)

    async def open_state(service: BaseAIService[Any], _stack: AsyncExitStack) -> Any:
        service.background("registry", lambda: announce(cache, "enrichment", service.url))
        return state

    config = Config.from_env({"LOOMA_HOME": str(tmp_path), "INTERNAL_TOKEN_SECRET": SECRET})
    service = BaseAIService(
        "enrichment", config, endpoints=customer_endpoints, open_state=open_state
    )
    async with service.running(port=0):
        while "enrichment" not in await instances(cache):  # noqa: ASYNC110 - Redis' state
            await asyncio.sleep(0.02)
        for written in ("13812348000", "+86 138-1234-8000", "0086 13812348000"):
            assert ids(await api.data("customers", number=written)) == [theirs]
        assert ids(await api.data("customers", number="+8613812348001")) == []
        answer = await api.get("customers", number="10086")
        assert answer.json()["details"][0]["field"] == "number"
    await cache.close()
