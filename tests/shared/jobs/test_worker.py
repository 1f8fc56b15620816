"""Workers: who runs what, when, how often, and what becomes of it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry

from shared.errors import Conflict, InvalidInput, NotFound, StoreUnavailable
from shared.jobs.backoff import Retry
from shared.jobs.enqueue import enqueue
from shared.jobs.store import jobs, schedules
from shared.jobs.upkeep import Pace
from shared.jobs.worker import Worker
from tests.shared.jobs.workplace import add_effect, job_type, running, steps, until
from tests.spans import ended_spans

STEPS = job_type("steps", steps)


async def effect(context, args):
    async with context.db.system() as tx:
        await context.fence(tx)
        await add_effect(tx, context, args.get("step", 0))


async def for_ever(context, _args):
    context.progress(1, 2)
    await asyncio.Event().wait()


async def test_what_a_handler_tells_is_kept(place, org):
    async def tell(context, args):
        assert (context.org_id, context.name, context.state) == (org, "tell", None)
        return {"twice": args["n"] * 2}

    kind = job_type("tell", tell)
    async with place.working(kind):
        (job_id,) = await place.put(kind, org, n=21)
        job = await place.until_state(job_id, "succeeded")
    assert job.result == {"twice": 42}
    assert job.finished_at >= job.started_at >= job.created_at
    assert (job.worker, job.error, job.stop, job.failures) == (None, None, None, 0)


async def test_steps_are_done_once_and_progress_is_shown(place, org):
    async with place.working(STEPS):
        (job_id,) = await place.put(STEPS, org, steps=4, pause=0.1)
        await until(lambda: _done(place, job_id, 2))
        seen = await place.job(job_id)
        await place.until_state(job_id, "succeeded")
    assert seen.progress.total == 4
    assert seen.progress.rate > 0
    assert seen.progress.eta_s is not None
    assert await place.effects() == [(job_id, step) for step in range(4)]


async def _done(place, job_id, count):
    return (await place.job(job_id)).progress.done >= count


async def test_a_claim_is_a_trace_of_its_own(place, org):
    async def write(context, _args):
        async with context.db.tenant(org) as tx:
            await context.fence(tx)
        raise Conflict("never")

    kind = job_type("write", write, retry=Retry(failures=1))
    with ended_spans() as ended:
        async with place.working(kind):
            (job_id,) = await place.put(kind, org)
            await place.until_state(job_id, "dead")
    (span,) = [one for one in ended.spans if one.name == "job write"]
    assert span.parent is None
    assert span.attributes == {"looma.job": "write", "error.type": "dead"}
    below = [one for one in ended.spans if one.context.trace_id == span.context.trace_id]
    assert len(below) > 1  # what the handler asked of PostgreSQL


async def test_a_failure_is_tried_again_and_its_error_kept(place, org):
    async def fail_twice(context, _args):
        if context.failures < 2:
            raise Conflict(f"no {context.failures}: call 13812348000\0")

    kind = job_type("fail_twice", fail_twice)
    async with place.working(kind):
        (job_id,) = await place.put(kind, org)
        job = await place.until_state(job_id, "succeeded")
    assert (job.failures, job.error) == (2, "Conflict: no 1: call 138****8000")


async def test_a_job_is_dead_after_its_last_failure_and_can_be_retried(place, org):
    async def fail(context, args):
        async with context.db.system() as tx:
            await context.checkpoint(tx, {"seen": True})
        raise ValueError(args)

    registry = CollectorRegistry()
    kind = job_type("fail", fail, retry=Retry(failures=2, first_s=0.01, longest_s=0.01))
    async with place.working(kind, registry=registry):
        (job_id,) = await place.put(kind, org)
        job = await place.until_state(job_id, "dead")
        assert (job.failures, job.error) == (2, "ValueError: The log has the details.")
        assert job.finished_at is not None
        (told,) = await _told(place, org)
        assert (told["job_id"], told["name"], told["error"]) == (job_id, "fail", job.error)
        async with place.db.tenant(org) as tx:
            await jobs.retry(tx, job_id)
        await until(lambda: _failed(place, job_id))
    assert registry.get_sample_value("job_failures_total", {"job_type": "fail"}) == 4


async def _told(place, org):
    """What is told of jobs that died, oldest first."""
    async with place.db.tenant(org) as tx:
        rows = await tx.fetch("SELECT payload FROM outbox WHERE topic = 'jobs' ORDER BY id")
    return [row["payload"] for row in rows]


async def _failed(place, job_id):
    return (await place.job(job_id)).state == "dead"


async def test_a_result_that_cant_be_kept_is_a_failure(place, org):
    async def tell(_context, _args):
        return {"object": object()}

    kind = job_type("tell", tell, retry=Retry(failures=1, first_s=0.01, longest_s=0.01))
    async with place.working(kind):
        (job_id,) = await place.put(kind, org)
        assert "result" in (await place.until_state(job_id, "dead")).error


async def test_a_store_that_is_away_is_no_failure(place, org):
    async def away(_context, _args):
        raise StoreUnavailable("The search index cannot be reached right now.")

    kind = job_type("away", away)
    async with place.working(kind):
        (job_id,) = await place.put(kind, org)
        job = await place.until_state(job_id, "waiting")
    assert (job.failures, job.error) == (
        0, "StoreUnavailable: The search index cannot be reached right now.",
    )  # fmt: skip
    assert job.run_at > job.created_at


async def test_a_time_limit_is_enforced(place, org):
    kind = job_type(
        "for_ever",
        for_ever,
        time_limit=timedelta(seconds=0.3),
        retry=Retry(failures=2, first_s=0.01, longest_s=0.01),
    )
    started = time.monotonic()
    async with place.working(kind):
        (job_id,) = await place.put(kind, org)
        job = await place.until_state(job_id, "dead")
    assert job.error == "The time limit of 0:00:00.300000 was over."
    assert 0.6 <= time.monotonic() - started < 10


async def test_time_of_earlier_claims_counts_towards_the_limit(place, org):
    kind = job_type("for_ever", for_ever, retry=Retry(failures=1))
    (job_id,) = await place.put(kind, org)
    async with place.working(kind):
        await until(lambda: _done(place, job_id, 1))
        async with place.db.tenant(org) as tx:
            await jobs.pause(tx, job_id)
        await place.until_state(job_id, "paused")
        async with place.db.system() as tx:
            assert await tx.fetchval("SELECT spent FROM job") > timedelta(0)
            await tx.execute("UPDATE job SET spent = '29.9 seconds'")
            await jobs.resume(tx, job_id)
        job = await place.until_state(job_id, "dead", 20)
    assert job.error == "The time limit of 0:00:30 was over."


async def test_a_handlers_own_timeout_is_an_error_like_others(place, org):
    async def impatient(_context, _args):
        async with asyncio.timeout(0):
            await asyncio.sleep(9)

    kind = job_type("impatient", impatient, retry=Retry(failures=1))
    async with place.working(kind):
        (job_id,) = await place.put(kind, org)
        assert (await place.until_state(job_id, "dead")).error.startswith("TimeoutError")


@pytest.mark.parametrize("cooperative", [True, False])
async def test_a_running_job_is_cancelled(place, org, cooperative):
    asked = asyncio.Event()

    async def stubborn(context, _args):
        while cooperative:
            await asyncio.sleep(0.02)
            if context.stopped == "cancelled":
                asked.set()
            context.stop_if_asked()
        await asyncio.Event().wait()

    kind = job_type("stubborn", stubborn)
    async with place.working(kind):
        (job_id,) = await place.put(kind, org)
        await place.until_state(job_id, "running")
        async with place.db.tenant(org) as tx:
            await jobs.cancel(tx, job_id)
            assert (await jobs.get_job(tx, job_id)).stop == "cancelled"
        job = await place.until_state(job_id, "cancelled")
        async with place.db.tenant(org) as tx:
            await jobs.cancel(tx, job_id)  # again changes nothing
            with pytest.raises(Conflict, match="is cancelled"):
                await jobs.resume(tx, job_id)
    assert asked.is_set() is cooperative
    assert job.finished_at is not None


async def test_a_queued_job_is_cancelled_at_once(place, org):
    (job_id,) = await place.put(STEPS, org, steps=1)
    async with place.db.tenant(org) as tx:
        await jobs.cancel(tx, job_id)
    assert (await place.job(job_id)).state == "cancelled"
    async with place.working(STEPS):
        await asyncio.sleep(0.2)
    assert await place.effects() == []


async def test_a_job_that_is_paused_goes_on_at_its_checkpoint(place, org):
    async with place.working(STEPS):
        (job_id,) = await place.put(STEPS, org, steps=6, pause=0.1)
        await until(lambda: _done(place, job_id, 2))
        async with place.db.tenant(org) as tx:
            await jobs.pause(tx, job_id)
        job = await place.until_state(job_id, "paused")
        assert 2 <= job.progress.done < 6
        await asyncio.sleep(0.2)
        assert (await place.job(job_id)).progress.done == job.progress.done
        async with place.db.tenant(org) as tx:
            await jobs.resume(tx, job_id)
        await place.until_state(job_id, "succeeded")
    assert await place.effects() == [(job_id, step) for step in range(6)]


async def test_the_ended_and_the_unknown_are_left_as_they_are(place, org):
    async with place.working(STEPS):
        (job_id,) = await place.put(STEPS, org, steps=0)
        await place.until_state(job_id, "succeeded")
    async with place.db.tenant(org) as tx:
        for ask in (jobs.cancel, jobs.pause, jobs.resume, jobs.retry):
            with pytest.raises(Conflict, match="succeeded"):
                await ask(tx, job_id)
            with pytest.raises(NotFound):
                await ask(tx, job_id + 1)


async def test_a_kind_of_job_that_is_paused_begins_no_more(place, org):
    async with place.working(STEPS):
        async with place.db.system() as tx:
            await schedules.pause_type(tx, "steps", paused=True)
            with pytest.raises(NotFound):
                await schedules.pause_type(tx, "none", paused=True)
        (job_id,) = await place.put(STEPS, org, steps=1)
        await asyncio.sleep(0.3)
        assert (await place.job(job_id)).state == "queued"
        async with place.db.system() as tx:
            await schedules.pause_type(tx, "steps", paused=False)
        await place.until_state(job_id, "succeeded")


async def test_exclusive_jobs_never_run_together(place, org):
    running_now: Counter[object] = Counter()
    most: Counter[object] = Counter()

    async def alone(context, args):
        running_now[context.org_id] += 1
        most[context.org_id] = max(most[context.org_id], running_now[context.org_id])
        await asyncio.sleep(0.02)
        await effect(context, args)
        running_now[context.org_id] -= 1

    kind = job_type("alone", alone, exclusive=True)
    other = await place.organisation()
    ids = await place.put(kind, org, 5) + await place.put(kind, other, 5)
    async with place.working(kind), place.working(kind):
        await place.until_over(ids)
    assert most == {org: 1, other: 1}
    assert len(await place.effects()) == 10


async def test_urgent_jobs_of_an_organisation_come_first(place, org):
    order: list[str] = []

    async def note(context, _args):
        order.append(context.name)

    kinds = [job_type(name, note, priority=p) for name, p in (("low", -5), ("mid", 0), ("high", 9))]
    ids = []
    for kind in kinds:
        ids += await place.put(kind, org, 3)
    async with place.working(*kinds, places=1):
        await place.until_over(ids)
    assert order == ["high"] * 3 + ["mid"] * 3 + ["low"] * 3


async def test_one_job_of_another_is_not_held_up_by_many(place, org):
    order: list[object] = []

    async def note(context, _args):
        order.append(context.org_id)

    kind = job_type("note", note)
    await place.put(kind, org, 200)
    late = await place.organisation()
    async with place.working(kind, places=2):
        await until(lambda: _longer(order, 5))
        (job_id,) = await place.put(kind, late)
        before = len(order)
        await place.until_state(job_id, "succeeded")
    assert order.index(late) - before < 20


async def _longer(items, count):
    return len(items) > count


async def test_jobs_of_hours_leave_a_place_to_others(place, org):
    slow = job_type("for_ever", for_ever)
    await place.put(slow, org, 10)
    async with place.working(slow, STEPS, places=4):
        await until(lambda: _running(place, 3))
        (job_id,) = await place.put(STEPS, await place.organisation(), steps=1)
        await place.until_state(job_id, "succeeded")
        assert await place.count("running") == 3


async def _running(place, count):
    return await place.count("running") == count


async def test_a_worker_that_stops_gives_its_jobs_back(place, org):
    async with place.working(STEPS):
        (job_id,) = await place.put(STEPS, org, steps=30, pause=0.05)
        await until(lambda: _done(place, job_id, 2))
        begun = time.monotonic()
    assert time.monotonic() - begun < 3
    job = await place.job(job_id)
    assert (job.state, job.failures, job.lost, job.worker) == ("queued", 0, 0, None)
    async with place.working(STEPS):
        await place.until_state(job_id, "succeeded")
    assert await place.effects() == [(job_id, step) for step in range(30)]


async def test_a_handler_that_ignores_its_end_is_ended(place, org):
    async def deaf(_context, _args):
        for _ in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue

    kind = job_type("deaf", deaf)
    begun = time.monotonic()
    async with place.working(kind):
        (job_id,) = await place.put(kind, org)
        await place.until_state(job_id, "running")
        begun = time.monotonic()
    assert time.monotonic() - begun < 3


async def test_what_kills_its_worker_again_and_again_is_dead(place, org):
    (job_id,) = await place.put(STEPS, org, steps=1)
    async with place.db.system() as tx:
        await tx.execute(
            "UPDATE job SET state = 'running', fence = nextval('job_fence'), lost = 9, "
            "renewed_at = now(), claimed_at = now(), lease_until = now() WHERE job_id = $1",
            job_id,
        )
    registry = CollectorRegistry()
    async with place.working(STEPS, registry=registry):
        job = await place.until_state(job_id, "dead")
    assert (job.lost, job.error) == (10, "Its worker was lost 10 times without a checkpoint.")
    assert registry.get_sample_value("job_failures_total", {"job_type": "steps"}) == 1
    (told,) = await _told(place, org)
    assert (told["job_id"], told["lost"], told["error"]) == (job_id, 10, job.error)


async def test_what_was_cancelled_while_its_worker_was_lost_ends(place, org):
    (job_id,) = await place.put(STEPS, org, steps=1)
    async with place.db.system() as tx:
        await tx.execute(
            "UPDATE job SET state = 'running', fence = nextval('job_fence'), "
            "renewed_at = now(), claimed_at = now(), lease_until = now() WHERE job_id = $1",
            job_id,
        )
        await jobs.cancel(tx, job_id)
    async with place.working(STEPS):
        await place.until_state(job_id, "cancelled")
    assert await place.effects() == []


async def test_an_idle_worker_begins_within_a_second(place, org):
    async with place.working(STEPS, pace=Pace()):
        waits = []
        for _ in range(6):
            (job_id,) = await place.put(STEPS, org, steps=0)
            job = await place.until_state(job_id, "succeeded")
            waits.append((job.started_at - job.created_at).total_seconds())
    assert sorted(waits)[-2] < 1.0  # one may have met a busy machine


async def test_lists_go_from_the_newest_on(place, org):
    ids = await place.put(STEPS, org, 5, steps=1)
    other = job_type("other", steps)
    (one,) = await place.put(other, org)
    async with place.db.tenant(org) as tx:
        first = await jobs.list_jobs(tx, limit=2)
        second = await jobs.list_jobs(tx, limit=9, before=first[-1].job_id)
        named = await jobs.list_jobs(tx, name="other", state="queued")
        none = await jobs.list_jobs(tx, state="dead")
    assert [job.job_id for job in (*first, *second)] == [one, *reversed(ids)]
    assert ([job.job_id for job in named], none) == ([one], [])


async def test_old_history_is_cleaned_away(place, org):
    old, new, queued = await place.put(STEPS, org, 3, steps=0)
    async with place.db.system() as tx:
        await jobs.cancel(tx, old)
        await jobs.cancel(tx, new)
        await tx.execute(
            "UPDATE job SET finished_at = now() - interval '90 days 1 minute' WHERE job_id = $1",
            old,
        )
        await schedules.declare(tx, [])
    quiet = job_type("quiet", steps)
    async with place.working(quiet):
        await until(lambda: _gone(place, old))
    assert {(await place.job(one)).state for one in (new, queued)} == {"cancelled", "queued"}


async def _gone(place, job_id):
    try:
        await place.job(job_id)
    except NotFound:
        return True
    return False


async def test_the_queue_is_measured(place, org):
    registry = CollectorRegistry()
    slow = job_type("for_ever", for_ever)
    await place.put(slow, org, 4)
    async with place.working(slow, STEPS, registry=registry, places=1):
        await until(lambda: _sample(registry, "jobs_queued", "for_ever", 3))
        oldest = registry.get_sample_value("oldest_queued_seconds", {"job_type": "for_ever"})
        (job_id,) = await place.put(STEPS, org, steps=0)
    assert oldest > 0
    assert registry.get_sample_value("jobs_queued", {"job_type": "steps"}) == 0
    assert registry.get_sample_value("job_failures_total", {"job_type": "steps"}) == 0
    assert registry.get_sample_value("job_duration_seconds_count", {"job_type": "for_ever"}) == 1
    assert (await place.job(job_id)).state == "queued"


async def _sample(registry, metric, name, value):
    return registry.get_sample_value(metric, {"job_type": name}) == value


async def test_jobs_that_nobody_here_knows_are_left_to_others(place, org):
    (job_id,) = await place.put(job_type("unknown", steps), org)
    async with place.working(STEPS):
        (mine,) = await place.put(STEPS, org, steps=0)
        await place.until_state(mine, "succeeded")
    assert (await place.job(job_id)).state == "queued"


def test_what_is_declared_wrongly_is_refused():
    with pytest.raises(ValueError, match="one name"):
        Worker(None, None, [STEPS, STEPS], service="test")
    for wrong in (
        {"name": "Steps"}, {"time_limit": timedelta(0)}, {"time_limit": timedelta(days=8)},
        {"priority": 101}, {"max_lost": 0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"name|limit|priority"):
            job_type(wrong.pop("name", "steps"), steps, **wrong)
    with pytest.raises(InvalidInput, match=r"steps\.cron"):
        job_type("steps", steps, cron="never")


async def test_enqueued_many_are_claimed_in_the_order_of_their_time(place, org):
    order: list[int] = []

    async def note(context, _args):
        order.append(context.job_id)

    kind = job_type("note", note)
    async with place.db.system() as tx:
        ids = [(await enqueue(tx, kind, {}, org_id=org)).job_id for _ in range(6)]
    async with place.working(kind, places=1):
        await place.until_over(ids)
    assert order == ids
    assert all(first < second for first, second in pairwise(order))


async def test_two_workers_share_the_work(place, org):
    workers = [place.worker(STEPS), place.worker(STEPS)]
    ids = await place.put(STEPS, org, 30, steps=2, pause=0.01)
    async with running(workers[0]), running(workers[1]):
        await place.until_over(ids)
    assert await place.effects() == [(job_id, step) for job_id in ids for step in (0, 1)]
