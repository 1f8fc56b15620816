"""Rebuilding projections as jobs: whole, one at a time, and begun anew by whoever takes it over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from shared.data_access.outbox.relay import OutboxEvent, OutboxRelay
from shared.jobs.job_type import JobType
from shared.jobs.rebuilding import rebuild_jobs, rebuild_name
from shared.services import SERVICES, Projection
from tests.shared.jobs.workplace import Workplace, running, until

PAGES = 4


class Shelf:
    """A projection of four pages, which stops before the page at which it is told to."""

    name = "vectors"

    def __init__(self) -> None:
        self.held: dict[UUID, list[int]] = {}
        self.cleared: list[UUID] = []
        self.at_work = 0
        self.stop_at: int | None = None
        self.go_on = asyncio.Event()

    async def apply(self, org_id: UUID, events: Sequence[OutboxEvent]) -> None:
        raise AssertionError("nobody tells it anything")

    async def rebuild(self, org_id: UUID, progress: Callable[[int, int], None]) -> int:
        self.at_work += 1
        try:
            assert self.at_work == 1, "two rebuild at once"
            self.cleared.append(org_id)
            held = self.held[org_id] = []
            for page in range(PAGES):
                if page == self.stop_at:
                    await self.go_on.wait()
                held.append(page)
                progress(len(held), PAGES)
            return len(held)
        finally:
            self.at_work -= 1


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def types(place: Workplace, shelf: Shelf) -> tuple[JobType[Any], ...]:
    return rebuild_jobs(
        OutboxRelay(place.db, [shelf]), [Projection("vectors", ("portraits",), "vectors")]
    )


def test_every_projection_has_a_name_of_its_own_for_its_job() -> None:
    projections = [one for service in SERVICES for one in service.projections if one.rebuilt]
    names = [rebuild_name(one.name) for one in projections]
    assert names == ["rebuild_search", "rebuild_graph", "rebuild_vectors"]
    assert len(set(names)) == len(names)


async def test_a_rebuild_tells_how_far_it_is_and_what_it_wrote(place, org, shelf):
    (kind,) = types(place, shelf)
    (job_id,) = await place.put(kind, org)
    async with place.working(kind):
        job = await place.until_state(job_id, "succeeded")
    assert (job.result, job.progress.done, job.progress.total) == ({"written": 4}, 4, 4)
    assert shelf.held == {org: [0, 1, 2, 3]}


async def test_a_rebuild_whose_worker_ended_is_begun_anew(place, org, shelf):
    (kind,) = types(place, shelf)
    (job_id,) = await place.put(kind, org)
    shelf.stop_at = 2
    async with running(place.worker(kind)):
        await until(lambda: true(shelf.held.get(org) == [0, 1]))
    assert (await place.job(job_id)).state == "queued"
    shelf.stop_at = None
    async with place.working(kind):
        job = await place.until_state(job_id, "succeeded")
    assert (job.result, job.failures) == ({"written": 4}, 0)
    assert shelf.held == {org: [0, 1, 2, 3]}
    assert shelf.cleared == [org, org]


async def test_one_organisation_rebuilds_once_at_a_time(place, org, shelf):
    (kind,) = types(place, shelf)
    ids = await place.put(kind, org, 3)
    async with running(place.worker(kind)), running(place.worker(kind)):
        await place.until_over(ids)
    assert {(await place.job(job_id)).state for job_id in ids} == {"succeeded"}
    assert shelf.cleared == [org, org, org]


async def test_a_job_waits_for_a_rebuild_by_hand_and_does_not_fail(place, org, shelf):
    (kind,) = types(place, shelf)
    (job_id,) = await place.put(kind, org)
    shelf.stop_at = 1
    by_hand = asyncio.create_task(
        OutboxRelay(place.db, [shelf]).rebuild("vectors", org, lambda _done, _total: None)
    )
    await until(lambda: true(shelf.at_work == 1))
    async with place.working(kind):
        await place.until_state(job_id, "running")
        shelf.stop_at = None
        shelf.go_on.set()
        job = await place.until_state(job_id, "succeeded")
    assert await by_hand == 4
    assert job.failures == 0
    assert shelf.cleared == [org, org]


async def true(found: bool) -> bool:
    return found
