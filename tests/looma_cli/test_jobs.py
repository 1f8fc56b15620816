"""`looma jobs` and `looma schedules` as people and scripts use them, beside a real worker."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from looma_cli import exit_codes
from shared.data_access.relational.postgres import Postgres
from shared.errors import NotFound
from shared.jobs.context import JobContext
from shared.jobs.job_type import JobType
from tests.looma_cli.looma import Looma
from tests.shared.jobs.workplace import Workplace, job_type, until


async def hang(context: JobContext[Any], _args: Mapping[str, Any]) -> None:
    context.progress(1, 4)
    await asyncio.sleep(60)


async def fail(_context: JobContext[Any], _args: Mapping[str, Any]) -> None:
    raise NotFound("no [bold]such[/bold] thing")


async def count(context: JobContext[Any], args: Mapping[str, Any]) -> Mapping[str, Any]:
    steps = args.get("steps", 3)
    for step in range(1, steps + 1):
        await asyncio.sleep(0.05)
        async with context.db.tenant(UUID(str(context.org_id))) as tx:
            await context.checkpoint(tx, {"step": step}, done=step, total=steps)
    return {"steps": steps}


NIGHTLY = job_type("nightly", count, cron="30 2 * * *", summary="Counts to three.")
BROKEN = job_type("broken", fail, cron="0 3 * * *")
SLOW = job_type("slow", hang, cron="0 4 * * *")
STEPS = job_type("steps", count)


@contextmanager
def working(url: str, *types: JobType[Any]) -> Iterator[None]:
    """A worker of these kinds in a thread, once the organisation has their schedules."""
    ready, stop = threading.Event(), threading.Event()

    async def work() -> None:
        place = Workplace(Postgres(url), url)
        scheduled = sum(kind.cron is not None for kind in types)

        async def there() -> bool:
            async with place.db.system() as tx:
                return scheduled == await tx.fetchval("SELECT count(*) FROM job_schedule")

        try:
            async with place.working(*types):
                await until(there)
                ready.set()
                await asyncio.to_thread(stop.wait)
        finally:
            ready.set()
            await place.db.close()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        assert ready.wait(60)
        yield
    finally:
        stop.set()
        thread.join()


def put(url: str, kind: JobType[Any], count: int = 1, **args: Any) -> list[int]:
    """Jobs of the only organisation there is."""

    async def ids() -> list[int]:
        place = Workplace(Postgres(url), url)
        async with place.db.system() as tx:
            org_id = await tx.fetchval("SELECT org_id FROM organisation")
        try:
            return await place.put(kind, org_id, count, **args)
        finally:
            await place.db.close()

    return asyncio.run(ids())


def test_nothing_is_said_of_nothing(looma: Looma) -> None:
    assert looma("jobs") == looma("schedules") == looma("jobs", "--watch") == ""
    assert looma.json("jobs") == looma.json("schedules") == []


def test_a_scheduled_job_is_run_and_waited_for(looma: Looma, database_url: str) -> None:
    with working(database_url, NIGHTLY, BROKEN):
        done = looma.run("jobs", "run", "nightly", "--wait")
        assert done.returncode == exit_codes.OK
        assert "has succeeded." in done.stderr
        assert done.stdout == ""
        failed = looma.run("jobs", "run", "broken", "--wait")
        assert failed.returncode == exit_codes.FAILED
        assert "is dead: " in failed.stderr
        assert "no [bold]such[/bold] thing" in failed.stderr
        shown = looma.json("jobs", "run", "broken", "--wait", code=exit_codes.FAILED)
        assert (shown["state"], shown["failures"]) == ("dead", 3)
    page = looma("jobs")
    assert "3/3 100%" in page
    assert "█" not in page  # no terminal to draw it on
    assert "no [bold]such" in page
    assert [job["name"] for job in looma.json("jobs", "--state", "dead")] == ["broken", "broken"]
    assert [job["name"] for job in looma.json("jobs", "--name", "nightly")] == ["nightly"]
    assert len(looma.json("jobs", "--limit", "1")) == 1
    (job,) = looma.json("jobs", "--name", "nightly")
    assert looma.json("jobs", "show", str(job["id"])) == job
    assert '{"steps": 3}' in looma("jobs", "show", str(job["id"]))


def test_a_job_is_paused_resumed_cancelled_and_retried(looma: Looma, database_url: str) -> None:
    (job_id,) = put(database_url, STEPS, steps=2)
    job = str(job_id)
    assert f"Job {job} (steps) is paused." in looma.run("jobs", "pause", job).stderr
    assert "is queued" in looma.run("jobs", "resume", job).stderr
    assert "it can't be resumed" in looma.refusal("jobs", "resume", job)
    assert "is cancelled" in looma.run("jobs", "cancel", job).stderr
    assert "it can't be paused" in looma.refusal("jobs", "pause", job)
    assert "is queued" in looma.run("jobs", "retry", job).stderr
    assert "it can't be retried" in looma.refusal("jobs", "retry", job)
    assert "no job 999" in looma.refusal("jobs", "cancel", "999")


def test_jobs_are_watched_until_all_have_ended(looma: Looma, database_url: str) -> None:
    first, second = put(database_url, STEPS, 2, steps=20)
    with working(database_url, STEPS):
        lines = looma("jobs", "--watch", "--name", "steps").splitlines()
    assert f"{first} steps: succeeded 20/20 100%" in lines
    assert f"{second} steps: succeeded 20/20 100%" in lines


@pytest.mark.slow
def test_a_watch_of_what_runs_ends_with_how_it_ended(looma: Looma, database_url: str) -> None:
    (job_id,) = put(database_url, STEPS, steps=200)
    with working(database_url, STEPS):

        async def runs() -> bool:
            return bool(await asyncio.to_thread(looma.json, "jobs", "--state", "running"))

        asyncio.run(until(runs))
        done = looma.run("jobs", "--watch", "--state", "running")
    assert f"{job_id} steps: succeeded 200/200 100%" in done.stdout.splitlines()
    assert "There are none" not in done.stderr


def test_a_paused_schedule_that_is_reset_stays_paused_and_says_so(
    looma: Looma, database_url: str
) -> None:
    with working(database_url, NIGHTLY):
        looma("schedules", "pause", "nightly")
        told = looma.run("schedules", "reset", "nightly").stderr
        assert "stays paused: looma schedules resume nightly" in " ".join(told.split())
        (one,) = looma.json("schedules")
        assert one["paused"]


def test_schedules_are_listed_chosen_paused_and_reset(looma: Looma, database_url: str) -> None:
    with working(database_url, NIGHTLY):
        page = looma("schedules")
        assert "30 2 * * *" in page
        assert "Counts to three." in page
        assert "5 4 * * 1 (chosen)" in looma("schedules", "set", "nightly", "--cron", "5 4 * * 1")
        looma("schedules", "pause", "nightly")
        (one,) = looma.json("schedules")
        assert (one["cron"], one["paused"], one["chosen"]) == ("5 4 * * 1", True, True)
        looma("schedules", "resume", "nightly")
        assert "30 2 * * * again" in looma.run("schedules", "reset", "nightly").stderr

        async def declared() -> bool:
            (one,) = await asyncio.to_thread(looma.json, "schedules")
            return (one["cron"], one["chosen"], one["paused"]) == ("30 2 * * *", False, False)

        asyncio.run(until(declared))
        assert "five fields" in looma.refusal("schedules", "set", "nightly", "--cron", "5 4")
        for command in (("pause",), ("resume",), ("reset",), ("set", "--cron", "1 1 * * *")):
            assert "`looma schedules` lists" in looma.refusal("schedules", *command, "none")
        assert "`looma schedules` lists" in looma.refusal("jobs", "run", "none")


def test_a_job_that_runs_is_not_run_twice_and_can_be_stopped(
    looma: Looma, database_url: str
) -> None:
    with working(database_url, SLOW):
        job = looma.json("jobs", "run", "slow")
        assert "unfinished" in looma.refusal("jobs", "run", "slow")

        async def state(wanted: str) -> bool:
            return (await asyncio.to_thread(looma.json, "jobs"))[0]["state"] == wanted

        asyncio.run(until(lambda: state("running")))
        assert "1/4 25%" in looma("jobs")
        assert "running, to be cancelled" in looma.run("jobs", "cancel", str(job["id"])).stderr
        asyncio.run(until(lambda: state("cancelled")))


def test_nobody_waits_where_nothing_runs(tmp_path: Path) -> None:
    bare = Looma(tmp_path / "home", tmp_path)
    assert "looma up" in bare.refusal("jobs", "run", "nightly", "--wait")
    assert not bare.home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--watch", "--json"),
        ("--state", "gone"),
        ("--limit", "0"),
        ("--org", "acme", "show", "1"),
        ("show", "0"),
        ("show", str(2**63)),
        ("show", "x"),
    ],
)
def test_wrong_options_are_usage_errors(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    bare = Looma(tmp_path / "home", tmp_path)
    done = bare.run("jobs", *arguments)
    assert done.returncode == exit_codes.USAGE, json.dumps(done.stderr)
