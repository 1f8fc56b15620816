"""Jobs that compute portraits: what each computes, beside others, and when their worker ends."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_services.portrait.computing.computation import compute
from ai_services.portrait.computing.jobs import COMPUTE, JOBS, ask
from ai_services.portrait.computing.request import Requested, requested
from ai_services.portrait.counting import store as counting
from ai_services.portrait.period import PERIOD_TYPES
from ai_services.portrait.periods import period_store
from shared.errors import InvalidInput, JobStopped, NotFound
from shared.jobs.context import JobContext
from shared.jobs.store import claiming, jobs, queue, schedules
from shared.jobs.store.claiming import Known
from tests.ai_services.portrait.calls import Call, Organisation, assert_law, at
from tests.ai_services.portrait.computing.test_computation import waiting_for
from tests.ai_services.portrait.computing.test_snapshot_law import BORDERS, ZONES
from tests.shared.jobs.workplace import Workplace, job_type, running, until

EVERYTHING = requested("all", None, None, None)
WEEKS = requested("week", None, None, None)
# A call in the middle of each quarter of 2024.
QUARTERS = [
    Call(f"c{month}", "u1", at(f"2024-{month:02}-14 10:00"), duration_ms=1000 * month, rounds=month)
    for month in (2, 5, 8, 11)
]


async def organisation(place: Workplace, zone: str = "Asia/Shanghai") -> Organisation:
    return Organisation(place.db, await place.organisation(zone), zone, logged=False)


async def asked(owner: Organisation, wanted: Requested = EVERYTHING) -> int:
    return await ask(owner.db, owner.org_id, wanted)


async def scheduled(owner: Organisation, name: str, moment: datetime) -> int:
    """The id of a job that runs for this time of its schedule."""
    async with owner.db.system() as tx:
        added = await queue.add(
            tx, org_id=owner.org_id, name=name, args={}, priority=0, exclusive=True,
            scheduled_for=moment,
        )  # fmt: skip
    return added.job_id


async def test_a_job_computes_what_was_asked_for_and_tells_what_it_did(place: Workplace) -> None:
    owner = await organisation(place)
    await owner.write(*QUARTERS)
    job_id = await asked(owner)
    async with place.working(*JOBS):
        job = await place.until_state(job_id, "succeeded")
    await assert_law(owner, QUARTERS)
    assert job.result is not None
    told = {one["period_type"]: one for one in job.result["computed"]}
    assert [*told] == ["week", "month", "quarter"]
    months = told["month"]
    assert (months["periods"], months["first"], months["last"]) == (10, "2024-02", "2024-11")
    assert (months["snapshots"], months["changed"], months["removed"]) == (4, 4, 0)
    periods = sum(one["periods"] for one in told.values())
    assert (job.progress.done, job.progress.total, job.failures) == (periods, periods, 0)


@pytest.mark.parametrize(
    ("name", "period_type", "moment", "zone", "key"),
    [
        ("compute_week_snapshot", "week", "2024-12-09 06:30", "Asia/Shanghai", "2024-W49"),
        ("compute_week_snapshot", "week", "2024-12-30 06:30", "Pacific/Kiritimati", "2024-W52"),
        ("compute_week_snapshot", "week", "2021-01-04 06:30", "Pacific/Pago_Pago", "2020-W53"),
        ("compute_week_snapshot", "week", "2024-03-31 23:30", "Europe/Berlin", "2024-W12"),
        ("compute_month_snapshot", "month", "2024-03-01 07:00", "America/New_York", "2024-02"),
        ("compute_month_snapshot", "month", "2025-01-01 07:00", "Asia/Kolkata", "2024-12"),
        ("compute_quarter_snapshot", "quarter", "2025-01-01 08:00", "Asia/Shanghai", "2024-Q4"),
        ("compute_quarter_snapshot", "quarter", "2024-04-01 08:00", "UTC", "2024-Q1"),
    ],
)
async def test_a_schedule_computes_the_period_that_was_last_at_its_time(
    place: Workplace, name: str, period_type: str, moment: str, zone: str, key: str
) -> None:
    """However long ago that is: what was missed is made up for."""
    owner = await organisation(place, zone)
    await owner.write(
        *(replace(call, started_at=at("2024-12-04 10:00", zone)) for call in QUARTERS)
    )
    async with place.working(*JOBS):
        await place.until_state(await scheduled(owner, name, at(moment, zone)), "succeeded")
    assert await owner.statuses(period_type) == {key: "completed"}
    others = {"week", "month", "quarter"} - {period_type}
    assert [await owner.statuses(other) for other in others] == [{}, {}]


@given(
    zone=st.sampled_from(ZONES),
    border=st.sampled_from(BORDERS),
    hours=st.integers(-40, 40),
    us=st.integers(-1, 1),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def day_is_the_organisations(
    place: Workplace,
    loop: asyncio.AbstractEventLoop,
    zone: str,
    border: datetime,
    hours: int,
    us: int,
) -> None:
    moment = datetime.fromtimestamp(border.timestamp() + 3600 * hours, UTC)
    moment = moment.replace(microsecond=us % 1_000_000)

    async def found() -> date | None:
        org_id = await place.organisation(zone)
        async with place.db.tenant(org_id) as tx:
            return await period_store.local_today(tx, org_id, moment)

    day = asyncio.run_coroutine_threadsafe(found(), loop).result()
    assert day == moment.astimezone(ZoneInfo(zone)).date()


async def test_which_day_it_is_goes_by_the_organisations_clock(place: Workplace) -> None:
    """On the days as well on which clocks change."""
    await asyncio.to_thread(day_is_the_organisations, place, asyncio.get_running_loop())


async def test_every_organisation_gets_the_schedules_in_its_time_zone(place: Workplace) -> None:
    owner = await organisation(place, "Europe/Berlin")
    async with place.working(*JOBS):

        async def found() -> list[schedules.Schedule]:
            async with place.db.tenant(owner.org_id) as tx:
                return await schedules.list_schedules(tx)

        async def all_there() -> bool:
            return len(await found()) == 4

        await until(all_there)
        local = {
            one.name: (
                one.cron,
                one.next_at.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M"),
            )
            for one in await found()
            if one.next_at is not None
        }
    assert local == {
        "check_period_complete": ("0 6 * * *", "06:00"),
        "compute_week_snapshot": ("30 6 * * 1", "06:30"),
        "compute_month_snapshot": ("0 7 1 * *", "07:00"),
        "compute_quarter_snapshot": ("0 8 1 1,4,7,10 *", "08:00"),
    }


# When a worker ends, and beside others.


@asynccontextmanager
async def snapshot_held(
    owner: Organisation, url: str, key: str
) -> AsyncIterator[asyncpg.Connection]:
    """Whoever writes the snapshot of u1 in that week waits for the end of the block."""
    connection = await asyncpg.connect(url)
    try:
        columns = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'user_portrait_snapshot'::regclass "
            "AND attnum > 0 AND attnotnull AND NOT atthasdef"
        )
        named: dict[str, Any] = {
            "org_id": owner.org_id, "user_id": "u1", "period_type": "week", "period_key": key,
            "period_start": date(2024, 1, 1), "period_end": date(2024, 1, 7),
            "fail_reason_dist": "{}",
        }  # fmt: skip
        values = {row["attname"]: named.get(row["attname"], 0) for row in columns}
        places = ", ".join(f"${number + 1}" for number in range(len(values)))
        await connection.execute(
            f"INSERT INTO user_portrait_snapshot ({', '.join(values)}) VALUES ({places})",
            *values.values(),
        )
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "SELECT FROM user_portrait_snapshot WHERE user_id = 'u1' AND period_key = $1 FOR UPDATE",
            key,
        )
        yield connection
        await transaction.rollback()
    finally:
        await connection.close()


async def test_a_job_whose_worker_ends_goes_on_elsewhere_where_it_was(place: Workplace) -> None:
    owner = await organisation(place)
    await owner.write(*QUARTERS)
    job_id = await asked(owner, WEEKS)
    third = f"2024-W{QUARTERS[2].started_at.isocalendar().week}"
    async with snapshot_held(owner, place.url, third) as admin, running(place.worker(*JOBS)):
        await waiting_for(admin, "transactionid")
    left = await place.job(job_id)
    assert (left.state, left.failures) == ("queued", 0)
    weeks = await owner.statuses("week")
    assert Counter(weeks.values()) == {"completed": left.progress.done, "computing": 20}
    # What was done isn't done anew: only the later quarters see that calls are gone.
    await owner.delete(QUARTERS[0].callid, QUARTERS[3].callid)
    async with place.working(*JOBS):
        job = await place.until_state(job_id, "succeeded")
    assert job.result is not None
    (told,) = job.result["computed"]
    assert (told["periods"], told["first"], told["last"]) == (len(weeks), "2024-W07", "2024-W46")
    assert (told["changed"], told["removed"]) == (3, 0)
    kept = {key for _, key, _ in await owner.stored()}
    assert len(kept) == 3
    assert "2024-W46" not in kept
    assert set((await owner.statuses("week")).values()) == {"completed"}
    announced = Counter(key for key, _ in await owner.events())
    assert announced == dict.fromkeys(kept, 1)
    await compute(owner.db, owner.org_id)
    await assert_law(owner, QUARTERS[1:3])


async def test_a_job_that_another_worker_has_by_now_changes_nothing(place: Workplace) -> None:
    owner = await organisation(place)
    await owner.write(*QUARTERS)
    await asked(owner)
    known = {COMPUTE.name: Known(COMPUTE.name, exclusive=True, in_order=False, max_lost=10)}
    async with place.db.system() as tx:
        (claim,) = await claiming.claim(tx, owner.org_id, [*known], known, "late", 0.0, 1)
        assert len(await claiming.take_over(tx, known.values(), "now", 60.0, 1)) == 1
    with pytest.raises(JobStopped):
        await COMPUTE.handler(JobContext(claim, place.db, None, 60.0), claim.args)
    assert await owner.statuses("week") == {}
    assert await owner.stored() == {}


async def test_two_workers_compute_everybodys_portraits_once(place: Workplace) -> None:
    owners = [await organisation(place) for _ in range(5)]
    for owner in owners:
        await owner.write(*QUARTERS)
    ids = [await asked(owner) for owner in owners]
    ids += [await asked(owner, WEEKS) for owner in owners]
    async with running(place.worker(*JOBS)), running(place.worker(*JOBS)):
        await place.until_over(ids)
    assert {(await place.job(job_id)).state for job_id in ids} == {"succeeded"}
    for owner in owners:
        await assert_law(owner, QUARTERS)
        assert max(Counter(key for key, _ in await owner.events()).values()) == 1


async def test_a_job_waits_while_somebody_else_computes_and_does_not_fail(place: Workplace) -> None:
    owner = await organisation(place)
    await owner.write(*QUARTERS)
    job_id = await asked(owner, WEEKS)
    admin = await asyncpg.connect(place.url)
    async with place.working(*JOBS):
        async with owner.db.tenant(owner.org_id) as tx:
            await counting.await_turn(tx, owner.org_id)
            await waiting_for(admin, "advisory")
        job = await place.until_state(job_id, "succeeded")
    await admin.close()
    assert job.failures == 0


async def test_the_jobs_of_an_organisation_are_nobody_elses(place: Workplace) -> None:
    owner, other = await organisation(place), await organisation(place)
    await owner.write(*QUARTERS)
    await other.write(*QUARTERS)
    job_id = await asked(owner)
    async with place.working(*JOBS):
        await place.until_state(job_id, "succeeded")
    assert await other.stored() == {}
    assert await other.statuses("week") == {}
    async with place.db.tenant(other.org_id) as tx:
        with pytest.raises(NotFound):
            await jobs.get_job(tx, job_id)


# Asking.


async def test_who_asks_again_gets_the_same_job_until_it_is_done(place: Workplace) -> None:
    owner, other = await organisation(place), await organisation(place)
    await owner.write(*QUARTERS)
    first = await asked(owner, WEEKS)
    assert await asked(owner, WEEKS) == first
    assert await asked(owner) != first
    assert await asked(other, WEEKS) != first
    week = f"2024-W{QUARTERS[2].started_at.isocalendar().week}"
    async with snapshot_held(owner, place.url, week) as admin, running(place.worker(*JOBS)):
        await waiting_for(admin, "transactionid")
        assert await asked(owner, WEEKS) == first
        await admin.execute("ROLLBACK")
        await place.until_over([first])
        assert await asked(owner, WEEKS) != first


async def test_what_is_too_much_is_refused_before_there_is_a_job(place: Workplace) -> None:
    owner = await organisation(place)
    with pytest.raises(InvalidInput) as caught:
        await asked(owner, Requested(("week",), date(1700, 1, 1), date(2024, 1, 1)))
    assert caught.value.details[0].field == "from"
    assert await place.count("queued") == 0


# The daily check.


async def checked(place: Workplace, owner: Organisation) -> dict[str, Any]:
    """What a check finds, once all that it asked for is computed."""
    job_id = await scheduled(owner, "check_period_complete", datetime.now(UTC))
    job = await place.until_state(job_id, "succeeded")
    found = dict(job.result or {})
    await place.until_over(found["jobs"])
    return found


async def test_a_check_closes_what_is_right_and_has_computed_what_is_not(place: Workplace) -> None:
    owner, dormant = await organisation(place), await organisation(place)
    await owner.write(*QUARTERS)
    async with place.working(*JOBS):
        found = await checked(place, owner)
        assert (found["week"], found["month"], found["quarter"]) == (4, 4, 4)
        await assert_law(owner, QUARTERS)
        nothing = {"week": 0, "month": 0, "quarter": 0, "jobs": []}
        assert await checked(place, owner) == nothing
        assert await checked(place, dormant) == nothing
    for period_type in PERIOD_TYPES:
        assert set((await owner.statuses(period_type)).values()) == {"completed"}


async def test_what_is_counted_is_closed_unless_calls_are_coming_in(place: Workplace) -> None:
    owner = replace(await organisation(place), logged=True)
    await owner.write(*QUARTERS)
    through = asyncio.Event()

    async def bring(_job: JobContext[Any], _args: Any) -> None:
        await through.wait()

    sync = job_type("sync_call_records", bring)
    async with place.working(*JOBS, sync):
        job_id = await scheduled(owner, sync.name, datetime.now(UTC))
        await place.until_state(job_id, "running")
        assert (await checked(place, owner))["jobs"] == []
        assert set((await owner.statuses("quarter")).values()) == {"pending"}
        through.set()
        await place.until_state(job_id, "succeeded")
        await checked(place, owner)
        assert set((await owner.statuses("quarter")).values()) == {"completed"}
    await assert_law(owner, QUARTERS)


async def test_a_check_finds_calls_that_nobody_counted(place: Workplace) -> None:
    owner = await organisation(place)
    await owner.write(*QUARTERS)
    async with place.working(*JOBS):
        await checked(place, owner)
        moved = replace(QUARTERS[1], started_at=QUARTERS[2].started_at)
        await owner.write(moved)
        await owner.delete(QUARTERS[0].callid)
        found = await checked(place, owner)
    assert (found["week"], found["month"], found["quarter"]) == (3, 3, 3)
    await assert_law(owner, [moved, *QUARTERS[2:]])


async def test_two_checks_ask_for_the_same_once(place: Workplace) -> None:
    owner = await organisation(place)
    await owner.write(*QUARTERS)
    check = next(kind for kind in JOBS if kind.name == "check_period_complete")
    async with place.working(check):  # nobody computes
        ids = []
        for _ in range(2):
            job_id = await scheduled(owner, check.name, datetime.now(UTC))
            job = await place.until_state(job_id, "succeeded")
            ids.append((job.result or {})["jobs"])
    assert ids[0] == ids[1]
    assert await place.count("queued") == len(ids[0]) == 4 + 4 + 1  # quarters follow one another
