"""What lies behind a portrait, against calls that are known."""

from __future__ import annotations

import pytest

from tests.ai_services.portrait.calls import Call, at
from tests.ai_services.portrait.customers.test_customers_api import insight
from tests.ai_services.portrait.test_portrait_api import (  # noqa: F401 - fixtures
    Api,
    client,
    empty,
)

CALLS = (
    Call("a1", "u1", at("2024-12-02 09:30"), duration_ms=10_000, level_name="A",
         complaint_risk="high", churn_risk="low", customer_id="k1"),
    Call("a2", "u1", at("2024-12-02 09:50"), "busy", customer_id="k1"),
    Call("a3", "u1", at("2024-12-08 23:10"), duration_ms=30_000, level_name="C",
         complaint_risk="high", churn_risk="high", customer_id="k2"),
    Call("a4", "u1", at("2024-12-03 09:10"), duration_ms=20_000, level_name="F", customer_id="k1"),
)  # fmt: skip


@pytest.fixture
async def api(empty: Api) -> Api:  # noqa: F811
    await empty.organisation.write(*CALLS)
    async with empty.organisation.db.tenant(empty.organisation.org_id) as tx:
        await tx.execute(
            "UPDATE call_record_enriched SET reason = '态度差' WHERE complaint_risk = 'high'"
        )
    await insight(empty.organisation, "a1", topic="price", follow_up="call back")
    await insight(empty.organisation, "a3", topic="price", follow_up="send the offer")
    await insight(empty.organisation, "a4", topic="delivery")
    assert (await empty.compute({})).status_code == 200
    return empty


@pytest.mark.parametrize("path", ["portrait/users/u1", "portrait/summary"])
async def test_hours_durations_topics_and_what_is_to_be_done(api: Api, path: str) -> None:
    found = await api.data(f"{path}/detail", period_key="2024-W49")
    assert (found["p50_duration"], found["p90_duration"]) == (
        pytest.approx(20, rel=0.01), pytest.approx(30, rel=0.01),
    )  # fmt: skip
    calls, connected = found["hours"]["calls"], found["hours"]["connected"]
    assert (calls[0][9], connected[0][9], calls[1][9], calls[6][23]) == (2, 1, 1, 1)
    assert sum(map(sum, calls)) == 4
    assert found["answer_rate_by_hour"][9] == {
        "hour": 9, "calls": 3, "connected": 2, "answer_rate": 2 / 3,
    }  # fmt: skip
    assert found["answer_rate_by_hour"][3]["answer_rate"] is None
    assert [(one["step"], one["calls"]) for one in found["intention_funnel"]] == [
        ("calls", 4), ("connected", 3), ("any_level", 3), ("C_or_higher", 2), ("B_or_higher", 1),
        ("A", 1),
    ]  # fmt: skip
    assert found["topics"] == [
        {"text": "price", "calls": 2, "examples": ["a3", "a1"]},
        {"text": "delivery", "calls": 1, "examples": ["a4"]},
    ]
    assert found["complaint_reasons"] == [{"text": "态度差", "calls": 2, "examples": ["a3", "a1"]}]
    assert [one["callid"] for one in found["follow_ups"]] == ["a3"], "k1 was spoken with since"
    assert found["risk_trend"][-1]["high_complaint_risk"] == 2
    assert found["recency"]["days_with_calls"] == 3
    assert found["recency"]["calls_per_day"] == pytest.approx(4 / 3)
    assert found["recency"]["last_call_at"] == "2024-12-08T15:10:00Z"


async def test_a_customer_without_calls_in_the_period_has_zeros(api: Api) -> None:
    found = await api.data("portrait/customers/k1/detail", period_key="2024-W51")
    assert (found["customer_id"], found["p50_duration"], found["topics"]) == ("k1", None, [])
    assert found["recency"] == {
        "last_call_at": None, "days_ago": None, "days_with_calls": 0, "calls_per_day": None,
    }  # fmt: skip
    assert (await api.get("portrait/customers/nobody/detail")).status_code == 404
    assert (await api.get("portrait/planets/x/detail")).status_code == 422
