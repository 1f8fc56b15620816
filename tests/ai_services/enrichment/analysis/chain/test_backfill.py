"""A backlog is judged by batches, for less, and never twice."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.model_batches import BatchBehaviour
from shared.config import process_environment
from tests.ai_services.enrichment.analysis.chain.bench import COMPLAINS, Bench, spoken

ROOT = Path(__file__).parents[5]
WORKER = "tests.ai_services.enrichment.analysis.chain.worker"


def many(count: int) -> list[dict[str, Any]]:
    return [spoken(f"c-{n:03d}", f"第{n}号客户说：{COMPLAINS}") for n in range(count)]


async def backlog(bench: Bench, calls: int, **settings: str) -> None:
    await bench.reopened(ANALYSIS_BACKFILL_FROM="10", **settings)
    await bench.bring(*many(calls))
    await bench.first_look()


async def judged(bench: Bench) -> dict[str, Any]:
    """The calls once none of them waits."""
    async with asyncio.timeout(60):
        while True:
            async with bench.db.tenant(bench.org_id) as tx:
                await tx.execute("UPDATE analysis_backfill SET held_until = now()")
            await bench.by_models()
            found = await bench.calls()
            if not any(one["waits"] for one in found.values()):
                return found
            await asyncio.sleep(0.05)


async def under_way(bench: Bench) -> None:
    """One pass, while the provider has the batch."""
    bench.judge.batches.behaviour = BatchBehaviour(status="in_progress")
    await bench.by_models()
    assert await bench.count("analysis_backfill") == 1


async def test_a_backlog_is_judged_by_a_batch_for_half_the_price(bench: Bench) -> None:
    await backlog(bench, 40)
    found = await judged(bench)
    assert {one["analyzer"].split(":")[0] for one in found.values()} == {"llm"}
    assert found["c-007"]["evidence"] == [{"turn": 1, "text": f"第7号客户说：{COMPLAINS}"}]
    rows = await bench.ledger()
    assert len(rows) == bench.asked == 3
    assert {row["price_version"] for row in rows} == {"2025-01-01 batch"}
    assert {row["purpose"] for row in rows} == {"analysis"}
    assert await bench.count("analysis_backfill") == await bench.count("llm_file") == 0


async def test_fewer_are_asked_about_at_once(bench: Bench) -> None:
    await backlog(bench, 9)
    assert (await bench.by_models()).saved == 9
    assert {row["price_version"] for row in await bench.ledger()} == {"2025-01-01"}


async def test_calls_of_a_batch_are_asked_about_by_nobody_else(bench: Bench) -> None:
    await backlog(bench, 12)
    await under_way(bench)
    await bench.bring(spoken("new", COMPLAINS))
    await bench.first_look()
    assert (await bench.by_models()).saved == 1
    waiting = {callid for callid, one in (await bench.calls()).items() if one["waits"]}
    assert waiting == {f"c-{n:03d}" for n in range(12)}
    bench.judge.batches.behaviour = BatchBehaviour()
    await judged(bench)
    assert bench.asked == 2


async def test_a_call_that_is_corrected_meanwhile_is_not_kept_waiting(bench: Bench) -> None:
    await backlog(bench, 12)
    await under_way(bench)
    await bench.bring(spoken("c-003", "其实一切都很好，谢谢！"))
    await bench.first_look()
    assert (await bench.by_models()).saved == 1
    assert not (await bench.calls())["c-003"]["waits"]


async def test_nothing_is_kept_of_a_call_that_is_gone(bench: Bench) -> None:
    await backlog(bench, 12)
    await under_way(bench)
    async with bench.db.tenant(bench.org_id) as tx:
        await tx.execute("DELETE FROM call_record_enriched WHERE callid = 'c-003'")
    bench.judge.batches.behaviour = BatchBehaviour()
    await judged(bench)
    assert await bench.count("analysis_cache") == 11


async def test_what_the_batch_did_not_answer_is_asked_about_as_ever(bench: Bench) -> None:
    bench.judge.batches.behaviour = BatchBehaviour(status="expired", answered=1)
    await backlog(bench, 40)
    found = await judged(bench)
    assert Counter(one["step"] for one in found.values()) == {"cache": 16, "model": 24}


@pytest.mark.parametrize("how", ["omits", "single", "repeats"])
async def test_what_it_answered_badly_is_repaired_or_buried_as_ever(bench: Bench, how: str) -> None:
    await backlog(bench, 12)
    bench.behave(how)
    await bench.by_models()
    async with asyncio.timeout(20):
        while not bench.asked:  # noqa: ASYNC110 - the llm service asks
            await asyncio.sleep(0.02)
    bench.behave()
    found = await judged(bench)
    assert {one["analyzer"].split(":")[0] for one in found.values()} == {"llm"}
    assert await bench.dead_letters() == {}


@pytest.mark.parametrize("status", ["failed", "expired"])
async def test_a_batch_that_brings_nothing_is_not_made_again_at_once(
    bench: Bench, status: str
) -> None:
    bench.judge.batches.behaviour = BatchBehaviour(status=status, answered=0)
    await backlog(bench, 12)
    await judged(bench)
    assert len(bench.judge.batches.batches) == 1


async def test_without_a_provider_of_batches_calls_are_asked_about_at_once(bench: Bench) -> None:
    await backlog(bench, 12, ANALYSIS_MODEL="plain")
    await judged(bench)
    assert {row["price_version"] for row in await bench.ledger()} == {"2025-01-01"}
    assert await bench.count("analysis_backfill") == 0


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 3, 6])
async def test_killed_processes_pay_for_no_call_twice(bench: Bench, kills: int) -> None:
    await backlog(bench, 120)
    settings = {**bench.settings, "ANALYSIS_BACKFILL_FROM": "10"}
    for _ in range(kills):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", WORKER, str(bench.org_id),
            cwd=ROOT, env=process_environment(**settings), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(random.uniform(0, 0.6))
        if process.returncode is None:
            process.kill()
        await process.wait()
        async with bench.db.system() as tx:
            await tx.execute("UPDATE analysis_claim SET lease_until = clock_timestamp()")
            await tx.execute("UPDATE analysis_backfill SET held_until = clock_timestamp()")
    found = await judged(bench)
    assert len(found) == 120
    asked = Counter(str(body["messages"]) for body in bench.judge.bodies)
    assert set(asked.values()) == {1}
