"""Jobs that are done in the order in which they were asked for, whatever holds one of them up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.errors import NotFound
from shared.jobs.backoff import Retry
from shared.jobs.enqueue import enqueue
from shared.jobs.job_type import JobType
from shared.jobs.store import jobs
from tests.shared.jobs.test_worker import effect
from tests.shared.jobs.workplace import Workplace, job_type, until


async def _ask(place: Workplace, kind: JobType[Any], org: UUID, *steps: int) -> list[int]:
    async with place.db.system() as tx:
        return [
            (await enqueue(tx, kind, {"step": one}, org_id=org, key=f"k-{one}")).job_id
            for one in steps
        ]


async def _order(place: Workplace) -> list[int]:
    async with place.db.system() as tx:
        return [row["step"] for row in await tx.fetch("SELECT step FROM effect ORDER BY fence")]


async def test_one_that_failed_and_waits_is_not_overtaken(place, org) -> None:
    async def fails_at_first(context, args):
        if args["step"] == 0 and context.failures < 2:
            raise NotFound("Not yet.")
        await effect(context, args)

    slowly = Retry(failures=5, first_s=0.3, longest_s=0.3)
    kind = job_type("ordered", fails_at_first, exclusive=True, in_order=True, retry=slowly)
    ids = await _ask(place, kind, org, 0, 1, 2)
    async with place.working(kind), place.working(kind):
        await place.until_over(ids)
    assert await _order(place) == [0, 1, 2]


async def test_one_that_is_paused_holds_up_those_behind_it_and_nobody_else(place, org) -> None:
    kind = job_type("ordered", effect, exclusive=True, in_order=True)
    first, second = await _ask(place, kind, org, 0, 1)
    other = await place.organisation()
    (theirs,) = await _ask(place, kind, other, 7)
    async with place.db.system() as tx:
        await jobs.pause(tx, first)
    async with place.working(kind):
        await place.until_over([theirs])
        assert (await place.job(second)).state == "queued"
        async with place.db.system() as tx:
            await jobs.resume(tx, first)
        await place.until_over([first, second])
    assert await _order(place) == [7, 0, 1]


async def test_one_that_was_lost_is_taken_up_again_before_those_behind_it(place, org) -> None:
    kind = job_type("ordered", effect, exclusive=True, in_order=True)
    first, second = await _ask(place, kind, org, 0, 1)
    async with place.db.system() as tx:  # a worker that is gone, whose lease holds for a while
        await tx.execute(
            """UPDATE job SET state = 'running', fence = 1, worker = 'gone',
                   lease_until = clock_timestamp() + interval '0.5 s', renewed_at = clock_timestamp()
               WHERE job_id = $1""",
            first,
        )
    async with place.working(kind):
        await place.until_over([first, second])
    assert await _order(place) == [0, 1]


async def test_without_an_order_what_waits_is_overtaken(place, org) -> None:
    kind = job_type("unordered", effect, exclusive=True)
    first, second = await _ask(place, kind, org, 0, 1)
    async with place.db.system() as tx:
        await jobs.pause(tx, first)

    async def done() -> bool:
        return (await place.job(second)).state == "succeeded"

    async with place.working(kind):
        await until(done)
    assert await _order(place) == [1]
