"""The enrichment service over a real socket, on real stores."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from ai_services.enrichment.app import create_service
from shared.config import Config
from shared.data_access.relational.postgres import Postgres
from shared.security import InternalTokens, Principal
from tests.ai_services.enrichment.records import TURNS, missed, record, write_jsonl
from tests.ai_services.enrichment.test_importing import bring_in
from tests.contract.proxy import proxied

SECRET = "s" * 64


@pytest.fixture
def config(tmp_path: Path, database_url: str, redis_url: str, graph_url: str) -> Config:
    return Config.from_env(
        {
            "LOOMA_HOME": str(tmp_path / "home"),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "GRAPH_URL": graph_url,
            "INTERNAL_TOKEN_SECRET": SECRET,
            "SHUTDOWN_SECONDS": "3",
        }
    )


class Api:
    """A client of one organisation."""

    def __init__(self, client: httpx.AsyncClient, org_id: UUID) -> None:
        self._client = client
        self.org_id = org_id

    async def request(
        self, method: str, path: str, *, role: Any = "analyst", **kwargs: Any
    ) -> httpx.Response:
        principal = Principal(self.org_id, "user:1", role, "user")
        token = InternalTokens(SECRET.encode()).mint(principal, "enrichment")
        return await self._client.request(
            method, path, headers={"X-Internal-Token": token}, **kwargs
        )

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.request("GET", path, params=params)

    async def post(self, *records: Any) -> httpx.Response:
        return await self.request("POST", "/api/v1/calls", json={"records": list(records)})


async def until(probe: Any, seconds: float = 10) -> Any:
    """The first true result of `await probe()`."""
    async with asyncio.timeout(seconds):
        while not (result := await probe()):  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.05)
    return result


@pytest.fixture
async def api(config: Config) -> AsyncIterator[Api]:
    async with (
        create_service(config).running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=10) as client,
    ):
        yield Api(client, await organisation(config))


async def organisation(config: Config) -> UUID:
    assert config.database_url
    db = Postgres(config.database_url, pool_size=1)
    async with db.system() as tx:
        org_id: UUID = await tx.fetchval(
            "INSERT INTO organisation (slug, name) VALUES ($1, $1) RETURNING org_id",
            f"org-{uuid4().hex[:12]}",
        )
    await db.close()
    return org_id


async def test_each_record_has_its_own_result(api: Api) -> None:
    answer = await api.post(
        record("a", turns=TURNS), {"callid": "b"}, "no object", record("c", duration_ms="long"),
        record("a", turns=TURNS, rounds=3), missed("d"),
    )  # fmt: skip
    assert answer.status_code == 200
    data = answer.json()["data"]
    statuses = [result["status"] for result in data["results"]]
    assert statuses == ["duplicate", "rejected", "rejected", "rejected", "inserted", "inserted"]
    assert [data[k] for k in ("inserted", "duplicates", "rejected")] == [2, 1, 3]
    problems = [r["problem"] for r in data["results"] if r["status"] == "rejected"]
    assert all(p["problem"] and p["fix"] for p in problems)
    assert problems[2]["field"] == "duration_ms"
    kept = await api.get(f"/api/v1/imports/{data['import_id']}/rejects")
    assert [reject["line"] for reject in kept.json()["data"]["rejects"]] == [2, 3, 4]
    listed = (await api.get("/api/v1/imports")).json()["data"]["imports"]
    assert [(i["import_id"], i["rejected"]) for i in listed] == [(data["import_id"], 3)]


async def test_the_same_request_twice_changes_nothing(api: Api) -> None:
    await api.post(record("a"), record("b"))
    again = (await api.post(record("a"), record("b", rounds=9))).json()["data"]
    assert [r["status"] for r in again["results"]] == ["unchanged", "updated"]


async def test_the_agent_of_a_call_is_that_of_its_last_record(api: Api) -> None:
    answer = (await api.post(record("a"), record("b", agent_id="x" * 65))).json()["data"]
    assert answer["noted"] == {"agent_id": 1}
    assert [r["status"] for r in answer["results"]] == ["inserted", "inserted"]
    for agent in ("agent-1", "agent-2", None):
        await api.post(record("a", agent_id=agent))
        assert (await api.get("/api/v1/calls/a")).json()["data"]["agent_id"] == agent
    listed = (await api.get("/api/v1/calls", user_id="account-1")).json()["data"]["calls"]
    assert {one["agent_id"] for one in listed} == {None}


@pytest.mark.parametrize("body", [{"records": []}, {"records": [{}] * 1001}, {}, [], {"calls": []}])
async def test_a_body_of_the_wrong_shape_is_422(api: Api, body: Any) -> None:
    answer = await api.request("POST", "/api/v1/calls", json=body)
    assert answer.status_code == 422
    assert answer.json()["details"][0]["fix"]


async def test_a_call_is_answered_with_its_analysis_and_masked_phone(api: Api) -> None:
    await api.post(record("a", turns=TURNS))

    async def analysed() -> Any:
        data = (await api.get("/api/v1/calls/a")).json()["data"]
        return data if data["analyzer"] else None

    call = await until(analysed)
    assert call["phone"] == "138****8000"
    assert call["started_at"] == "2024-12-04T09:30:00+08:00"
    assert (call["sentiment"], call["complaint_risk"]) == ("negative", "high")
    assert call["turns"] == TURNS
    assert call["analyzer"].startswith("local")


UNREADABLE = """
SET ROLE looma_system; UPDATE call_transcript SET turns = '[{}]' WHERE org_id <> '%s'
"""
TOO_SLOW = """
CREATE FUNCTION too_slow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'query_canceled'; END $$;
CREATE TRIGGER too_slow BEFORE UPDATE ON call_record_enriched FOR EACH ROW
    WHEN (new.org_id <> '%s') EXECUTE FUNCTION too_slow()
"""


@pytest.mark.parametrize("trouble", [UNREADABLE, TOO_SLOW], ids=["unreadable", "too slow"])
async def test_what_can_not_be_analysed_of_one_organisation_holds_up_no_other(
    config: Config, tmp_path: Path, trouble: str
) -> None:
    organisations = [await organisation(config) for _ in range(7)]
    good = organisations[3]
    path = write_jsonl(tmp_path / "calls.jsonl", [record("a", turns=TURNS)])
    assert config.database_url
    db = Postgres(config.database_url, pool_size=2)
    for org_id in organisations:
        await bring_in(db, org_id, path)
    owner = await asyncpg.connect(config.database_url)
    await owner.execute(trouble % good)
    await owner.close()

    async def analysed() -> Any:
        async with db.tenant(good, readonly=True) as tx:
            return await tx.fetchval("SELECT llm_analyzed_at FROM call_record_enriched")

    async with create_service(config).running(port=0):
        await until(analysed)
    await db.close()


async def test_unknown_calls_and_those_of_others_are_404(api: Api, config: Config) -> None:
    await api.post(record("mine"))
    other = Api(api._client, await organisation(config))
    for path in ("/api/v1/calls/none", "/api/v1/calls/%00", "/api/v1/imports/x/rejects"):
        assert (await api.get(path)).status_code in (404, 422)
    assert (await other.get("/api/v1/calls/mine")).status_code == 404
    page = await other.get("/api/v1/calls", user_id="account-1")
    assert page.json()["data"]["calls"] == []


async def test_calls_of_a_user_are_paged_newest_first_within_local_dates(api: Api) -> None:
    calls = [
        record(f"c{day:02}{n}", started_at=f"2024-12-{day:02}T0{n}:00:00+08:00")
        for day in range(1, 11)
        for n in range(3)
    ]
    await api.post(*calls, record("foreign", user_id="account-2"))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.get("/api/v1/calls", user_id="account-1", limit=7, **cursor)).json()[
            "data"
        ]
        seen += [call["callid"] for call in page["calls"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [call["callid"] for call in reversed(calls)]
    window = {"from": "2024-12-03", "to": "2024-12-04"}
    page = (await api.get("/api/v1/calls", user_id="account-1", **window)).json()["data"]
    assert {call["callid"][:3] for call in page["calls"]} == {"c03", "c04"}
    assert len(page["calls"]) == 6


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"user_id": "a", "from": "2024-02-30"},
        {"user_id": "a", "from": "2024-12-04T09:30:00"},
        {"user_id": "a", "to": "yesterday"},
        {"user_id": "a", "cursor": "!!!"},
        {"user_id": "a", "cursor": "eHh4"},
        {"user_id": "a", "limit": "0"},
        {"user_id": "a", "colour": "red"},
        {"user_id": "x" * 65},
    ],
)
async def test_bad_list_parameters_are_422(api: Api, params: dict[str, str]) -> None:
    answer = await api.get("/api/v1/calls", **params)
    assert answer.status_code == 422, answer.text
    assert answer.json()["details"][0]["problem"]


async def test_search_finds_chinese_and_english_with_highlights(api: Api, config: Config) -> None:
    await api.post(record("a", turns=TURNS), record("b", user_id="account-2", turns=TURNS[:1]))

    async def found(query: str, **params: Any) -> Any:
        answer = await api.get("/api/v1/calls/search", q=query, **params)
        return answer.json()["data"]["hits"]

    (hit,) = await until(lambda: found("投诉"))
    assert hit["callid"] == hit["call"]["callid"] == "a"
    assert any("<em>" in text for text in hit["highlights"])
    assert [h["callid"] for h in await found("cancel")] == ["a"]
    assert [h["callid"] for h in await found("客服", user_id="account-2")] == ["b"]
    assert await found("'; DROP TABLE call_transcript;--") == []
    other = Api(api._client, await organisation(config))
    answer = await other.get("/api/v1/calls/search", q="投诉")
    assert answer.json()["data"]["hits"] == []


async def test_hostile_text_is_escaped_in_highlights(api: Api) -> None:
    turns = [{"role": "customer", "at_ms": 0, "text": "<script>alert(1)</script> 投诉 & 退款"}]
    await api.post(record("a", turns=turns))

    async def found() -> Any:
        return (await api.get("/api/v1/calls/search", q="退款")).json()["data"]["hits"]

    (hit,) = await until(found)
    assert not any("<script>" in text for text in hit["highlights"])
    assert (
        (await api.get("/api/v1/calls/a")).json()["data"]["turns"][0]["text"].startswith("<script>")
    )


async def test_roles(api: Api) -> None:
    body = {"records": [record("a")]}
    assert (await api.request("POST", "/api/v1/calls", role="agent", json=body)).status_code == 403
    assert (
        await api.request("POST", "/api/v1/calls", role="service", json=body)
    ).status_code == 200
    assert (await api.request("GET", "/api/v1/calls/a", role="agent")).status_code == 200
    denied = await api.request("GET", "/api/v1/calls/search?q=x", role="agent")
    assert denied.status_code == 403


async def test_a_database_that_is_down_at_start_or_dies_later_is_503_until_it_is_back(
    config: Config, database_url: str
) -> None:
    org_id = await organisation(config)
    async with proxied(database_url) as (url, proxy):
        await proxy.cut()
        through = dataclasses.replace(config, database_url=url)
        async with (
            create_service(through).running(port=0) as base,
            httpx.AsyncClient(base_url=base, timeout=10) as client,
        ):
            api = Api(client, org_id)

            async def recovered() -> bool:
                return (await api.get("/api/v1/calls/a")).status_code == 404

            for _ in range(2):  # down at the start; up; down again
                answer = await api.post(record("b"))
                assert (answer.status_code, answer.json()["error"]) == (503, "store_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
                assert (await client.get("/ready")).status_code == 503
                assert (await client.get("/health")).status_code == 200
                await proxy.start()
                await until(recovered)
                await proxy.cut()


async def test_readiness_lists_the_stores(api: Api) -> None:
    ready = (await api._client.get("/ready")).json()
    assert ready["checks"] == {"postgres": "up", "redis": "up", "graph": "up"}
