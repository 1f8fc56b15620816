"""Which files wait for their jobs, and in which order: the last one that was sent is what counts."""

from __future__ import annotations

import asyncio

import pytest

from ai_services.enrichment.imports.sweep import end_runs, sweep
from shared.errors import TooManyRequests
from shared.jobs.store import jobs
from tests.ai_services.enrichment.calls_files import as_csv, call
from tests.ai_services.enrichment.sync.test_sync_job import SYNC, folder_of, put
from tests.ai_services.enrichment.workshop import Workshop, csv_file


def rounds(number: int) -> bytes:
    return as_csv([call(callid="c-1", rounds=number)])


async def _rounds(shop: Workshop) -> int:
    async with shop.db.tenant(shop.org_id) as tx:
        return await tx.fetchval("SELECT rounds FROM call_record_enriched")


async def test_a_file_that_is_sent_again_after_another_holds_again(shop) -> None:
    first, second, third = [await shop.send(rounds(n)) for n in (1, 2, 1)]
    assert len({first, second, third}) == 3
    assert await shop.send(rounds(1)) == third  # the last one, once more
    async with shop.working():
        for job_id in (first, second, third):
            await shop.result(job_id)
    assert await _rounds(shop) == 1
    assert len(await shop.imports()) == 3


async def test_the_last_one_is_imported_anew_if_it_was_cancelled(shop) -> None:
    first = await shop.send(rounds(1))
    async with shop.db.tenant(shop.org_id) as tx:
        await jobs.cancel(tx, first)
    assert await shop.send(rounds(1)) != first


async def test_an_import_that_waits_to_be_tried_again_is_not_overtaken(shop) -> None:
    first, second = await shop.send(rounds(1)), await shop.send(rounds(2))
    async with shop.db.system() as tx:
        await tx.execute(
            """UPDATE job SET state = 'waiting', failures = 1,
                   run_at = clock_timestamp() + interval '0.5 s' WHERE job_id = $1""",
            first,
        )
    async with shop.working():
        await shop.result(second)
        await shop.result(first)
    assert await _rounds(shop) == 2


async def test_files_of_dead_jobs_keep_no_others_out(shop) -> None:
    async with shop.db.system() as tx:
        await tx.execute(
            """WITH died AS (
                   INSERT INTO job (org_id, name, args, priority, exclusive, state, run_at, finished_at)
                   SELECT $1, 'import_calls', '{}', 0, true, 'dead', clock_timestamp(),
                          clock_timestamp() - number * interval '1 s'
                   FROM generate_series(1, 25) AS number RETURNING job_id)
               INSERT INTO import_file (org_id, import_id, job_id)
               SELECT $1, gen_random_uuid(), job_id FROM died""",
            shop.org_id,
        )
    assert await shop.send(csv_file(3))
    assert await sweep(shop.db) == 5  # the last ones are kept: they may be tried again
    assert await shop.kept_files() == 21


async def test_many_at_once_are_no_more_than_there_is_room_for(shop) -> None:
    sent = await asyncio.gather(
        *(shop.send(rounds(number)) for number in range(24)), return_exceptions=True
    )
    refused = [one for one in sent if isinstance(one, TooManyRequests)]
    assert len(refused) == 4
    assert await shop.kept_files() == 20


async def test_a_cancelled_import_that_is_retried_says_that_it_has_ended(shop) -> None:
    job_id = await shop.send(csv_file(10))
    async with shop.db.tenant(shop.org_id) as tx:
        await jobs.cancel(tx, job_id)
    await sweep(shop.db)
    async with shop.db.tenant(shop.org_id) as tx:
        await jobs.retry(tx, job_id)
    async with shop.working():
        ended = await shop.ended(job_id)
    assert (ended.state, ended.failures) == ("dead", 1)  # it is not tried again in vain
    assert "The job was cancelled. Send the file again." in (ended.error or "")


async def test_a_cancelled_import_whose_file_is_still_there_goes_on(shop) -> None:
    job_id = await shop.send(csv_file(10))
    async with shop.db.tenant(shop.org_id) as tx:
        await jobs.cancel(tx, job_id)
        await jobs.retry(tx, job_id)
    async with shop.working():
        assert (await shop.result(job_id))["error"] is None


@pytest.mark.parametrize("retried", [False, True])
async def test_the_import_of_a_sync_that_was_cancelled_ends(shop, *, retried: bool) -> None:
    folder = await folder_of(shop)
    content = csv_file(22_000)
    put(folder, "a.csv", content, 5000)
    job_id = await shop.ask(SYNC)
    async with shop.working():
        await shop.until_done(job_id, 1)
        async with shop.db.tenant(shop.org_id) as tx:
            await jobs.cancel(tx, job_id)
        assert (await shop.ended(job_id)).state == "cancelled"
    (run,) = await shop.imports()
    assert run["finished_at"] is None
    assert await end_runs(shop.db) == 1
    (run,) = await shop.imports()
    assert (run["finished_at"] is not None, run["error"]) == (True, "The job was cancelled.")
    if not retried:
        return
    async with shop.db.tenant(shop.org_id) as tx:
        await jobs.retry(tx, job_id)
    async with shop.working():
        result = await shop.result(job_id)
    assert (result["imported"], result["failed"]) == (1, 0)
    first, second = await shop.imports()
    assert first["inserted"] + second["inserted"] == len((await shop.state())[0])
    assert second["error"] is None


async def test_the_sweep_leaves_imports_of_syncs_that_go_on(shop) -> None:
    put(await folder_of(shop), "a.csv", csv_file(22_000), 5000)
    job_id = await shop.ask(SYNC)
    async with shop.working():
        await shop.until_done(job_id, 1)
    assert await end_runs(shop.db) == 0  # it waits for a worker
    async with shop.db.system() as tx:
        await tx.execute(
            "UPDATE job SET state = 'dead', finished_at = clock_timestamp() WHERE job_id = $1",
            job_id,
        )
    assert await end_runs(shop.db) == 0  # it may be tried again
    assert await end_runs(shop.db, dead_s=0) == 1


@pytest.mark.slow
async def test_an_import_of_nothing_but_wrong_rows_comes_to_an_early_end(shop) -> None:
    wrong = as_csv(call(callid=f"c-{number}", duration_ms="long") for number in range(25_000))
    job_id = await shop.send(wrong)
    async with shop.db.system() as tx:  # as if so many had been read
        await tx.execute("UPDATE import_run SET rejected = 99_000")
    async with shop.working():
        result = await shop.result(job_id)
    assert "has not one good row among its first" in result["error"]
    assert result["rejected"] < 99_000 + 25_000


async def test_one_good_row_is_enough_to_go_on(shop) -> None:
    rows = [call(), *(call(callid=f"c-{n}", duration_ms="long") for n in range(100))]
    job_id = await shop.send(as_csv(rows))
    async with shop.db.system() as tx:
        await tx.execute("UPDATE import_run SET rejected = 200_000")
    async with shop.working():
        assert (await shop.result(job_id))["error"] is None
