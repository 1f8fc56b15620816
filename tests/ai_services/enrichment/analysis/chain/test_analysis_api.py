"""Insights, topics, scripts and dead letters over the service's own socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ai_services.enrichment.analysis.chain import store
from shared.config import Config
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.records import record
from tests.ai_services.enrichment.test_calls_api import Api, api, config, until

__all__ = ["api", "config"]  # fixtures

SETTINGS = "/api/v1/analysis/settings"
LETTERS = "/api/v1/analysis/dead-letters"
WANTED = {"topics": ["退款", "物流"], "must_say": ["录音|recorded"], "must_not_say": ["保证赚钱"]}
TURNS = [
    {"role": "agent", "at_ms": 0, "text": "您好，这是录音电话，我们保证赚钱。"},
    {"role": "customer", "at_ms": 4000, "text": "我的号码是13812348000"},
]


@pytest.fixture
async def db(config: Config) -> AsyncIterator[Postgres]:
    assert config.database_url is not None
    postgres = Postgres(config.database_url, pool_size=2)
    yield postgres
    await postgres.close()


async def insights(api: Api, callid: str) -> Any:
    """Once the call is analysed."""

    async def there() -> Any:
        return (await api.get(f"/api/v1/calls/{callid}")).json()["data"]["insights"]

    return await until(there, 60)


async def test_an_organisation_decides_its_topics_and_script(api: Api) -> None:
    empty: dict[str, list[str]] = {"topics": [], "must_say": [], "must_not_say": []}
    assert (await api.get(SETTINGS)).json()["data"] == empty
    put = await api.request("PUT", SETTINGS, role="admin", json=WANTED)
    assert put.json()["data"] == WANTED
    assert (await api.get(SETTINGS)).json()["data"] == WANTED
    assert (await api.request("PUT", SETTINGS, json=WANTED)).status_code == 403
    assert (await api.request("GET", SETTINGS, role="agent")).status_code == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("topics", [" "]),
        ("topics", ["x" * 61]),
        ("topics", ["a"] * 51),
        ("must_say", ["a||b"]),
        ("must_say", ["…"]),
        ("must_not_say", ["a\u202eb"]),
    ],
    ids=["blank", "long", "many", "nothing between", "marks", "control"],
)
async def test_what_is_no_list_of_phrases_is_refused_by_name(
    api: Api, field: str, value: list[str]
) -> None:
    answer = await api.request("PUT", SETTINGS, role="admin", json={**WANTED, field: value})
    assert answer.status_code == 422
    assert answer.json()["details"][0]["field"].startswith(field)


async def test_a_call_shows_its_insights_with_numbers_masked(api: Api, db: Postgres) -> None:
    await api.request("PUT", SETTINGS, role="admin", json=WANTED)
    await api.post(record("a", turns=TURNS))
    await insights(api, "a")
    async with db.tenant(api.org_id) as tx:
        await tx.execute(
            """UPDATE call_insight SET evidence = '[{"turn": 1, "text": "13812348000"}]',
                   summary = 'rang from 13812348000' WHERE callid = 'a'"""
        )
    found = await insights(api, "a")
    assert found["summary"] == "rang from 138****8000"
    assert found["evidence"] == [{"turn": 1, "text": "138****8000"}]
    assert (found["step"], found["degraded"], found["waits"]) == ("local", False, False)
    assert (found["script_missing"], found["script_forbidden"]) == ([], ["保证赚钱"])
    assert found["talk_ratio"] is not None


async def test_dead_letters_are_listed_page_by_page_and_replayed(api: Api, db: Postgres) -> None:
    await api.post(*(record(f"c{n}", turns=TURNS) for n in range(3)))
    for n in range(3):
        await insights(api, f"c{n}")
        async with db.tenant(api.org_id) as tx:
            await store.bury(tx, api.org_id, [(f"c{n}", "invalid", "call 13812348000", "llm:m")])
    first = (await api.get(LETTERS, limit=2)).json()["data"]
    assert [one["callid"] for one in first["dead_letters"]] == ["c2", "c1"]
    assert first["dead_letters"][0]["detail"] == "call 138****8000"
    rest = (await api.get(LETTERS, limit=2, cursor=first["next_cursor"])).json()["data"]
    assert [one["callid"] for one in rest["dead_letters"]] == ["c0"]
    assert rest["next_cursor"] is None
    replay = f"{LETTERS}/replay"
    assert (await api.request("POST", replay, json={})).status_code == 403
    one = await api.request("POST", replay, role="admin", json={"callids": ["c1", "none"]})
    assert one.json()["data"] == {"replayed": 1}
    every = await api.request("POST", replay, role="admin", json={})
    assert every.json()["data"] == {"replayed": 2}
    async with db.system() as tx:
        assert await store.count_waiting(tx) == 3
        assert await store.count_dead(tx) == 0
