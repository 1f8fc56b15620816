"""Files that jobs import: whoever is killed in between, no call is lost and none counted twice."""

from __future__ import annotations

import asyncio
import gzip
import random
from datetime import timedelta

import pytest

from ai_services.enrichment.imports.sweep import sweep
from ai_services.enrichment.jobs import JOBS
from shared.data_access.relational.postgres import Postgres
from shared.errors import InvalidInput
from shared.jobs.store import jobs
from tests.ai_services.enrichment.calls_files import as_csv, call
from tests.ai_services.enrichment.test_importing import organisation
from tests.ai_services.enrichment.workshop import Workshop, csv_file, jsonl_file
from tests.contract.proxy import proxied

_ROWS = 22_000  # more than four batches


async def undisturbed(shop: Workshop, *files: bytes) -> Workshop:
    """Another organisation in which the same files were imported without interruption."""
    clean = Workshop(shop.db, shop.url, await organisation(shop.db), shop.folder)
    async with clean.working():
        for content in files:
            await clean.result(await clean.send(content))
    return clean


@pytest.mark.slow
@pytest.mark.parametrize("make", [csv_file, jsonl_file, lambda n: gzip.compress(csv_file(n), 1)])
async def test_an_import_that_changes_hands_equals_an_undisturbed_one(shop, make) -> None:
    content = make(_ROWS)
    job_id = await shop.send(content)
    for part in (1, len(content) // 3, 2 * len(content) // 3):
        async with shop.working():
            await shop.until_done(job_id, part)
    assert (await shop.job(job_id)).finished_at is None
    async with shop.working():
        result = await shop.result(job_id)
    assert result["rows"] == result["inserted"] + result["duplicates"] + result["rejected"]
    assert (result["rejected"], result["error"]) == (_ROWS // 100, None)
    assert await shop.state() == await (await undisturbed(shop, content)).state()
    assert await shop.kept_files() == 0


@pytest.mark.slow
async def test_an_import_survives_processes_that_are_killed(shop) -> None:
    """At moments of chance, within transactions and between them."""
    content = csv_file(2 * _ROWS)
    job_id = await shop.send(content)
    job, kills = await shop.killed_until_ended(
        job_id, random.Random(7), len(content) // 3, pause_s=0.2
    )
    assert kills > 2
    assert job.state == "succeeded"
    assert await shop.state() == await (await undisturbed(shop, content)).state()
    assert await shop.kept_files() == 0


def ends_with_a_batch(*, cut: bool) -> bytes:
    """A file after whose last whole batch nothing is left; or a compressed one that is cut off."""
    if cut:
        whole = gzip.compress(csv_file(3000), 1)
        return whole[: len(whole) // 2]
    content = as_csv(call(callid=f"c-{number}", filler="x" * 4000) for number in range(1030))
    assert 4 << 20 < len(content) < (4 << 20) + 20_000
    return content


@pytest.mark.parametrize("cut", [False, True])
async def test_an_import_whose_end_was_not_kept_counts_nothing_twice(shop, cut) -> None:
    """Its process was killed when all rows were in, and the import was not yet finished."""
    content = ends_with_a_batch(cut=cut)
    job_id = await shop.send(content)
    async with shop.db.system() as tx:
        await tx.fetch("SELECT FROM import_file FOR UPDATE")  # it can't be let go of
        async with shop.working():
            await shop.until_done(job_id, len(content))
    assert (await shop.job(job_id)).finished_at is None
    async with shop.working():
        result = await shop.result(job_id)
    assert ("cut off" in (result["error"] or "")) == cut
    assert await shop.state() == await (await undisturbed(shop, content)).state()


async def test_two_workers_and_many_files_end_as_one_after_the_other(shop) -> None:
    files = [csv_file(3000, start) for start in (0, 2000, 1000, 5000)]
    ids = [await shop.send(content) for content in files]
    async with shop.working(), shop.working():
        for job_id in ids:
            await shop.result(job_id)
    assert await shop.state() == await (await undisturbed(shop, *files)).state()


@pytest.mark.slow
async def test_a_store_that_goes_away_in_between_is_waited_for(shop) -> None:
    content = csv_file(_ROWS)
    job_id = await shop.send(content)
    async with proxied(shop.url) as (url, proxy):
        db = Postgres(url, pool_size=8)
        async with shop.working(db):
            await shop.until_done(job_id, len(content) // 3)
            await proxy.cut()
            await asyncio.sleep(1.0)
            await proxy.start()
            result = await shop.result(job_id)
        await db.close()
    assert result["error"] is None
    assert (await shop.job(job_id)).failures == 0
    assert await shop.state() == await (await undisturbed(shop, content)).state()


async def test_a_cancelled_import_keeps_what_is_in_and_lets_go_of_its_file(shop) -> None:
    content = csv_file(_ROWS)
    job_id = await shop.send(content)
    async with shop.working():
        await shop.until_done(job_id, 1)
        async with shop.db.tenant(shop.org_id) as tx:
            await jobs.cancel(tx, job_id)
        assert (await shop.ended(job_id)).state == "cancelled"
    assert await shop.kept_files() == 1
    assert await sweep(shop.db) == 1
    assert await shop.kept_files() == 0
    (run,) = await shop.imports()
    assert run["error"] == "The job was cancelled."
    assert run["finished_at"] is not None
    assert run["inserted"] == len((await shop.state())[0]) > 0


async def test_a_file_that_is_gone_is_told_by_its_import(shop) -> None:
    job_id = await shop.send(csv_file(10))
    async with shop.db.system() as tx:
        await tx.execute("DELETE FROM import_file")
    async with shop.working():
        result = await shop.result(job_id)
    assert "Send it again" in result["error"]
    assert result["rows"] == 0


LEGS = """
group_by = "task_id"
[columns]
callid = "callid"
task_id = "customer_id"
"""


async def test_a_trial_counts_what_an_import_counts(shop) -> None:
    shop.country = "US"
    numbers = ("1-800-FLOWERS", "138****5678", "13812348000 ext. 5", "13812348000")
    content = as_csv(
        call(callid=f"c-{number}", phone=phone) for number, phone in enumerate(numbers)
    )
    jobs_of = [
        await shop.send(content, only_tried=only_tried, column_map=column_map)
        for column_map in (None, LEGS)
        for only_tried in (True, False)
    ]
    async with shop.working():
        results = [await shop.result(job_id) for job_id in jobs_of]
    for tried, imported in zip(results[::2], results[1::2], strict=True):
        assert tried["noted"] == imported["noted"] == {"phone": 2}
        for name in ("rows", "duplicates", "rejected"):
            assert tried[name] == imported[name]
    assert [tried["duplicates"] for tried in results[::2]] == [0, 3]


async def test_the_sweep_leaves_what_is_still_wanted(shop) -> None:
    waiting = await shop.send(csv_file(10))
    dead = await shop.send(csv_file(20))
    async with shop.db.system() as tx:
        await tx.execute(
            "UPDATE job SET state = 'dead', finished_at = clock_timestamp() WHERE job_id = $1", dead
        )
        await tx.execute("INSERT INTO import_file VALUES ($1, gen_random_uuid())", shop.org_id)
    assert await sweep(shop.db) == 0  # one may be tried again, one is still coming
    assert await sweep(shop.db, cut_off_s=0, dead_s=0) == 2
    async with shop.db.system() as tx:
        assert await tx.fetchval("SELECT job_id FROM import_file") == waiting
        await jobs.retry(tx, dead)
    async with shop.working():
        assert (await shop.result(waiting))["error"] is None
        ended = await shop.ended(dead)
    assert ended.state == "dead"
    assert "The import has ended. The job was dead. Send the file again." in (ended.error or "")


async def test_organisations_see_only_their_own_files_and_imports(shop) -> None:
    other = Workshop(shop.db, shop.url, await organisation(shop.db), shop.folder)
    job_id = await shop.send(csv_file(10))
    async with shop.db.tenant(other.org_id) as tx:
        for table in ("import_file", "import_part", "import_run"):
            assert await tx.fetchval(f"SELECT count(*) FROM {table}") == 0
    mine = await other.send(csv_file(10))  # the same bytes: another organisation's file
    assert mine != job_id
    async with shop.working():
        assert (await shop.result(job_id))["inserted"] == (await other.result(mine))["inserted"] > 0


async def test_a_kept_file_is_encrypted(shop) -> None:
    await shop.send(csv_file(10))
    async with shop.db.system() as tx:
        sealed = await tx.fetchval("SELECT sealed FROM import_part")
    assert b"13812348000" in csv_file(10)
    assert b"1381234" not in sealed
    assert b"callid" not in sealed


async def test_a_refused_file_is_never_queued(shop) -> None:
    with pytest.raises(InvalidInput):
        await shop.send(b"name,age\nx,1\n")
    assert await shop.kept_files() == 0
    assert await shop.imports() == []


def test_the_kinds_of_job_run_when_they_should() -> None:
    found = {kind.name: (kind.cron, kind.time_limit, kind.exclusive) for kind in JOBS}
    assert found == {
        "llm_analyze_batch": ("30 2 * * *", timedelta(hours=4), True),
        "import_calls": (None, timedelta(hours=4), True),
        "try_import": (None, timedelta(hours=1), True),
        "take_back_import": (None, timedelta(hours=2), True),
        "sync_call_records": ("0 2 * * *", timedelta(hours=2), True),
        "sync_source": (None, timedelta(hours=24), False),
        "erase_customer": (None, timedelta(hours=4), True),
    }
    assert all(kind.per_org for kind in JOBS)
