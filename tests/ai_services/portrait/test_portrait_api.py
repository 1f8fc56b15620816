"""The portrait service over a real socket, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from ai_services.portrait.answers import Answers
from ai_services.portrait.computing.jobs import JOBS
from ai_services.portrait.metrics import METRICS
from ai_services.portrait.routes import endpoints
from ai_services.portrait.segments import refreshing
from ai_services.portrait.state import Stores
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.data_access.relational.postgres import Postgres
from shared.jobs.worker import Worker
from shared.security import InternalTokens, Principal
from shared.serving.peers import open_peers
from shared.serving.service import BaseAIService
from tests.ai_services.portrait.calls import Call, Organisation, at, new_organisation, opened
from tests.shared.jobs.workplace import QUICK

SECRET = "s" * 64


@dataclass
class Api:
    """A client of one organisation."""

    client: httpx.AsyncClient
    organisation: Organisation

    async def request(
        self, method: str, path: str, *, role: Any = "analyst", prefer: str = "", **kwargs: Any
    ) -> httpx.Response:
        principal = Principal(self.organisation.org_id, "user:1", role, "user")
        token = InternalTokens(SECRET.encode()).mint(principal, "portrait")
        headers = {"X-Internal-Token": token, **({"Prefer": prefer} if prefer else {})}
        return await self.client.request(method, path, headers=headers, **kwargs)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.request("GET", f"/api/v1/{path}", params=params)

    async def data(self, path: str, **params: Any) -> Any:
        answer = await self.get(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def compute(self, body: Any, prefer: str = "wait=20") -> httpx.Response:
        return await self.request("POST", "/api/v1/admin/compute", json=body, prefer=prefer)


@asynccontextmanager
async def served(
    db: Postgres, home: Path, redis_url: str = "redis://127.0.0.1:9/0"
) -> AsyncIterator[httpx.AsyncClient]:
    async def open_state(service: BaseAIService[Stores], stack: AsyncExitStack) -> Stores:
        service.check("postgres", db.ping)
        worker = Worker(
            db, None, (*JOBS, *refreshing.JOBS), service="portrait", places=2, pace=QUICK
        )
        service.background("jobs", worker.run)
        cache = RedisCache(redis_url)
        stack.push_async_callback(cache.close)
        answers = Answers(db, cache, service.metrics.registry)
        stack.callback(answers.close)
        tokens = InternalTokens(SECRET.encode())
        peers = await stack.enter_async_context(open_peers(cache, tokens))
        return Stores(db, answers, peers)

    config = Config.from_env({"LOOMA_HOME": str(home), "INTERNAL_TOKEN_SECRET": SECRET})
    service = BaseAIService("portrait", config, endpoints=endpoints, open_state=open_state)
    async with (
        service.running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        yield client


@pytest.fixture(scope="session")
async def client(
    db: Postgres, redis_server: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    async with served(db, tmp_path_factory.mktemp("home"), redis_server) as client:
        yield client


@pytest.fixture
async def empty(client: httpx.AsyncClient, organisation: Organisation) -> Api:
    return Api(client, organisation)


# Two users; weeks 49 and 51 of 2024, nothing in 50.
CALLS = (
    Call("c1", "u1", at("2024-12-04 09:30"), "connected", 60_500, 3, "A", 1, "positive", 0.9,
         "low", "high"),
    Call("c2", "u1", at("2024-12-05 09:30"), "connected", 30_000, 2, "B", 2, "neutral", 0.5,
         "low", None),
    Call("c3", "u1", at("2024-12-06 09:30"), "busy"),
    Call("c4", "u2", at("2024-12-06 09:30"), "connected", 500, 1, "A", 1, "negative", 0.1,
         "high", "low"),
    Call("c5", "u2", at("2024-12-18 09:30"), "no_answer"),
)  # fmt: skip


@pytest.fixture
async def api(empty: Api) -> Api:
    await empty.organisation.write(*CALLS)
    assert (await empty.compute({})).status_code == 200
    return empty


async def test_periods_are_listed_newest_first_with_their_labels(api: Api) -> None:
    assert await api.data("periods", type="week", limit=2) == {
        "type": "week",
        "periods": [
            {"key": "2024-W51", "label": "2024年第51周", "start": "2024-12-16",
             "end": "2024-12-22", "status": "completed"},
            {"key": "2024-W50", "label": "2024年第50周", "start": "2024-12-09",
             "end": "2024-12-15", "status": "completed"},
        ],
    }  # fmt: skip
    (quarter,) = (await api.data("periods", type="quarter"))["periods"]
    assert (quarter["key"], quarter["label"]) == ("2024-Q4", "2024年第4季度")


async def test_a_portrait_has_the_groups_of_figures(api: Api) -> None:
    found = await api.data("portrait/u1", period_type="week", period_key="2024-W49")
    assert datetime.fromisoformat(found.pop("as_of")).tzinfo is not None
    assert (found.pop("share_analysed"), found.pop("share_degraded")) == (0.0, None)
    assert found.pop("change") is None
    assert found == {
        "user_id": "u1",
        "period": {"type": "week", "key": "2024-W49", "start": "2024-12-02", "end": "2024-12-08"},
        "call_stats": {
            "total_calls": 3,
            "connected_calls": 2,
            "connect_rate": 2 / 3,
            "total_duration": 90.5,
            "avg_duration": 45.25,
            "total_rounds": 5,
            "avg_rounds": 2.5,
        },
        "intention_dist": {"A": 1, "B": 1, "C": 0, "D": 0, "E": 0, "F": 0},
        "hangup_dist": {"robot": 1, "user": 1},
        "fail_reason_dist": {"busy": 1},
        "sentiment_analysis": {
            "positive": 1,
            "neutral": 1,
            "negative": 0,
            "avg_score": pytest.approx(0.7, abs=1e-9),
        },
        "risk_analysis": {
            "complaint_risk": {"high": 0, "medium": 0, "low": 2},
            "churn_risk": {"high": 1, "medium": 0, "low": 0},
        },
    }


async def test_a_user_id_may_be_any_text(empty: Api) -> None:
    await empty.organisation.write(replace(CALLS[0], user_id="张三/二 组?"))
    await empty.compute({})
    found = await empty.data("portrait/" + quote("张三/二 组?", safe=""))
    assert (found["user_id"], found["call_stats"]["total_calls"]) == ("张三/二 组?", 1)
    trend = await empty.data("portrait/trend", metric="total_calls", user_id="张三/二 组?")
    assert [point["value"] for point in trend["series"]] == [1]


async def test_a_customer_has_the_same_groups_of_figures(empty: Api) -> None:
    theirs = [replace(call, customer_id="tel:客/户 1?") for call in CALLS[1:4]]
    await empty.organisation.write(CALLS[0], *theirs)
    await empty.compute({})
    path = "portrait/customers/" + quote("tel:客/户 1?", safe="")
    found = await empty.data(path, period_type="month")
    assert (found["customer_id"], found["period"]["key"]) == ("tel:客/户 1?", "2024-12")
    assert found["call_stats"]["total_calls"] == 3
    assert found["risk_analysis"]["complaint_risk"] == {"high": 1, "medium": 0, "low": 1}
    assert found.keys() - {"customer_id"} == (await empty.data("portrait/u1")).keys() - {"user_id"}
    trend = await empty.data(f"{path}/trend", metric="total_calls")
    assert [point["value"] for point in trend["series"]] == [3]


async def test_without_a_key_the_newest_period_with_calls_is_shown(api: Api) -> None:
    assert (await api.data("portrait/u1"))["period"]["key"] == "2024-W49"
    newest = await api.data("portrait/u2")
    assert newest["period"]["key"] == "2024-W51"
    assert newest["call_stats"]["avg_duration"] is None
    assert newest["call_stats"]["total_duration"] == 0
    assert (await api.data("portrait/u2", period_type="month"))["period"]["key"] == "2024-12"


async def test_a_summary_divides_sums_by_sums(api: Api) -> None:
    found = await api.data("portrait/summary", period_type="week", period_key="2024-W49")
    assert found["users"] == 2
    assert found["call_stats"] == {
        "total_calls": 4,
        "connected_calls": 3,
        "connect_rate": 0.75,
        "total_duration": 91,
        "avg_duration": pytest.approx(91 / 3),
        "total_rounds": 6,
        "avg_rounds": 2.0,
    }
    assert isinstance(found["call_stats"]["total_duration"], int)
    assert found["sentiment_analysis"]["avg_score"] == pytest.approx(0.5, abs=1e-9)
    assert found["intention_dist"]["A"] == 2
    quarter = await api.data("portrait/summary", period_type="quarter")
    assert quarter["period"]["key"] == "2024-Q4"
    assert quarter["fail_reason_dist"] == {"busy": 1, "no_answer": 1}


async def test_a_computed_period_without_calls_sums_up_to_nothing(api: Api) -> None:
    found = await api.data("portrait/summary", period_type="week", period_key="2024-W50")
    assert (found["users"], found["call_stats"]["total_calls"]) == (0, 0)
    assert found["call_stats"]["connect_rate"] is None
    assert found["fail_reason_dist"] == {}


async def test_a_trend_runs_from_old_to_new_without_leaving_a_period_out(api: Api) -> None:
    assert await api.data("portrait/trend", period_type="week", metric="connect_rate") == {
        "metric": "connect_rate",
        "period_type": "week",
        "series": [
            {"period_key": "2024-W49", "value": 0.75, "label": "第49周"},
            {"period_key": "2024-W50", "value": None, "label": "第50周"},
            {"period_key": "2024-W51", "value": 0.0, "label": "第51周"},
        ],
    }
    newest = await api.data("portrait/trend", metric="total_calls", limit=1)
    assert newest["series"] == [{"period_key": "2024-W51", "value": 1, "label": "第51周"}]


async def test_the_labels_of_a_trend_over_several_years_name_the_year(api: Api) -> None:
    """Else the axis would say 1月 twice."""
    await api.organisation.write(Call("c6", "u1", at("2025-12-30 09:30"), "busy"))
    await api.compute({})
    for kind, first, last in (
        ("month", "2024年12月", "2025年12月"),
        ("quarter", "2024年第4季度", "2025年第4季度"),
        ("week", "2024年第49周", "2026年第1周"),
    ):
        found = await api.data("portrait/trend", metric="total_calls", period_type=kind, limit=60)
        labels = [point["label"] for point in found["series"]]
        assert (labels[0], labels[-1]) == (first, last)
        assert len(set(labels)) == len(labels)


async def test_a_trend_of_one_user_lies_on_the_same_axis(api: Api) -> None:
    found = await api.data("portrait/trend", metric="avg_duration", user_id="u1")
    assert [point["value"] for point in found["series"]] == [45.25, None, None]


@pytest.mark.parametrize("metric", METRICS)
async def test_every_metric_has_a_trend(api: Api, metric: str) -> None:
    series = (await api.data("portrait/trend", metric=metric, period_type="month"))["series"]
    (value,) = (point["value"] for point in series)
    assert value is None or isinstance(value, int | float)


async def test_before_anything_was_computed_there_is_nothing(empty: Api) -> None:
    assert (await empty.data("periods"))["periods"] == []
    assert (await empty.data("portrait/trend", metric="total_calls"))["series"] == []
    assert (await empty.get("portrait/summary")).status_code == 404
    assert (await empty.get("portrait/u1")).status_code == 404


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("portrait/nobody", {}),
        ("portrait/nobody", {"period_key": "2024-W49"}),
        ("portrait/u1", {"period_key": "2024-W51"}),
        ("portrait/u1", {"period_key": "1999-W01"}),
        ("portrait/" + "x" * 65, {}),
        ("portrait/%ff%27%3B--", {}),
        ("portrait/summary", {"period_key": "1999-W01"}),
        ("portrait/customers/nobody", {}),
        ("portrait/customers/nobody/trend", {"metric": "total_calls"}),
        ("portrait/customers/" + "x" * 65, {}),
        ("portrait/trend", {"metric": "total_calls", "user_id": "nobody"}),
        ("portrait/trend", {"metric": "total_calls", "user_id": ""}),
    ],
)
async def test_what_has_no_portrait_is_not_found(api: Api, path: str, params: Any) -> None:
    answer = await api.get(path, **params)
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


async def test_an_id_with_a_null_character_is_refused(api: Api) -> None:
    for path, params in (("%00", {}), ("trend", {"metric": "total_calls", "user_id": "a\0"})):
        assert (await api.get(f"portrait/{path}", **params)).status_code in (404, 422)


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("portrait/u1", {"period_key": "2024-W60"}, "period_key"),
        ("portrait/u1", {"period_key": "2024-11"}, "period_key"),
        ("portrait/u1", {"period_type": "month", "period_key": "2024-13"}, "period_key"),
        ("portrait/summary", {"period_key": "2021-W53"}, "period_key"),
        ("portrait/summary", {"period_type": "day"}, "period_type"),
        ("portrait/summary", {"periodkey": "2024-W49"}, "periodkey"),
        ("portrait/trend", {"metric": "happiness"}, "metric"),
        ("portrait/trend", {}, "metric"),
        ("portrait/trend", {"metric": "total_calls", "limit": "0"}, "limit"),
        ("periods", {"type": "year"}, "type"),
        ("periods", {"limit": "many"}, "limit"),
    ],
)
async def test_bad_queries_name_field_problem_and_fix(
    api: Api, path: str, params: Any, field: str
) -> None:
    answer = await api.get(path, **params)
    assert answer.status_code == 422
    (detail,) = answer.json()["details"]
    assert detail["field"] == field
    assert detail["problem"]
    assert detail["fix"]


async def test_an_unknown_metric_is_answered_with_those_there_are(api: Api) -> None:
    answer = await api.get("portrait/trend", metric="happiness")
    assert all(name in answer.json()["details"][0]["fix"] for name in METRICS)


async def test_users_of_another_organisation_are_not_found(api: Api) -> None:
    stranger = Api(api.client, await new_organisation(api.organisation.db))
    assert (await stranger.get("portrait/u1", period_key="2024-W49")).status_code == 404
    assert (await stranger.get("portrait/summary", period_key="2024-W49")).status_code == 404
    assert (await stranger.data("periods"))["periods"] == []


async def test_a_computation_says_what_it_did_beyond_what_was_counted(empty: Api) -> None:
    await empty.organisation.write(*CALLS)
    answer = await empty.compute({"period_key": "2024-W49"})
    assert answer.status_code == 200
    (week,) = answer.json()["data"]["computed"]
    assert week.pop("seconds") >= 0
    assert week == {
        "period_type": "week", "periods": 1, "first": "2024-W49", "last": "2024-W49",
        "snapshots": 2, "changed": 0, "removed": 0,
    }  # fmt: skip
    answer = await empty.compute({"period_type": "all", "from": "2024-12-01", "to": "2024-12-31"})
    kinds = {item["period_type"]: item for item in answer.json()["data"]["computed"]}
    assert [*kinds] == ["week", "month", "quarter"]
    assert (kinds["week"]["first"], kinds["week"]["last"]) == ("2024-W48", "2025-W01")
    assert (kinds["week"]["snapshots"], kinds["week"]["changed"]) == (3, 0)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"period_type": "day"}, "period_type"),
        ({"period_type": "week", "period_key": "2024-11"}, "period_key"),
        ({"period_key": "2024-W60"}, "period_key"),
        ({"period_key": "2024-W49", "to": "2024-12-01"}, "period_key"),
        ({"from": "2024-12-31", "to": "2024-12-01"}, "from"),
        ({"from": "2024-02-30"}, "from"),
        ({"from": 0.0}, "from"),
        ({"to": 1733270400}, "to"),
        ({"to": "1733270400"}, "to"),
        ({"to": "2024-12-04T00:00:00Z"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"from_": "2024-02-20"}, "from_"),
        ({"from": "1700-01-01", "to": "2024-01-01"}, "from"),
    ],
)
async def test_bad_computations_name_field_problem_and_fix(api: Api, body: Any, field: str) -> None:
    answer = await api.compute(body)
    assert answer.status_code == 422
    (detail,) = answer.json()["details"]
    assert detail["field"] == field
    assert detail["problem"]
    assert detail["fix"]


async def test_a_computation_is_a_job_for_who_does_not_wait(empty: Api) -> None:
    await empty.organisation.write(*CALLS)
    answer = await empty.compute({"period_key": "2024-W49"}, prefer="")
    assert answer.status_code == 202
    job = answer.json()["data"]
    assert (job["name"], job["result"]) == ("compute_portraits", None)
    assert job["args"] == {"period_types": ["week"], "first": "2024-12-02", "last": "2024-12-08"}
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"


@pytest.mark.parametrize(
    ("role", "method", "path", "status"),
    [
        ("agent", "GET", "/api/v1/periods", 200),
        ("agent", "GET", "/api/v1/portrait/u1", 200),
        ("agent", "GET", "/api/v1/portrait/customers/nobody", 404),
        ("agent", "GET", "/api/v1/portrait/summary", 403),
        ("agent", "GET", "/api/v1/portrait/trend?metric=total_calls", 403),
        ("agent", "POST", "/api/v1/admin/compute", 403),
        ("service", "GET", "/api/v1/portrait/summary", 200),
    ],
)
async def test_roles_reach_what_their_scopes_allow(
    api: Api, role: str, method: str, path: str, status: int
) -> None:
    answer = await api.request(method, path, role=role)
    assert answer.status_code == status


async def test_a_database_that_is_down_is_503(tmp_path: Path, organisation: Organisation) -> None:
    async with (
        opened("postgresql://nobody@127.0.0.1:9/nothing") as down,
        served(down, tmp_path) as client,
    ):
        api = Api(client, organisation)
        for answer in (await api.get("portrait/u1"), await api.compute({})):
            assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
            assert "Retry-After" in answer.headers
        assert (await client.get("/ready")).status_code == 503
        assert (await client.get("/health")).status_code == 200
