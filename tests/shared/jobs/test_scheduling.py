"""Schedules: once for the latest time, never two of one, by the organisation's own clock and choice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.errors import Conflict, InvalidInput, NotFound
from shared.jobs.cron import next_run
from shared.jobs.scheduling import (
    change_schedule,
    queue_due,
    reset_schedule,
    run_now,
    settle_schedules,
)
from shared.jobs.store import jobs, schedules
from shared.jobs.store.schedules import DeclaredType
from tests.shared.jobs.workplace import Workplace, job_type, steps, until

DAILY = job_type("daily", steps, cron="30 2 * * *")
EVERY = job_type("every", steps, cron="* * * * *")
OURS = job_type("ours", steps, cron="0 4 * * *", per_org=False)


async def declare(place: Workplace, *types) -> dict[str, object]:
    async with place.db.system() as tx:
        await schedules.declare(
            tx,
            [
                DeclaredType(
                    kind.name, "test", kind.summary, kind.cron, kind.per_org, kind.priority,
                    kind.exclusive, kind.time_limit, kind.retry.failures,
                )
                for kind in types
            ],
        )  # fmt: skip
    return {kind.name: kind for kind in types}


async def settle(place: Workplace, *types) -> dict[str, object]:
    known = await declare(place, *types)
    async with place.db.system() as tx:
        await settle_schedules(tx, known)
    return known


async def schedule_of(place: Workplace, org, name: str = "daily") -> schedules.Schedule:
    async with place.db.system() as tx:
        (one,) = [s for s in await schedules.list_schedules(tx, name=name) if s.org_id == org]
    return one


async def set_next(place: Workplace, schedule_id: int, moment: datetime) -> None:
    async with place.db.system() as tx:
        await tx.execute(
            "UPDATE job_schedule SET next_at = $2 WHERE schedule_id = $1", schedule_id, moment
        )


async def fire(place: Workplace, known) -> int:
    async with place.db.system() as tx:
        return await queue_due(tx, known)


async def jobs_of(place: Workplace, schedule_id: int) -> list[jobs.Job]:
    async with place.db.system() as tx:
        return await jobs.list_jobs(tx, schedule_id=schedule_id)


def ago(**parts: int) -> datetime:
    return datetime.now(UTC) - timedelta(**parts)


async def test_each_organisation_has_a_schedule_in_its_own_zone(place):
    shanghai, berlin = await place.organisation(), await place.organisation("Europe/Berlin")
    await settle(place, DAILY, OURS)
    now = datetime.now(UTC)
    for org, zone in ((shanghai, "Asia/Shanghai"), (berlin, "Europe/Berlin")):
        one = await schedule_of(place, org)
        assert (one.zone, one.cron, one.own, one.paused) == (zone, "30 2 * * *", False, False)
        assert one.next_at == next_run("30 2 * * *", ZoneInfo(zone), now)
    assert (await schedule_of(place, None, "ours")).zone == "UTC"
    async with place.db.system() as tx:
        assert len(await schedules.list_schedules(tx)) == 3
        assert await settle_schedules(tx, ["daily", "ours"]) == 0  # all is as it should be
    async with place.db.tenant(berlin) as tx:
        assert [one.org_id for one in await schedules.list_schedules(tx)] == [berlin]


async def test_a_worker_runs_what_is_due(place, org):
    async with place.working(EVERY):
        await until(lambda: _has_schedule(place, org))
        one = await schedule_of(place, org, "every")
        await set_next(place, one.schedule_id, ago(seconds=1))
        await until(lambda: _succeeded(place, one.schedule_id))
    (job,) = await jobs_of(place, one.schedule_id)
    assert (job.org_id, job.name, job.args) == (org, "every", {})


async def _has_schedule(place, org):
    async with place.db.system() as tx:
        return any(one.org_id == org for one in await schedules.list_schedules(tx))


async def _succeeded(place, schedule_id):
    return any(job.state in ("succeeded", "dead") for job in await jobs_of(place, schedule_id))


async def test_missed_runs_are_made_up_for_once_by_the_latest(place, org):
    known = await settle(place, DAILY)
    one = await schedule_of(place, org)
    zone = ZoneInfo("Asia/Shanghai")
    missed = next_run("30 2 * * *", zone, ago(days=9))
    await set_next(place, one.schedule_id, missed)
    assert await fire(place, known) == 1
    assert await fire(place, known) == 0
    (job,) = await jobs_of(place, one.schedule_id)
    assert job.scheduled_for == next_run("30 2 * * *", zone, ago(days=1))
    after = await schedule_of(place, org)
    assert after.last_at == job.scheduled_for
    assert after.next_at == next_run("30 2 * * *", zone, datetime.now(UTC))


async def test_runs_of_a_schedule_dont_overlap(place, org):
    """What comes due while one is unfinished runs after it, once."""
    known = await settle(place, EVERY)
    one = await schedule_of(place, org, "every")
    await set_next(place, one.schedule_id, ago(minutes=5))
    assert await fire(place, known) == 1
    for minutes in (3, 2, 1):
        await set_next(place, one.schedule_id, ago(minutes=minutes))
        assert await fire(place, known) == 0
    (first,) = await jobs_of(place, one.schedule_id)
    async with place.db.system() as tx:
        with pytest.raises(Conflict, match=str(first.job_id)):
            await run_now(tx, one.schedule_id)
        await jobs.cancel(tx, first.job_id)
    assert await fire(place, known) == 1
    assert await fire(place, known) == 0
    second, _ = await jobs_of(place, one.schedule_id)
    assert second.scheduled_for > first.scheduled_for - timedelta(seconds=1)


async def test_many_schedulers_queue_a_time_once(place):
    orgs = [await place.organisation() for _ in range(5)]
    known = await settle(place, EVERY)
    for org in orgs:
        one = await schedule_of(place, org, "every")
        await set_next(place, one.schedule_id, ago(seconds=1))
    queued = await asyncio.gather(*(fire(place, known) for _ in range(8)))
    assert sum(queued) == 5
    assert await place.count("queued") == 5


async def test_a_paused_schedule_isnt_made_up_for(place, org):
    known = await settle(place, DAILY)
    one = await schedule_of(place, org)
    async with place.db.tenant(org) as tx:
        assert (await change_schedule(tx, one.schedule_id, paused=True)).paused
    await set_next(place, one.schedule_id, ago(days=2))
    assert await fire(place, known) == 0
    async with place.db.tenant(org) as tx:
        resumed = await change_schedule(tx, one.schedule_id, paused=False)
    assert resumed.next_at > datetime.now(UTC)
    assert await fire(place, known) == 0


async def test_an_organisation_chooses_its_own_time_and_gives_it_up_again(place, org):
    other = await place.organisation()
    await settle(place, DAILY)
    one = await schedule_of(place, org)
    async with place.db.tenant(org) as tx:
        changed = await change_schedule(tx, one.schedule_id, cron=" 15  5 * * 1")
    assert (changed.cron, changed.own) == ("15 5 * * 1", True)
    assert changed.next_at == next_run("15 5 * * 1", ZoneInfo("Asia/Shanghai"), datetime.now(UTC))
    earlier = job_type("daily", steps, cron="0 1 * * *")
    await settle(place, earlier)  # the next release declares another time
    assert (await schedule_of(place, org)).cron == "15 5 * * 1"
    assert (await schedule_of(place, other)).cron == "0 1 * * *"
    async with place.db.tenant(org) as tx:
        await reset_schedule(tx, one.schedule_id)
    await settle(place, earlier)
    mine = await schedule_of(place, org)
    assert (mine.schedule_id, mine.cron, mine.own) == (one.schedule_id, "0 1 * * *", False)
    assert mine.next_at == next_run("0 1 * * *", ZoneInfo("Asia/Shanghai"), datetime.now(UTC))


async def test_a_change_of_zone_moves_the_next_run(place, org):
    await settle(place, DAILY)
    async with place.db.system() as tx:
        await tx.execute("UPDATE organisation SET timezone = 'America/New_York'")
    await settle(place, DAILY)
    one = await schedule_of(place, org)
    assert one.zone == "America/New_York"
    assert one.next_at == next_run("30 2 * * *", ZoneInfo("America/New_York"), datetime.now(UTC))


async def test_a_zone_that_nobody_knows_holds_up_nobody(place, org):
    lost = await place.organisation("Mars/Olympus")
    known = await settle(place, EVERY)
    assert (await schedule_of(place, lost, "every")).next_at is None
    one = await schedule_of(place, org, "every")
    await set_next(place, one.schedule_id, ago(seconds=1))
    assert await fire(place, known) == 1


async def test_a_schedule_that_isnt_declared_any_more_goes(place, org):
    await settle(place, DAILY)
    await settle(place, job_type("daily", steps))
    async with place.db.system() as tx:
        assert await schedules.list_schedules(tx) == []


async def test_run_now_runs_beside_the_times(place, org):
    await settle(place, DAILY)
    one = await schedule_of(place, org)
    async with place.db.tenant(org) as tx:
        job = await jobs.get_job(tx, await run_now(tx, one.schedule_id))
    assert (job.org_id, job.scheduled_for, job.state) == (org, None, "queued")
    assert (await schedule_of(place, org)).next_at == one.next_at


async def test_schedules_of_others_are_out_of_reach(place, org):
    other = await place.organisation()
    await settle(place, DAILY)
    one = await schedule_of(place, other)
    async with place.db.tenant(org) as tx:
        for act in (
            change_schedule(tx, one.schedule_id, paused=True),
            run_now(tx, one.schedule_id),
            reset_schedule(tx, one.schedule_id),
        ):
            with pytest.raises(NotFound):
                await act
    async with place.db.tenant(other) as tx:
        with pytest.raises(InvalidInput, match="cron"):
            await change_schedule(tx, one.schedule_id, cron="0 25 * * *")
    assert await schedule_of(place, other) == one
