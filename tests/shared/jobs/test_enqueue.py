"""Asking for jobs: in the caller's transaction, once per key, within bounds, under row security."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from uuid import uuid4

import pytest

from shared.errors import InvalidInput, NotFound, StoreError
from shared.jobs.enqueue import enqueue
from shared.jobs.store import jobs
from tests.shared.jobs.workplace import job_type, steps

KIND = job_type("steps", steps, priority=7)


async def test_a_job_comes_with_the_transaction_that_asks_for_it(place, org):
    with suppress(ZeroDivisionError):
        async with place.db.tenant(org) as tx:
            await enqueue(tx, KIND, {"steps": 1}, org_id=org)
            raise ZeroDivisionError
    async with place.db.tenant(org) as tx:
        assert await jobs.list_jobs(tx) == []
        added = await enqueue(tx, KIND, {"steps": 1}, org_id=org)
        assert added.created
        (job,) = await jobs.list_jobs(tx)
    assert (job.job_id, job.org_id, job.name, job.args) == (
        added.job_id,
        org,
        "steps",
        {"steps": 1},
    )
    assert (job.state, job.priority, job.progress.done) == ("queued", 7, 0)


async def test_there_is_one_unfinished_job_of_a_key(place, org):
    async def put(key: str | None, org_id=org):
        async with place.db.system() as tx:
            return await enqueue(tx, KIND, {}, org_id=org_id, key=key)

    first = await put("2024-W49")
    again = await put("2024-W49")
    assert (again.job_id, again.created) == (first.job_id, False)
    others = [await put("2024-W50"), await put(None), await put(None), await put("2024-W49", None)]
    assert all(one.created for one in others)
    async with place.db.system() as tx:
        await jobs.cancel(tx, first.job_id)
    assert (await put("2024-W49")).created  # that one has ended


async def test_many_at_once_make_one_job_of_a_key(place, org):
    async def put():
        async with place.db.tenant(org) as tx:
            return await enqueue(tx, KIND, {}, org_id=org, key="same")

    found = await asyncio.gather(*(put() for _ in range(8)))
    assert len({one.job_id for one in found}) == 1
    assert sum(one.created for one in found) == 1


async def test_organisations_see_and_touch_their_own_jobs_only(place, org):
    other = await place.organisation()
    (mine,) = await place.put(KIND, org)
    (theirs,) = await place.put(KIND, other)
    (nobodys,) = await place.put(KIND, None)
    async with place.db.tenant(org) as tx:
        assert [job.job_id for job in await jobs.list_jobs(tx)] == [mine]
        for hidden in (theirs, nobodys):
            with pytest.raises(NotFound):
                await jobs.get_job(tx, hidden)
            with pytest.raises(NotFound):
                await jobs.cancel(tx, hidden)
    for wrong in (other, None):
        with pytest.raises(StoreError):
            async with place.db.tenant(org) as tx:
                await enqueue(tx, KIND, {}, org_id=wrong)
    assert {(await place.job(one)).state for one in (theirs, nobodys)} == {"queued"}


async def test_a_name_will_do_if_a_service_has_declared_it(place, org):
    async with place.db.tenant(org) as tx:
        with pytest.raises(NotFound, match="'steps'"):
            await enqueue(tx, "steps", {"steps": 0}, org_id=org)
    async with place.working(KIND):
        async with place.db.tenant(org) as tx:
            added = await enqueue(tx, "steps", {"steps": 0}, org_id=org)
        assert (await place.until_state(added.job_id, "succeeded")).priority == 7


async def test_a_delayed_job_waits(place, org):
    async with place.db.system() as tx:
        later = await enqueue(tx, KIND, {"steps": 0}, org_id=org, delay_s=0.6)
        never = await enqueue(tx, KIND, {"steps": 0}, org_id=org, delay_s=3600)
    async with place.working(KIND):
        assert (await place.job(later.job_id)).state == "waiting"
        job = await place.until_state(later.job_id, "succeeded")
    assert job.started_at - job.created_at >= timedelta(seconds=0.6)
    assert (await place.job(never.job_id)).state == "waiting"


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ({"text": "x" * (16 << 10)}, "bytes as JSON"),
        ({"a": object()}, "can't be written as JSON"),
        ({"a": 2**70}, "can't be written as JSON"),
        ({"a": "\ud800"}, "can't be written as JSON"),
        ({"a": {"b": ["\0"]}}, "U+0000"),
        ({"\0": 1}, "U+0000"),
        ([], "no JSON object"),
    ],
)
async def test_arguments_that_cant_be_kept_are_refused(place, org, args, problem):
    async with place.db.tenant(org) as tx:
        with pytest.raises(InvalidInput) as raised:
            await enqueue(tx, KIND, args, org_id=org)
        assert await jobs.list_jobs(tx) == []
    assert raised.value.details[0].field == "args"
    assert problem in raised.value.details[0].problem


@pytest.mark.parametrize(
    "wrong",
    [{"key": ""}, {"key": "x" * 201}, {"key": "\0"}, {"delay_s": -1}, {"delay_s": float("nan")}],
)
async def test_keys_and_delays_have_bounds(place, wrong):
    async with place.db.tenant(uuid4()) as tx:
        with pytest.raises(InvalidInput):
            await enqueue(tx, KIND, {}, org_id=None, **wrong)
