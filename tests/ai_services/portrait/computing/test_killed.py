"""A portrait process that is killed at its work: another one goes on with it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ai_services.portrait.computing.jobs import ask
from tests.ai_services.portrait.calls import assert_law
from tests.ai_services.portrait.computing.test_computation import waiting_for
from tests.ai_services.portrait.computing.test_jobs import (
    EVERYTHING,
    QUARTERS,
    organisation,
    snapshot_held,
)
from tests.shared.jobs.workplace import Workplace

ROOT = Path(__file__).parents[4]


@asynccontextmanager
async def served(settings: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ai_services.portrait", env={**os.environ, **settings}, cwd=ROOT,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow
async def test_what_a_killed_process_had_begun_is_finished_by_another(
    place: Workplace, redis_url: str, free_port: int, tmp_path: Path
) -> None:
    """After its lease of 30 s: nothing is lost, and nothing written twice."""
    settings = {
        "LOOMA_HOME": str(tmp_path), "DATABASE_URL": place.url, "REDIS_URL": redis_url,
        "INTERNAL_TOKEN_SECRET": "s" * 64, "PORTRAIT_PORT": str(free_port),
    }  # fmt: skip
    owner = await organisation(place)
    await owner.write(*QUARTERS)
    job_id = await ask(owner.db, owner.org_id, EVERYTHING)
    third = f"2024-W{QUARTERS[2].started_at.isocalendar().week}"
    async with (
        snapshot_held(owner, place.url, third) as admin,
        served(settings) as process,
    ):
        await waiting_for(admin, "transactionid")
        process.kill()
        await process.wait()
    left = await place.job(job_id)
    assert (left.state, left.progress.done) == ("running", 20)
    async with served(settings):
        job = await place.until_state(job_id, "succeeded", 90)
    assert (job.failures, job.progress.done) == (0, job.progress.total)
    await assert_law(owner, QUARTERS)
    weeks = (job.result or {})["computed"][0]
    assert (weeks["periods"], weeks["changed"], weeks["removed"]) == (40, 4, 0)
