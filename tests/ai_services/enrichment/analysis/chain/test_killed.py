"""Processes killed while they ask models: no call is lost, and what is paid for twice is in the ledger."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

import pytest

from shared.config import process_environment
from tests.ai_services.enrichment.analysis.chain.bench import COMPLAINS, Bench, spoken

ROOT = Path(__file__).parents[5]
WORKER = "tests.ai_services.enrichment.analysis.chain.worker"
PER_REQUEST = 10


async def worker(bench: Bench) -> asyncio.subprocess.Process:
    settings = {**bench.settings, "ANALYSIS_BATCH": str(PER_REQUEST)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", WORKER, str(bench.org_id),
        cwd=ROOT, env=process_environment(**settings), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    return process


async def killed(bench: Bench, kills: int, replicas: int) -> None:
    """Kill one of the processes at a random moment, so many times, then let one finish."""
    calls = 60 * (kills + 2)
    await bench.bring(*(spoken(f"c-{n:04d}", f"第{n}位客户：{COMPLAINS}") for n in range(calls)))
    await bench.first_look()
    bench.behave(delay_s=0.05, jitter_s=0.1)
    running = [await worker(bench) for _ in range(replicas)]
    for _ in range(kills):
        most = bench.asked + random.randint(1, 6)
        async with asyncio.timeout(60):
            while bench.asked < most and running[0].returncode is None:  # noqa: ASYNC110 - another process asks
                await asyncio.sleep(0.002)
        await asyncio.sleep(random.uniform(0, 0.1))
        if running[0].returncode is None:
            running[0].kill()
        await running.pop(0).wait()
        running.append(await worker(bench))
    for one in running:
        if one.returncode is None:
            one.kill()
        await one.wait()
    async with bench.db.system() as tx:
        await tx.execute("UPDATE analysis_claim SET lease_until = clock_timestamp()")
    await bench.reopened(ANALYSIS_BATCH=str(PER_REQUEST))
    await bench.by_models()

    found = await bench.calls()
    assert len(found) == calls
    assert all(one["analyzer"].startswith("llm:") for one in found.values())
    assert not any(one["waits"] for one in found.values())
    assert await bench.count("analysis_request") == 0
    assert await bench.count("analysis_cache") == calls

    rows = {str(row["attempt_id"]): row for row in await bench.ledger()}
    assert {bill.attempt for bill in bench.judge.bills} <= rows.keys()
    outcomes = Counter(row["outcome"] for row in rows.values())
    assert outcomes.keys() <= {"ok", "cancelled", "unknown"}
    # One answer for each request: what was asked again had brought none, and stands in the ledger.
    assert outcomes["ok"] == len({request_of(body) for body in bench.judge.bodies})
    assert outcomes["ok"] <= calls // PER_REQUEST + kills * replicas * 2


def request_of(body: dict[str, object]) -> str:
    return str(body["messages"])


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 2])
async def test_a_killed_process_loses_no_call_and_pays_for_none_twice(
    bench: Bench, replicas: int
) -> None:
    await killed(bench, 2, replicas)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
async def test_twenty_kills_lose_no_call_and_pay_for_none_twice(
    bench: Bench, replicas: int
) -> None:
    await killed(bench, 20, replicas)
