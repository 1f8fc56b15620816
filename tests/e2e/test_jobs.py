"""Jobs through the gateway: asked for at one service, done by another, shown by a third."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import httpx

from tests.e2e.real_services import RealServices
from tests.shared.jobs.workplace import until


async def ended(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    """The job at this address, once it has ended."""
    found: dict[str, Any] = {}

    async def over() -> bool:
        answer = await client.get(address)
        assert answer.status_code == 200, answer.text
        found.update(answer.json()["data"])
        return found["finished_at"] is not None

    await until(over, 30)
    return found


async def test_a_computation_is_a_job_that_can_be_watched(whole: RealServices) -> None:
    async with whole.client() as client, whole.client_of_others() as others:
        answer = await client.post("/api/v1/admin/compute", json={"period_type": "month"})
        assert answer.status_code == 202, answer.text
        address = answer.headers["location"]
        assert (await others.get(address)).status_code == 404
        job = await ended(client, address)
        assert (job["name"], job["state"]) == ("compute_portraits", "succeeded")
        (months,) = job["result"]["computed"]
        assert job["progress"]["done"] == job["progress"]["total"] == months["periods"] > 0


async def test_a_client_that_waits_gets_what_was_computed(whole: RealServices) -> None:
    async with whole.client() as client:
        answer = await client.post("/api/v1/admin/compute", json={}, headers={"Prefer": "wait=20"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=20")
    types = [one["period_type"] for one in answer.json()["data"]["computed"]]
    assert types == ["week", "month", "quarter"]


async def test_a_request_that_is_sent_again_asks_for_no_second_job(whole: RealServices) -> None:
    async with whole.client() as client:
        key = {"Idempotency-Key": str(uuid4())}
        first = await client.post("/api/v1/admin/compute", json={}, headers=key)
        await ended(client, first.headers["location"])
        second = await client.post("/api/v1/admin/compute", json={}, headers=key)
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers["location"] == first.headers["location"]
    assert (second.status_code, second.json()["data"]) == (202, first.json()["data"])


async def test_what_is_wrong_is_refused_before_there_is_a_job(whole: RealServices) -> None:
    async with whole.client() as client:
        before = (await client.get("/api/v1/jobs?limit=1")).json()["data"]["jobs"][0]["id"]
        answer = await client.post(
            "/api/v1/admin/compute", json={"period_key": "2024-W60"}, headers={"Prefer": "wait=5"}
        )
        after = (await client.get("/api/v1/jobs?limit=1")).json()["data"]["jobs"][0]["id"]
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (422, "period_key")
    assert before == after


async def test_every_projection_is_rebuilt(whole: RealServices) -> None:
    user = f"rebuilt-{uuid4()}"
    call = {
        "callid": user, "user_id": user, "customer_id": user, "started_at": "2024-12-04T09:30:00+08:00",
        "duration_ms": 60_000, "call_status": "connected",
        "turns": [{"role": "customer", "at_ms": 0, "text": "where is my parcel"}],
    }  # fmt: skip
    async with whole.client() as client:
        posted = await client.post("/api/v1/calls", json={"records": [call]})
        assert posted.status_code == 200, posted.text

        async def counted() -> bool:
            return (await client.get(f"/api/v1/portrait/{user}")).status_code == 200

        await until(counted, 30)
        for projection in ("search", "graph", "vectors"):
            answer = await client.post(f"/api/v1/admin/projections/{projection}/rebuild")
            assert answer.status_code == 202, answer.text
            job = await ended(client, answer.headers["location"])
            assert (job["name"], job["state"]) == (f"rebuild_{projection}", "succeeded")
            assert job["result"]["written"] > 0, projection


async def test_portraits_have_their_schedules(whole: RealServices) -> None:
    async with whole.client() as client:

        async def listed() -> dict[str, str]:
            found = (await client.get("/api/v1/schedules")).json()["data"]["schedules"]
            return {one["name"]: f"{one['cron']} {one['timezone']}" for one in found}

        async def there() -> bool:
            return "check_period_complete" in await listed()

        await until(there, 90)  # an organisation gets its schedules within a minute
        shown = await listed()
    assert {
        "check_period_complete": "0 6 * * * Asia/Shanghai",
        "compute_week_snapshot": "30 6 * * 1 Asia/Shanghai",
        "compute_month_snapshot": "0 7 1 * * Asia/Shanghai",
        "compute_quarter_snapshot": "0 8 1 1,4,7,10 * Asia/Shanghai",
    }.items() <= shown.items()
