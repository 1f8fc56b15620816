"""The fence: what a claim that is over can't do any more, and what holds others off meanwhile."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from shared.errors import InvalidInput, JobStopped, StoreUnavailable
from shared.jobs.context import JobContext
from shared.jobs.store import claiming, holding, jobs
from shared.jobs.store.claiming import Known
from shared.jobs.store.holding import Holding
from tests.shared.jobs.workplace import Workplace, add_effect, job_type, steps

KIND = job_type("steps", steps)
KNOWN = {"steps": Known("steps", exclusive=False, in_order=False, max_lost=3)}
LONG_S = 60.0


async def claim(
    place: Workplace, owner: UUID, lease_s: float = LONG_S, idle_s: float = LONG_S
) -> JobContext[None]:
    async with place.db.system() as tx:
        (one,) = await claiming.claim(tx, owner, ["steps"], KNOWN, "first", lease_s, 1)
    return JobContext(one, place.db, None, idle_s)


async def take_over(place: Workplace) -> list[JobContext[None]]:
    async with place.db.system() as tx:
        found = await claiming.take_over(tx, KNOWN.values(), "second", LONG_S, 9)
    return [JobContext(one, place.db, None, LONG_S) for one in found]


async def end(place: Workplace, context: JobContext[None]) -> str | None:
    async with place.db.system() as tx:
        return await holding.end(
            tx, context.job_id, context.number, LONG_S, "succeeded", done=0, total=None
        )


async def effect(place: Workplace, context: JobContext[None], step: int) -> None:
    async with place.db.system() as tx:
        await context.fence(tx)
        await add_effect(tx, context, step)


async def checkpoint(
    place: Workplace, context: JobContext[None], step: int, *, fail: bool = False
) -> None:
    async with place.db.system() as tx:
        await context.checkpoint(tx, {"step": step})
        await add_effect(tx, context, step)
        if fail:
            raise ZeroDivisionError


async def stand_still(place: Workplace, context: JobContext[None]) -> None:
    """Within an effect, until somebody else has the job."""
    async with place.db.system() as tx:
        await context.fence(tx)
        await add_effect(tx, context, 0)
        await asyncio.sleep(2.0)
        assert len(await take_over(place)) == 1
        await add_effect(tx, context, 1)


async def test_a_claim_that_was_taken_over_has_no_effect_any_more(place, org):
    await place.put(KIND, org)
    late = await claim(place, org, lease_s=0.0)
    await effect(place, late, 0)  # its lease is over, but nobody has its job yet
    (now,) = await take_over(place)
    assert now.job_id == late.job_id
    assert now.number > late.number
    with pytest.raises(JobStopped) as raised:
        await effect(place, late, 1)
    assert raised.value.reason == "lost"
    with pytest.raises(JobStopped):
        await checkpoint(place, late, 9)
    assert await end(place, late) is None
    assert (await place.job(now.job_id)).state == "running"
    await effect(place, now, 2)
    assert await end(place, now) == "succeeded"
    with pytest.raises(JobStopped):
        await effect(place, now, 3)
    assert await place.effects() == [(now.job_id, 0), (now.job_id, 2)]


async def test_nobody_takes_over_while_an_effect_is_under_way(place, org):
    await place.put(KIND, org)
    first = await claim(place, org, lease_s=0.0)
    async with place.db.system() as tx:
        await first.fence(tx)
        assert await take_over(place) == []
        await add_effect(tx, first, 0)
    assert len(await take_over(place)) == 1
    assert len(await place.effects()) == 1


async def test_an_effect_that_waited_for_a_takeover_is_refused(place, org):
    """The check must not go by what it saw before it waited."""
    await place.put(KIND, org)
    first = await claim(place, org, lease_s=0.0)
    async with place.db.system() as tx:
        assert len(await claiming.take_over(tx, KNOWN.values(), "second", LONG_S, 9)) == 1
        late = asyncio.create_task(effect(place, first, 0))
        await asyncio.sleep(0.3)
        assert not late.done()
    with pytest.raises(JobStopped):
        await late
    assert await place.effects() == []


async def test_the_fence_holds_while_leases_are_renewed_and_taken_over(place, org):
    """Rows change under the check in every order; what passes it must be the claim of the moment."""
    await place.put(KIND, org)
    claims = [await claim(place, org, lease_s=0.0)]
    passed = refused = 0
    ends = asyncio.get_running_loop().time() + 2.0

    def going_on() -> bool:
        return asyncio.get_running_loop().time() < ends

    async def take() -> None:
        while going_on():
            async with place.db.system() as tx:
                taken = await claiming.take_over(tx, KNOWN.values(), "next", 0.0, 1)
            claims.extend(JobContext(one, place.db, None, LONG_S) for one in taken)
            await asyncio.sleep(0.005)

    async def renew() -> None:
        while going_on():
            mine = Holding(claims[-1].job_id, claims[-1].number, due=True, done=0, total=None)
            async with place.db.system() as tx:
                await holding.renew(tx, [mine], 0.0)

    async def affect() -> None:
        nonlocal passed, refused
        while going_on():
            context = claims[-1]
            async with place.db.system() as tx:
                if await holding.hold(tx, context.job_id, context.number, LONG_S) == "lost":
                    refused += 1
                    continue
                passed += 1
                now = await tx.fetchval("SELECT fence FROM job WHERE job_id = $1", context.job_id)
                assert now == context.number

    await asyncio.gather(take(), take(), renew(), renew(), affect(), affect(), affect())
    assert passed > 5
    assert refused > 0
    assert len(claims) > 5


async def test_leases_are_renewed_whatever_an_effect_holds(place, org):
    await place.put(KIND, org)
    context = await claim(place, org, lease_s=0.0)
    mine = Holding(context.job_id, context.number, due=True, done=5, total=10)

    async def renew() -> dict[int, holding.Beat]:
        async with asyncio.timeout(2), place.db.system() as tx:
            return await holding.renew(tx, [mine], LONG_S)

    async with place.db.system() as tx:
        await context.fence(tx)
        assert await renew() == {context.job_id: holding.Beat(None, renewed=True)}
    async with place.db.system() as tx:  # a checkpoint locks the row: passed over, and not lost
        await context.checkpoint(tx, {"step": 1}, done=1)
        assert await renew() == {context.job_id: holding.Beat(None, renewed=False)}
    assert await take_over(place) == []
    await renew()
    assert (await place.job(context.job_id)).progress.done == 5


async def test_a_transaction_that_stands_still_loses_its_hold(place, org):
    """A process that was stopped within an effect must not keep its job for ever."""
    await place.put(KIND, org)
    first = await claim(place, org, lease_s=0.0, idle_s=0.3)
    with pytest.raises(StoreUnavailable):
        await stand_still(place, first)
    assert await place.effects() == []


async def test_a_checkpoint_is_kept_with_its_effect_or_not_at_all(place, org):
    await place.put(KIND, org)
    first = await claim(place, org, lease_s=0.0)
    with pytest.raises(ZeroDivisionError):
        await checkpoint(place, first, 1, fail=True)
    (second,) = await take_over(place)
    assert second.cursor is None
    async with place.db.tenant(org) as tx:  # the organisation's own transaction will do
        await second.checkpoint(tx, {"step": 1}, done=1, total=4)
        await add_effect(tx, second, 0)
    job = await place.job(second.job_id)
    assert (job.progress.done, job.progress.total, job.lost) == (1, 4, 0)
    assert len(await place.effects()) == 1


async def test_what_is_asked_of_a_job_stops_its_next_effect(place, org):
    await place.put(KIND, org, 2)
    for ask, reason in ((jobs.cancel, "cancelled"), (jobs.pause, "paused")):
        context = await claim(place, org)
        await effect(place, context, 0)
        async with place.db.tenant(org) as tx:
            await ask(tx, context.job_id)
        with pytest.raises(JobStopped) as raised:
            await effect(place, context, 1)
        assert raised.value.reason == reason == context.stopped
        with pytest.raises(JobStopped):
            context.stop_if_asked()
    assert [step for _, step in await place.effects()] == [0, 0]


async def test_what_is_resumed_before_it_has_stopped_goes_on(place, org):
    await place.put(KIND, org)
    context = await claim(place, org)
    async with place.db.tenant(org) as tx:
        await jobs.pause(tx, context.job_id)
        await jobs.resume(tx, context.job_id)
    async with place.db.system() as tx:  # its worker had seen the first only
        ended = await holding.end(
            tx, context.job_id, context.number, LONG_S, "paused", done=0, total=None
        )
    assert ended == "queued"


async def test_a_cursor_has_bounds(place, org):
    await place.put(KIND, org)
    context = await claim(place, org)
    async with place.db.system() as tx:
        with pytest.raises(InvalidInput, match="cursor"):
            await context.checkpoint(tx, {"text": "x" * (64 << 10)})
