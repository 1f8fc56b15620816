"""What a request that starts a job is answered: at once, when it has ended, and however it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from sanic.response import HTTPResponse

from shared.config import Config
from shared.data_access.ports import Relational
from shared.data_access.relational.postgres import Postgres
from shared.jobs.answer import JobOut, answer_with_job
from shared.jobs.context import JobContext
from shared.jobs.enqueue import enqueue
from shared.jobs.store.jobs import Job
from shared.security import InternalTokens, Principal
from shared.serving.service import BaseAIService, Call, Endpoint
from shared.wire import INTERNAL_TOKEN_HEADER
from tests.shared.jobs.workplace import Workplace, job_type, until

SECRET = "s" * 64


class SumOut(BaseModel):
    sum: int

    @classmethod
    def of(cls, job: Job) -> SumOut:
        return cls.model_validate(job.result)


async def add(_context: JobContext[Any], args: Mapping[str, Any]) -> Mapping[str, Any]:
    if args["numbers"] == "defect":
        raise RuntimeError("password=hunter2")
    if args["numbers"] == "endless":
        await asyncio.sleep(60)
    return {"sum": 3}


ADD = job_type("add", add)


async def started(call: Call[Relational]) -> int:
    async with call.state.tenant(call.org_id) as tx:
        args = {"numbers": call.params["numbers"]}
        return (await enqueue(tx, ADD, args, org_id=call.org_id)).job_id


async def result(call: Call[Relational]) -> HTTPResponse:
    return await answer_with_job(call, call.state, await started(call), SumOut.of)


async def job(call: Call[Relational]) -> HTTPResponse:
    return await answer_with_job(call, call.state, await started(call))


ENDPOINTS = [
    Endpoint("POST", "/sum/{numbers}", result, "self", "Add", returns=JobOut, status=202, waited=SumOut),
    Endpoint("POST", "/job/{numbers}", job, "self", "Add", returns=JobOut, status=202, waited=JobOut),
]  # fmt: skip


@pytest.fixture
async def place(database_url: str) -> AsyncIterator[Workplace]:
    place = Workplace(Postgres(database_url, pool_size=12), database_url)
    yield place
    await place.db.close()


@pytest.fixture
async def client(place: Workplace, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async def open_state(_service: BaseAIService[Relational], _stack: AsyncExitStack) -> Relational:
        return place.db

    config = Config.from_env({"LOOMA_HOME": str(tmp_path), "INTERNAL_TOKEN_SECRET": SECRET})
    service = BaseAIService("test", config, endpoints=ENDPOINTS, open_state=open_state)
    org_id = await place.organisation()
    principal = Principal(org_id, "user:1", "analyst", "user")
    token = InternalTokens(SECRET.encode()).mint(principal, "test")
    async with (
        service.running(port=0) as url,
        httpx.AsyncClient(
            base_url=url, headers={INTERNAL_TOKEN_HEADER: token}, timeout=30
        ) as client,
    ):
        yield client


async def test_who_does_not_wait_gets_the_job_and_its_address(
    client: httpx.AsyncClient, place: Workplace
) -> None:
    answer = await client.post("/sum/few")
    assert answer.status_code == 202
    data = answer.json()["data"]
    assert (data["name"], data["state"], data["args"]) == ("add", "queued", {"numbers": "few"})
    assert answer.headers["location"] == f"/api/v1/jobs/{data['id']}"
    assert "preference-applied" not in answer.headers
    assert (await place.job(data["id"])).state == "queued"


async def test_who_waits_gets_what_came_of_it(client: httpx.AsyncClient, place: Workplace) -> None:
    async with place.working(ADD):
        answer = await client.post("/sum/few", headers={"Prefer": "wait=30"})
        assert (answer.status_code, answer.json()["data"]) == (200, {"sum": 3})
        assert answer.headers["preference-applied"] == "wait=30"
        job_id = int(answer.headers["location"].rpartition("/")[2])
        assert (await place.job(job_id)).state == "succeeded"
        answer = await client.post("/job/few", headers={"Prefer": "wait=30"})
    data = answer.json()["data"]
    assert (answer.status_code, data["state"], data["result"]) == (200, "succeeded", {"sum": 3})


async def test_who_waits_in_vain_gets_the_job_as_it_stands(
    client: httpx.AsyncClient, place: Workplace
) -> None:
    async with place.working(ADD):
        answer = await client.post("/sum/endless", headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["data"]["state"]) == (202, "running")
    assert answer.headers["preference-applied"] == "wait=1"


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [("wait=0", "wait=0"), ("wait=-1", None), ("wait=soon", None), ("respond-async", None)],
)
async def test_a_preference_that_cannot_be_read_counts_as_not_sent(
    client: httpx.AsyncClient, prefer: str, applied: str | None
) -> None:
    answer = await client.post("/sum/few", headers={"Prefer": prefer})
    assert answer.status_code == 202
    assert answer.headers.get("preference-applied") == applied


async def test_nobody_waits_for_longer_than_a_minute(
    client: httpx.AsyncClient, place: Workplace
) -> None:
    async with place.working(ADD):
        answer = await client.post("/sum/few", headers={"Prefer": "wait=100000"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=60")


async def test_a_job_that_died_is_an_error_where_its_result_was_asked_for(
    client: httpx.AsyncClient, place: Workplace
) -> None:
    async with place.working(ADD):
        answer = await client.post("/sum/defect", headers={"Prefer": "wait=30"})
        seen = await client.post("/job/defect", headers={"Prefer": "wait=30"})
    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert "failed 3 times" in answer.json()["message"]
    assert "GET /api/v1/jobs/" in answer.json()["message"]
    assert "hunter2" not in answer.text
    data = seen.json()["data"]
    assert (seen.status_code, data["state"], data["failures"]) == (200, "dead", 3)


async def test_a_job_that_was_cancelled_meanwhile_is_a_conflict(
    client: httpx.AsyncClient, place: Workplace
) -> None:
    waiting = asyncio.create_task(client.post("/sum/few", headers={"Prefer": "wait=30"}))
    await until(lambda: _cancelled(place))
    answer = await waiting
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert "was cancelled" in answer.json()["message"]


async def _cancelled(place: Workplace) -> bool:
    async with place.db.system() as tx:
        return bool(
            await tx.execute(
                "UPDATE job SET state = 'cancelled', finished_at = now() WHERE state = 'queued'"
            )
        )


async def test_both_answers_are_described(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    answers = paths["/sum/{numbers}"]["post"]["responses"]

    def shown(status: str) -> str:
        schema = answers[status]["content"]["application/json"]["schema"]
        return str(schema["properties"]["data"]["$ref"]).rpartition("/")[2]

    assert (shown("202"), shown("200")) == ("JobOut", "SumOut")
