"""The daily analysis: nothing that waited waits afterwards, and what was done is counted once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.jobs.scheduling import settle_schedules
from shared.jobs.store import schedules
from tests.ai_services.enrichment.calls_files import as_jsonl, call
from tests.ai_services.enrichment.records import TURNS
from tests.ai_services.enrichment.test_importing import organisation
from tests.ai_services.enrichment.workshop import Workshop
from tests.shared.jobs.workplace import until

DAILY = "llm_analyze_batch"


async def bring_in(shop: Workshop, count: int) -> None:
    rows = [call(callid=f"c-{number:05d}", turns=TURNS) for number in range(count)]
    async with shop.working():
        await shop.result(await shop.send(as_jsonl(rows), "calls.ndjson"))


async def analysed(shop: Workshop) -> dict[str, Any]:
    async with shop.db.tenant(shop.org_id) as tx:
        row = await tx.fetchrow(
            """SELECT count(*) FILTER (WHERE llm_analyzed_at IS NULL) AS waiting,
                      count(DISTINCT (sentiment, complaint_risk, churn_risk, reason)) AS verdicts
               FROM call_record_enriched"""
        )
    assert row is not None
    return dict(row)


async def test_what_was_left_behind_is_analysed_and_counted(shop) -> None:
    await bring_in(shop, 700)
    async with shop.working():
        result = await shop.result(await shop.ask(DAILY))
        again = await shop.result(await shop.ask(DAILY))
    assert result == {"waited": 700, "analysed": 700, "discarded": 0}
    assert again == {"waited": 0, "analysed": 0, "discarded": 0}
    assert await analysed(shop) == {"waiting": 0, "verdicts": 1}


@pytest.mark.slow
async def test_whoever_is_killed_the_counts_are_right(shop) -> None:
    await bring_in(shop, 2600)
    job_id = await shop.ask(DAILY)
    for most in (1, 600, 1100):
        async with shop.working():
            await shop.until_done(job_id, most)
    process = await shop.process()
    await shop.until_done(job_id, 1600)
    process.kill()
    await process.wait()
    async with shop.db.system() as tx:  # the batch that it had claimed: its lease is over
        await tx.execute("UPDATE analysis_claim SET lease_until = clock_timestamp()")
    async with shop.working(), shop.working():
        result = await shop.result(job_id)
    assert (result["waited"], result["analysed"]) == (2600, 2600)
    assert (await analysed(shop))["waiting"] == 0


async def test_what_others_analyse_is_waited_for(shop) -> None:
    await bring_in(shop, 30)
    async with shop.db.tenant(shop.org_id) as tx:
        await tx.execute(
            """INSERT INTO analysis_claim (org_id, callids, lease_until)
               SELECT org_id, array_agg(callid), clock_timestamp() + interval '1 hour'
               FROM call_record_enriched GROUP BY org_id"""
        )
    job_id = await shop.ask(DAILY)
    async with shop.working():

        async def running() -> bool:
            return (await shop.job(job_id)).state == "running"

        await until(running)
        await asyncio.sleep(0.5)
        assert (await shop.job(job_id)).state == "running"
        async with shop.db.tenant(shop.org_id) as tx:
            await tx.execute("UPDATE analysis_claim SET lease_until = clock_timestamp()")
        result = await shop.result(job_id)
    assert result["analysed"] == 30


async def test_what_comes_in_meanwhile_does_not_keep_it_from_ending(shop) -> None:
    await bring_in(shop, 5)
    async with shop.db.tenant(shop.org_id) as tx:  # others have all, and one that comes later
        await tx.execute(
            """INSERT INTO analysis_claim (org_id, callids, lease_until)
               SELECT org_id, array_agg(callid), clock_timestamp() + interval '1 hour'
               FROM call_record_enriched GROUP BY org_id"""
        )
    job_id = await shop.ask(DAILY)
    async with shop.working():

        async def running() -> bool:
            return (await shop.job(job_id)).state == "running"

        await until(running)
        await asyncio.sleep(0.5)
        async with shop.db.tenant(shop.org_id) as tx:
            await tx.execute(
                """UPDATE call_transcript SET updated_at = clock_timestamp() WHERE callid = 'c-00004'"""
            )
            await tx.execute(
                """UPDATE call_record_enriched SET llm_analyzed_at = now()
                   WHERE callid <> 'c-00004'"""
            )
        result = await shop.result(job_id)
    assert (result["waited"], result["analysed"]) == (5, 0)
    assert (await analysed(shop))["waiting"] == 1


async def test_a_transcript_that_was_taken_away_holds_it_up_no_longer(shop) -> None:
    await bring_in(shop, 3)
    async with shop.db.tenant(shop.org_id) as tx:
        await tx.execute("DELETE FROM call_transcript WHERE callid = 'c-00001'")
    async with shop.working():
        result = await shop.result(await shop.ask(DAILY))
    assert result["analysed"] == 2


async def test_nobody_elses_transcripts_are_touched(shop) -> None:
    other = Workshop(shop.db, shop.url, await organisation(shop.db), shop.folder)
    await bring_in(shop, 3)
    await bring_in(other, 4)
    async with shop.working():
        result = await shop.result(await shop.ask(DAILY))
    assert result["analysed"] == 3
    assert (await analysed(other))["waiting"] == 4


async def test_every_organisation_has_its_schedule_in_its_time_zone(shop) -> None:
    async with shop.working():

        async def settled() -> bool:
            async with shop.db.tenant(shop.org_id) as tx:
                return len(await schedules.list_schedules(tx)) == 2

        await until(settled)
    async with shop.db.system() as tx:
        assert await settle_schedules(tx, [DAILY, "sync_call_records"]) == 0
    async with shop.db.tenant(shop.org_id) as tx:
        found = await schedules.list_schedules(tx)
    assert {(one.name, one.cron, one.zone) for one in found} == {
        (DAILY, "30 2 * * *", "Asia/Shanghai"),
        ("sync_call_records", "0 2 * * *", "Asia/Shanghai"),
    }
