"""Corrections over the service's own socket."""

from __future__ import annotations

from typing import Any

from shared.config import Config
from tests.ai_services.enrichment.records import TURNS, record
from tests.ai_services.enrichment.test_calls_api import Api, api, config, organisation, until

__all__ = ["api", "config"]  # fixtures

CALL = "/api/v1/calls/a"
ANALYSIS = f"{CALL}/analysis"
CORRECTIONS = f"{ANALYSIS}/corrections"


async def analysed(api: Api) -> dict[str, Any]:
    """The call, once it is."""

    async def there() -> Any:
        data = (await api.get(CALL)).json()["data"]
        return data if data["llm_analyzed_at"] else None

    return dict(await until(there, 60))


async def test_a_person_corrects_a_call_and_withdraws_that(api: Api) -> None:
    await api.post(record("a", turns=TURNS))
    before = await analysed(api)
    assert (before["corrected"], before["correction"]) == ([], None)
    body = {
        "complaint_risk": "high",
        "topic": "退款",
        "follow_up": None,
        "callbacks": [{"said": "next Monday at three", "date": "2024-12-09", "time": "15:00"}],
        "agent_quality": 2,
        "reason": "she rang again from 13812348000",
    }
    answer = await api.request("PATCH", ANALYSIS, json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()["data"]
    assert (told["version"], told["corrected_by"]) == (1, "user:1")
    now = (await api.get(CALL)).json()["data"]
    assert now["correction"] == told
    assert now["corrected"] == sorted(body)
    assert (now["complaint_risk"], now["churn_risk"]) == ("high", before["churn_risk"])
    assert now["reason"] == "she rang again from 138****8000"
    assert now["insights"]["callbacks"] == body["callbacks"]
    assert (now["insights"]["topic"], now["insights"]["agent_quality"]) == ("退款", 2)

    async def found() -> Any:
        return (await api.get("/api/v1/calls/search", q="cancel")).json()["data"]["hits"]

    (hit,) = await until(found)
    assert (hit["call"]["complaint_risk"], hit["call"]["corrected"]) == ("high", sorted(body))
    answer = await api.request("DELETE", CORRECTIONS, params={"fact": "topic"})
    assert "topic" not in [one["fact"] for one in answer.json()["data"]["facts"]]
    answer = await api.request("DELETE", CORRECTIONS)
    assert answer.json()["data"]["facts"] == []
    assert (await api.get(CALL)).json()["data"] == before
    history = (await api.request("GET", CORRECTIONS, role="agent")).json()["data"]
    assert [one["kind"] for one in history["entries"]] == ["withdrawn", "withdrawn", "corrected"]
    assert history["entries"][2]["reason"] == "she rang again from 138****8000"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"sentiment": "glad"}, "sentiment"),
    ({"sentiment": None}, "sentiment"),
    ({"sentiment_score": 1.01}, "sentiment_score"),
    ({"sentiment_score": "0.9"}, "sentiment_score"),
    ({"sentiment": "positive", "sentiment_score": 0.1}, "sentiment_score"),
    ({"churn_risk": "grave"}, "churn_risk"),
    ({"agent_quality": 6}, "agent_quality"),
    ({"agent_quality": True}, "agent_quality"),
    ({"topic": "x" * 61}, "topic"),
    ({"summary": "a\u202eb"}, "summary"),
    ({"callbacks": [{"said": "then", "date": "2024-02-30"}]}, "callbacks.0.date"),
    ({"callbacks": [{"said": "then", "time": "25:00"}]}, "callbacks.0.time"),
    ({"talk_ratio": 0.5, "topic": "x"}, "talk_ratio"),
    ({"churn": "low", "topic": "x"}, "churn"),
    ({"reason": "because"}, "body"),
    ({"topic": "x", "reason": "x" * 301}, "reason"),
    ({"topic": "x", "version": -1}, "version"),
    ({}, "body"),
]


async def test_what_no_analysis_can_have_is_refused_by_name(api: Api) -> None:
    await api.post(record("a"))
    for body, field in REFUSED:
        answer = await api.request("PATCH", ANALYSIS, json=body)
        assert answer.status_code == 422, (body, answer.text)
        assert answer.json()["details"][0]["field"] == field, body
    assert (await api.get(CALL)).json()["data"]["corrected"] == []


async def test_who_may_correct_what(api: Api, config: Config) -> None:
    await api.post(record("a"))
    stranger = Api(api._client, await organisation(config))
    for who, role, path, status in (
        (api, "agent", ANALYSIS, 403),
        (stranger, "admin", ANALYSIS, 404),
        (api, "analyst", "/api/v1/calls/nobodys/analysis", 404),
    ):
        answer = await who.request("PATCH", path, role=role, json={"churn_risk": "high"})
        assert answer.status_code == status, (role, path)
    for method in ("GET", "DELETE"):
        assert (await stranger.request(method, CORRECTIONS)).status_code == 404
    answer = await api.request("PATCH", ANALYSIS, json={"churn_risk": "high", "version": 0})
    assert answer.status_code == 200
    answer = await api.request("PATCH", ANALYSIS, json={"churn_risk": "low", "version": 0})
    assert answer.status_code == 409
    answer = await api.request("DELETE", CORRECTIONS, params={"fact": "talk_ratio"})
    assert answer.status_code == 422
