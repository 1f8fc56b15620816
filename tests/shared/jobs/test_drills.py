"""Workers killed, stopped and cut off: every step of every job has its effect exactly once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import EmbeddedStores
from tests.shared.jobs.worker_process import STEPS
from tests.shared.jobs.workplace import Workplace, until

_ROOT = Path(__file__).parents[3]


@dataclass
class Replicas:
    """Processes of workers by number; one that was killed is started again."""

    url: str
    running: dict[int, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.shared.jobs.worker_process", self.url,
            cwd=_ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self.running[number] = process

    async def kill(self, number: int) -> None:
        process = self.running.pop(number)
        process.kill()
        await process.wait()

    def signal(self, number: int, which: signal.Signals) -> None:
        os.kill(self.running[number].pid, which)


@asynccontextmanager
async def replicas(url: str, count: int = 2) -> AsyncIterator[Replicas]:
    them = Replicas(url)
    try:
        for number in range(count):
            await them.start(number)
        yield them
    finally:
        for number in list(them.running):
            await them.kill(number)


async def workers_at(place: Workplace, count: int = 2) -> None:
    """Wait until so many of them hold jobs."""

    async def there() -> bool:
        async with place.db.system() as tx:
            seen = await tx.fetchval(
                "SELECT count(DISTINCT worker) FROM job WHERE state = 'running'"
            )
        return seen >= count

    await until(there, 30)


async def once_each(place: Workplace, ids: list[int], steps: int) -> None:
    """Every job has succeeded, and every step of it has its effect exactly once."""
    effects = Counter(await place.effects())
    assert effects == {(job_id, step): 1 for job_id in ids for step in range(steps)}
    async with place.db.system() as tx:
        states = await tx.fetch("SELECT state, count(*) AS n FROM job GROUP BY state")
    assert {row["state"]: row["n"] for row in states} == {"succeeded": len(ids)}


async def drill(place: Workplace, org, *, kills: int, jobs: int, steps: int, seed: int) -> None:
    chance = random.Random(seed)
    ids = await place.put(STEPS, org, jobs, steps=steps, pause=0.1)
    async with replicas(place.url) as them:
        await workers_at(place)
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.1, 1.0))
            number = chance.choice(list(them.running))
            await them.kill(number)
            await them.start(number)
        await place.until_over(ids, 120)
    await once_each(place, ids, steps)
    async with place.db.system() as tx:
        fences = await tx.fetchval("SELECT count(DISTINCT fence) FROM effect")
    assert fences > len(ids)  # or nothing was interrupted, and the drill showed nothing


async def test_steps_are_done_once_whoever_is_killed(place, org):
    await drill(place, org, kills=3, jobs=12, steps=5, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 5])
async def test_steps_are_done_once_through_twenty_kills(place, org, seed):
    await drill(place, org, kills=20, jobs=60, steps=8, seed=seed)


@pytest.mark.slow
async def test_a_worker_that_stood_still_changes_nothing_when_it_goes_on(place, org):
    ids = await place.put(STEPS, org, 8, steps=8, pause=0.1)
    async with replicas(place.url) as them:
        await workers_at(place)
        them.signal(0, signal.SIGSTOP)
        stopped = time.monotonic()
        await place.until_over(ids, 60)
        assert time.monotonic() - stopped > 1.0  # its lease had to run out
        before = await place.effects()
        them.signal(0, signal.SIGCONT)
        await asyncio.sleep(1.0)
        assert await place.effects() == before
        more = await place.put(STEPS, org, 2, steps=1)  # and both work on
        await place.until_over(more, 30)
    effects = Counter(await place.effects())
    assert set(effects.values()) == {1}
    assert len(effects) == 8 * 8 + 2


@pytest.mark.slow
async def test_steps_are_done_once_though_postgresql_starts_again():
    with tempfile.TemporaryDirectory(prefix="looma-test-", ignore_cleanup_errors=True) as home:
        stores = EmbeddedStores(Path(home), which=frozenset({"postgres"}))
        url = (await stores.start()).database_url
        try:
            await Workplace.prepare(url)
            place = Workplace(Postgres(url, pool_size=8), url)
            org = await place.organisation()
            ids = await place.put(STEPS, org, 40, steps=8, pause=0.1)
            async with replicas(url):
                await workers_at(place)
                for _ in range(2):
                    await asyncio.sleep(1.5)
                    await stores.stop()
                    await asyncio.sleep(1.0)
                    await stores.start()
                await place.until_over(ids, 120)
            await once_each(place, ids, 8)
            async with place.db.system() as tx:
                assert not await tx.fetchval("SELECT sum(failures) FROM job")
            await place.db.close()
        finally:
            await stores.stop()


@pytest.mark.slow
async def test_ten_thousand_jobs_are_done_and_hold_up_nobody(place, org):
    ids = await place.put(STEPS, org, 10_000, steps=1)
    other = await place.organisation()
    begun = time.monotonic()
    waits = []
    async with replicas(place.url):
        await workers_at(place)
        for _ in range(20):
            (job_id,) = await place.put(STEPS, other, steps=0)
            job = await place.until_state(job_id, "succeeded", 30)
            waits.append((job.started_at - job.created_at).total_seconds())
        await until(lambda: _all_over(place), 1200)
    print(
        f"10,000 jobs in {time.monotonic() - begun:.0f} s; one of another waited {max(waits):.2f} s"
    )
    assert Counter(await place.effects()) == {(job_id, 0): 1 for job_id in ids}
    assert max(waits) < 2.0


async def _all_over(place: Workplace) -> bool:
    await asyncio.sleep(0.5)  # counting costs the database something
    async with place.db.system() as tx:
        return not await tx.fetchval("SELECT EXISTS (SELECT FROM job WHERE finished_at IS NULL)")
