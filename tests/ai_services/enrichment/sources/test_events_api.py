"""What connected systems send: signed, lately, each message once."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from ai_services.enrichment.app import create_service
from shared.config import Config
from shared.data_access.relational.postgres import Postgres
from shared.security import NO_ORG, InternalTokens, Principal
from shared.signed_message import secret_of, sign
from tests.ai_services.enrichment.records import TURNS, record
from tests.ai_services.enrichment.test_importing import organisation

INTERNAL = "s" * 64
OLD, NEW, OTHER = ("whsec_" + letter * 44 for letter in "ABC")


@dataclass
class Events:
    """Sends as a system that nobody has signed in."""

    client: httpx.AsyncClient
    db: Postgres
    org_id: UUID

    async def send(
        self, *records: Any, secret: str = OLD, message: str = "msg-1", at: float = 0,
        source: str = "pbx", headers: Mapping[str, Any] | None = None,
    ) -> httpx.Response:  # fmt: skip
        body = json.dumps({"records": records}).encode()
        sent = int(time.time() + at)
        signed = {
            "webhook-id": message,
            "webhook-timestamp": str(sent),
            "webhook-signature": sign(secret_of(secret), message, sent, body),
        }
        return await self.post(body, {**signed, **(headers or {})}, source)

    async def post(self, body: bytes, headers: Mapping[str, Any], source: str) -> httpx.Response:
        anonymous = Principal(NO_ORG, "anonymous", "anonymous", "anonymous")
        token = InternalTokens(INTERNAL.encode()).mint(anonymous, "enrichment")
        known = {"X-Internal-Token": token, "Content-Type": "application/json"}
        return await self.client.post(
            f"/api/v1/sources/{source}/events", content=body, headers={**known, **headers}
        )

    async def calls(self) -> list[str]:
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch("SELECT callid FROM call_record_enriched ORDER BY callid")
        return [row["callid"] for row in rows]


@pytest.fixture
async def events(
    tmp_path: Path, database_url: str, redis_url: str, graph_url: str
) -> AsyncIterator[Events]:
    db = Postgres(database_url, pool_size=2)
    org_id = await organisation(db)
    async with db.system() as tx:
        slug = await tx.fetchval("SELECT slug FROM organisation WHERE org_id = $1", org_id)
    sources = tmp_path / "sources.toml"
    sources.write_text(
        f'[pbx]\norganisation = "{slug}"\nkind = "push"\nsecret = "PBX"\n'
        '[lost]\norganisation = "nobody"\nkind = "push"\nsecret = "LOST"\n'
    )
    config = Config.from_env(
        {
            "LOOMA_HOME": str(tmp_path / "home"),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "GRAPH_URL": graph_url,
            "INTERNAL_TOKEN_SECRET": INTERNAL,
            "SHUTDOWN_SECONDS": "3",
            "SOURCES": str(sources),
            "SOURCE_SECRET_PBX": f"{OLD} {NEW}",
            "SOURCE_SECRET_LOST": OTHER,
        }
    )
    async with (
        create_service(replace(config)).running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=10) as client,
    ):
        yield Events(client, db, org_id)
    await db.close()


async def test_a_signed_message_brings_its_records_in(events: Events) -> None:
    answer = await events.send(record("a", turns=TURNS), record("b", duration_ms="long"))
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert (data["inserted"], data["rejected"], data["repeated"]) == (1, 1, False)
    assert data["results"][1]["problem"]["field"] == "duration_ms"
    assert await events.calls() == ["a"]


async def test_a_message_that_comes_again_does_nothing(events: Events) -> None:
    await events.send(record("a"))
    again = await events.send(record("a"), record("b"), at=2)
    assert again.json()["data"] == {
        **dict.fromkeys(("inserted", "updated", "unchanged", "duplicates", "rejected", "erased"), 0),
        "noted": {}, "import_id": None, "notes": [], "results": [], "repeated": True,
    }  # fmt: skip
    assert await events.calls() == ["a"]
    assert (await events.send(record("b"), message="msg-2")).json()["data"]["inserted"] == 1


async def test_either_secret_counts_while_one_takes_the_place_of_another(events: Events) -> None:
    assert (await events.send(record("a"), secret=NEW)).status_code == 200
    assert (await events.send(record("b"), secret=OTHER, message="m")).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v2,AAAA v1, x"},
        {"webhook-id": ""},
        {"webhook-id": "another"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "yesterday"},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 30},
    ],
    ids=lambda one: "=".join(*one.items()),
)
async def test_what_is_not_signed_is_refused(events: Events, headers: Mapping[str, str]) -> None:
    answer = await events.send(record("a"), headers=headers)
    assert answer.status_code == 401
    assert await events.calls() == []


@pytest.mark.parametrize("at", [-3600, -301, 400])
async def test_a_message_of_another_time_is_refused(events: Events, at: int) -> None:
    answer = await events.send(record("a"), at=at)
    assert answer.status_code == 401
    assert "another time" in answer.json()["message"]


async def test_which_sources_there_are_is_told_to_nobody(events: Events) -> None:
    unknown = await events.send(record("a"), source="nothing")
    wrong = await events.send(record("a"), secret=OTHER)
    assert unknown.status_code == wrong.status_code == 401
    assert unknown.json()["message"] == wrong.json()["message"]


@pytest.mark.parametrize("source", ["pbx", "nothing"])
@pytest.mark.parametrize("name", ["webhook-id", "webhook-signature", "webhook-timestamp"])
async def test_what_no_text_holds_is_refused_whether_the_source_is_one_or_not(
    events: Events, name: str, source: str
) -> None:
    for value in (b"\xff", b"msg-\xc3\x28", b"\xed\xa0\x80"):
        answer = await events.send(record("a"), source=source, headers={name: value})
        assert answer.status_code == 401
    assert await events.calls() == []


async def test_a_source_of_an_organisation_that_is_none_is_told_to_who_can_sign(
    events: Events,
) -> None:
    answer = await events.send(record("a"), source="lost", secret=OTHER)
    assert answer.status_code == 404
    assert "which is no organisation" in answer.json()["message"]


async def test_a_body_of_the_wrong_shape_is_told_and_may_be_sent_again(events: Events) -> None:
    assert (await events.send()).status_code == 422
    assert (await events.send(record("a"))).json()["data"]["inserted"] == 1
