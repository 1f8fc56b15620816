"""Jobs and schedules over HTTP: what is shown, who may change it, what is refused and how."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.errors import NotFound
from shared.jobs.backoff import Retry
from shared.jobs.context import JobContext
from tests.ai_services.monitor.conftest import Api
from tests.shared.jobs.workplace import job_type, steps, until


async def count_to_two(context: JobContext[Any], _args: Mapping[str, Any]) -> Mapping[str, Any]:
    for step in (1, 2):
        async with context.db.tenant(UUID(str(context.org_id))) as tx:
            await context.checkpoint(tx, {"step": step}, done=step, total=2)
    return {"steps": 2}


async def hang(context: JobContext[Any], _args: Mapping[str, Any]) -> None:
    context.progress(1, 4)
    await asyncio.sleep(60)


async def stumble(context: JobContext[Any], _args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fails after its first step until somebody has it tried again."""
    done = (context.cursor or {}).get("step", 0)
    if not done:
        async with context.db.tenant(UUID(str(context.org_id))) as tx:
            await context.checkpoint(tx, {"step": 1}, done=1, total=2)
        raise NotFound("The second step is out.")
    return {"began_after": done}


NIGHTLY = job_type("nightly", count_to_two, cron="30 2 * * *")
SLOW = job_type("slow", hang, cron="0 4 * * *")
STEPS = job_type("steps", steps)
STUMBLING = job_type("stumbling", stumble, retry=Retry(failures=1))


async def scheduled(http: httpx.AsyncClient, name: str = "nightly") -> None:
    """Wait until the worker has given the organisation its schedules."""

    async def there() -> bool:
        return any(one["name"] == name for one in (await schedules(http)))

    await until(there)


async def schedules(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await http.get("/api/v1/schedules")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]["schedules"]
    return found


def problem(answer: httpx.Response) -> dict[str, str]:
    (detail,) = answer.json()["details"]
    return dict(detail)


async def test_a_scheduled_job_runs_when_asked_for_and_its_end_can_be_waited_for(api: Api) -> None:
    org = await api.place.organisation()
    async with api.place.working(NIGHTLY), api.client(org) as http:
        await scheduled(http)
        answer = await http.post("/api/v1/jobs/nightly/run", headers={"Prefer": "wait=15"})
        assert answer.status_code == 200
        assert answer.headers["preference-applied"] == "wait=15"
        job = answer.json()["data"]
        assert (job["state"], job["result"]) == ("succeeded", {"steps": 2})
        assert (job["progress"]["done"], job["progress"]["total"]) == (2, 2)
        assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
        assert (await http.get(answer.headers["location"])).json()["data"] == job


async def test_what_is_unfinished_is_accepted_and_not_run_twice_and_can_be_cancelled(
    api: Api,
) -> None:
    org = await api.place.organisation()
    async with api.place.working(SLOW), api.client(org) as http:
        await scheduled(http, "slow")
        accepted = await http.post("/api/v1/jobs/slow/run")
        assert accepted.status_code == 202
        path = f"/api/v1/jobs/{accepted.json()['data']['id']}"
        again = await http.post("/api/v1/jobs/slow/run")
        assert again.status_code == 409

        async def seen() -> bool:
            return bool((await http.get(path)).json()["data"]["progress"]["done"] == 1)

        await until(seen)
        running = (await http.get(path)).json()["data"]
        assert (running["state"], running["progress"]["total"]) == ("running", 4)
        assert running["progress"]["eta_seconds"] > 0
        cancelled = await http.post(f"{path}/cancel")
        assert cancelled.json()["data"]["stopping"] == "cancelled"

        async def over() -> bool:
            return bool((await http.get(path)).json()["data"]["state"] == "cancelled")

        await until(over)
        assert (await http.post(f"{path}/cancel")).status_code == 200


async def test_a_dead_job_is_retried_at_its_checkpoint(api: Api) -> None:
    org = await api.place.organisation()
    async with api.client(org) as http:
        (job,) = await api.place.put(STUMBLING, org)
        async with api.place.working(STUMBLING):
            await api.place.until_state(job, "dead")
            shown = (await http.get(f"/api/v1/jobs/{job}")).json()["data"]
            assert (shown["progress"]["done"], shown["error"]) == (
                1,
                "NotFound: The second step is out.",
            )
            retried = await http.post(f"/api/v1/jobs/{job}/retry")
            assert (retried.status_code, retried.json()["data"]["failures"]) == (200, 0)
            await api.place.until_state(job, "succeeded")
        found = (await http.get(f"/api/v1/jobs/{job}")).json()["data"]
        assert found["result"] == {"began_after": 1}
        again = await http.post(f"/api/v1/jobs/{job}/retry")
        assert (again.status_code, again.json()["message"]) == (
            409,
            f"Job {job} is succeeded: it can't be retried.",
        )


async def test_a_job_is_not_retried_beside_another_of_its_schedule(api: Api) -> None:
    org = await api.place.organisation()
    async with api.place.working(SLOW), api.client(org) as http:
        await scheduled(http, "slow")
        first = (await http.post("/api/v1/jobs/slow/run")).json()["data"]["id"]
        await http.post(f"/api/v1/jobs/{first}/cancel")
        await api.place.until_state(first, "cancelled")
        await http.post("/api/v1/jobs/slow/run")
        refused = await http.post(f"/api/v1/jobs/{first}/retry")
        assert refused.status_code == 409
        assert "has taken its place" in refused.json()["message"]


async def test_a_job_is_paused_and_resumed(api: Api) -> None:
    org = await api.place.organisation()
    (job,) = await api.place.put(STEPS, org, steps=2)
    async with api.client(org) as http:
        paused = await http.post(f"/api/v1/jobs/{job}/pause")
        assert paused.json()["data"]["state"] == "paused"
        assert (await http.post(f"/api/v1/jobs/{job}/pause")).status_code == 200
        resumed = await http.post(f"/api/v1/jobs/{job}/resume")
        assert resumed.json()["data"]["state"] == "queued"
        again = await http.post(f"/api/v1/jobs/{job}/resume")
        assert (again.status_code, again.json()["message"]) == (
            409,
            f"Job {job} is queued: it can't be resumed.",
        )
        await http.post(f"/api/v1/jobs/{job}/cancel")
        assert (await http.post(f"/api/v1/jobs/{job}/pause")).status_code == 409


async def test_a_job_that_runs_is_paused_at_its_next_effect_and_goes_on_there(api: Api) -> None:
    org = await api.place.organisation()
    (job,) = await api.place.put(STEPS, org, steps=100, pause=0.02)
    async with api.place.working(STEPS), api.client(org) as http:
        await until(lambda: begun(http, job))
        stopping = (await http.post(f"/api/v1/jobs/{job}/pause")).json()["data"]
        assert (stopping["state"], stopping["stopping"]) == ("running", "paused")
        await api.place.until_state(job, "paused")
        await http.post(f"/api/v1/jobs/{job}/resume")
        await api.place.until_state(job, "succeeded")
    assert len(await api.place.effects(job)) == 100


async def begun(http: httpx.AsyncClient, job: int) -> bool:
    return bool((await http.get(f"/api/v1/jobs/{job}")).json()["data"]["progress"]["done"])


async def test_lists_are_filtered_and_paged_newest_first(api: Api) -> None:
    org = await api.place.organisation()
    ids = await api.place.put(STEPS, org, 5, steps=1)
    (other,) = await api.place.put(job_type("other", steps), org, steps=1)
    async with api.client(org, "analyst") as http, api.client(org) as admin:
        await admin.post(f"/api/v1/jobs/{ids[0]}/cancel")
        first = (await http.get("/api/v1/jobs?name=steps&limit=3")).json()["data"]
        query = f"/api/v1/jobs?name=steps&limit=3&cursor={first['next_cursor']}"
        second = (await http.get(query)).json()["data"]
        shown = [job["id"] for job in first["jobs"] + second["jobs"]]
        assert (shown, second["next_cursor"]) == (ids[::-1], None)
        queued = (await http.get("/api/v1/jobs?state=queued")).json()["data"]["jobs"]
        assert [job["id"] for job in queued] == [other, *ids[:0:-1]]
        elsewhere = await http.get(f"/api/v1/jobs?state=dead&cursor={first['next_cursor']}")
        assert elsewhere.status_code == 400


async def test_an_organisation_neither_sees_nor_touches_the_jobs_of_another(api: Api) -> None:
    mine, other = await api.place.organisation(), await api.place.organisation()
    async with api.place.working(NIGHTLY), api.client(mine) as http, api.client(other) as theirs:
        await scheduled(http)
        await scheduled(theirs)
        (job,) = await api.place.put(job_type("later", steps), other, steps=1)
        await http.put("/api/v1/schedules/nightly", json={"cron": "5 5 * * *", "paused": True})
        assert (await http.get("/api/v1/jobs")).json()["data"]["jobs"] == []
        assert (await http.get(f"/api/v1/jobs/{job}")).status_code == 404
        for change in ("cancel", "retry", "pause", "resume"):
            assert (await http.post(f"/api/v1/jobs/{job}/{change}")).status_code == 404
        (schedule,) = await schedules(theirs)
        assert (schedule["cron"], schedule["paused"]) == ("30 2 * * *", False)
        assert (await theirs.get(f"/api/v1/jobs/{job}")).json()["data"]["state"] == "queued"


async def test_a_schedule_can_be_chosen_paused_and_given_up_again(api: Api) -> None:
    org = await api.place.organisation(zone="Europe/Berlin")
    async with api.place.working(NIGHTLY), api.client(org) as http:
        await scheduled(http)
        chosen = await http.put("/api/v1/schedules/nightly", json={"cron": " 15  4 * * 1 "})
        shown = chosen.json()["data"]
        assert (shown["cron"], shown["chosen"], shown["declared_cron"]) == (
            "15 4 * * 1",
            True,
            "30 2 * * *",
        )
        assert (shown["timezone"], shown["paused"]) == ("Europe/Berlin", False)
        paused = await http.put("/api/v1/schedules/nightly", json={"paused": True})
        assert (paused.json()["data"]["paused"], paused.json()["data"]["chosen"]) == (True, False)

        async def declared() -> bool:
            return (await schedules(http))[0]["cron"] == "30 2 * * *"

        await until(declared)
        assert (await schedules(http))[0]["paused"] is True


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("30 2 * *", "doesn't have five fields"),
        ("61 2 * * *", "is no schedule"),
        ("0 0 30 2 *", "Bad day-of-month"),
    ],
)
async def test_a_time_that_is_none_is_refused_with_field_problem_and_fix(
    api: Api, cron: str, said: str
) -> None:
    org = await api.place.organisation()
    async with api.place.working(NIGHTLY), api.client(org) as http:
        await scheduled(http)
        answer = await http.put("/api/v1/schedules/nightly", json={"cron": cron})
        assert answer.status_code == 422
        detail = problem(answer)
        assert detail["field"] == "cron"
        assert said in detail["problem"]
        assert detail["fix"]
        assert (await schedules(http))[0]["cron"] == "30 2 * * *"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/jobs/none", 404),
        ("GET", "/api/v1/jobs/99999999999999999999", 404),
        ("GET", f"/api/v1/jobs/{'1' * 5000}", 404),
        ("GET", "/api/v1/jobs/1%00", 404),
        ("POST", "/api/v1/jobs/none/run", 404),
        ("POST", "/api/v1/jobs/-1/cancel", 404),
        ("POST", "/api/v1/jobs/none/retry", 404),
        ("POST", "/api/v1/jobs/99/pause", 404),
        ("POST", "/api/v1/jobs/99/resume", 404),
        ("PUT", "/api/v1/schedules/none", 404),
        ("GET", "/api/v1/jobs?state=gone", 422),
        ("GET", "/api/v1/jobs?limit=0", 422),
        ("GET", "/api/v1/jobs?cursor=AAAA", 422),
    ],
)
async def test_bad_input_is_refused(api: Api, method: str, path: str, status: int) -> None:
    async with api.client(await api.place.organisation()) as http:
        body = {"json": {"paused": True}} if method == "PUT" else {}
        answer = await http.request(method, path, **body)  # type: ignore[arg-type]
        assert answer.status_code == status, answer.text


async def test_analysts_look_and_only_admins_change(api: Api) -> None:
    org = await api.place.organisation()
    async with api.client(org, "agent") as agent, api.client(org, "analyst") as analyst:
        assert (await agent.get("/api/v1/jobs")).status_code == 403
        assert (await analyst.get("/api/v1/schedules")).status_code == 200
        for method, path in (
            ("POST", "/api/v1/jobs/nightly/run"),
            ("POST", "/api/v1/jobs/1/cancel"),
            ("POST", "/api/v1/jobs/1/retry"),
            ("POST", "/api/v1/jobs/1/pause"),
            ("POST", "/api/v1/jobs/1/resume"),
            ("PUT", "/api/v1/schedules/nightly"),
        ):
            answer = await analyst.request(method, path, json={} if method == "PUT" else None)
            assert answer.status_code == 403, path


async def fill(_context: JobContext[Any], _args: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"written": 7}


async def test_a_projection_is_rebuilt_by_whichever_service_has_it(api: Api) -> None:
    org = await api.place.organisation()
    path = "/api/v1/admin/projections/vectors/rebuild"
    async with api.client(org) as http, api.client(org, "analyst") as analyst:
        assert (await analyst.post(path)).status_code == 403
        unknown = await http.post("/api/v1/admin/projections/none/rebuild")
        assert unknown.status_code == 404
        assert "search, graph, vectors" in unknown.json()["message"]
        undeclared = await http.post(path)
        assert undeclared.status_code == 404
        assert "rebuild_vectors" in undeclared.json()["message"]
        async with api.place.working(job_type("rebuild_vectors", fill, exclusive=True)):
            answer = await http.post(path, headers={"Prefer": "wait=15"})
        job = answer.json()["data"]
        assert (answer.status_code, job["state"]) == (200, "succeeded")
        assert (job["name"], job["result"]) == ("rebuild_vectors", {"written": 7})
        # Nobody works now: who asks twice is shown the same job.
        first, second = await http.post(path), await http.post(path)
        assert first.status_code == second.status_code == 202
        assert first.headers["location"] == second.headers["location"]
        assert first.headers["location"] == f"/api/v1/jobs/{first.json()['data']['id']}"
