"""The daily fetching: each file is imported once, whoever is killed in between."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from ai_services.enrichment.sync.drop_folder import COLUMN_MAP
from tests.ai_services.enrichment.test_importing import organisation
from tests.ai_services.enrichment.workshop import Workshop, csv_file, jsonl_file
from tests.shared.jobs.workplace import until

SYNC = "sync_call_records"


async def folder_of(shop: Workshop) -> Path:
    async with shop.db.system() as tx:
        slug = await tx.fetchval("SELECT slug FROM organisation WHERE org_id = $1", shop.org_id)
    folder = shop.folder / slug
    folder.mkdir(exist_ok=True)
    return folder


def put(folder: Path, name: str, content: bytes, age_s: float) -> None:
    (folder / name).write_bytes(content)
    at = time.time() - age_s
    os.utime(folder / name, (at, at))


async def fill(shop: Workshop) -> Path:
    """Four exports, the later of which say other things of some calls, one that is none."""
    folder = await folder_of(shop)
    put(folder, "a.csv", csv_file(9000), 5000)
    put(folder, "b.json", jsonl_file(9000, 4000), 4000)
    put(folder, "broken.csv", b"name,age\nx,1\n", 3500)
    put(folder, "c.ndjson", jsonl_file(7000, 12_000), 3000)
    put(folder, "fresh.csv", csv_file(10), 0)
    return folder


async def undisturbed(shop: Workshop) -> tuple[Workshop, dict[str, Any]]:
    clean = Workshop(shop.db, shop.url, await organisation(shop.db), shop.folder)
    await fill(clean)
    async with clean.working():
        return clean, await clean.result(await clean.ask(SYNC))


async def test_files_come_in_and_are_moved(shop) -> None:
    folder = await fill(shop)
    async with shop.working():
        result = await shop.result(await shop.ask(SYNC))
        again = await shop.result(await shop.ask(SYNC))
    told = ("sources", "files", "imported", "failed", "waiting", "refused")
    assert [result[name] for name in told] == [1, 4, 3, 1, 1, 0]
    assert [again[name] for name in told] == [1, 0, 0, 0, 1, 0]
    assert result["inserted"] == len((await shop.state())[0])
    assert {one.name for one in (folder / "done").iterdir()} == {"a.csv", "b.json", "c.ndjson"}
    assert [one.name for one in (folder / "failed").iterdir()] == ["broken.csv"]
    assert (folder / "fresh.csv").exists()
    runs = {one["source"]: one for one in await shop.imports()}
    assert "callid" in runs["broken.csv"]["error"]
    assert all(one["finished_at"] for one in runs.values())
    assert [one["error"] for one in runs.values()].count(None) == 3
    assert all(one["kept"] == one["rejected"] for one in runs.values())


async def test_without_a_folder_the_result_says_so(shop) -> None:
    async with shop.working():
        result = await shop.result(await shop.ask(SYNC))
    assert (result["sources"], result["files"], result["inserted"]) == (0, 0, 0)


@pytest.mark.slow
async def test_a_sync_that_changes_hands_equals_an_undisturbed_one(shop) -> None:
    folder = await fill(shop)
    total = sum(one.stat().st_size for one in folder.iterdir())
    job_id = await shop.ask(SYNC)
    for part in range(1, 10):
        async with shop.working():
            await shop.until_done(job_id, min(part * total // 10, int(total * 0.9)))
    async with shop.working():
        result = await shop.result(job_id)
    clean, expected = await undisturbed(shop)
    assert result == expected
    assert await shop.state() == await clean.state()


@pytest.mark.slow
async def test_a_sync_survives_processes_that_are_killed(shop) -> None:
    await fill(shop)
    job_id = await shop.ask(SYNC)
    job, kills = await shop.killed_until_ended(job_id, random.Random(11), 900_000)
    assert kills > 2
    clean, expected = await undisturbed(shop)
    assert job.result == expected
    assert await shop.state() == await clean.state()


async def test_a_file_that_was_imported_but_not_moved_is_moved_only(shop) -> None:
    """Its process was killed between the two."""
    folder = await folder_of(shop)
    put(folder, "a.csv", csv_file(100), 5000)
    (folder / "done").symlink_to("/nowhere")  # it can't be moved
    job_id = await shop.ask(SYNC)
    async with shop.working():

        async def failed() -> bool:
            return (await shop.job(job_id)).failures > 0

        await until(failed)
        assert "SYNC_FOLDER" in ((await shop.job(job_id)).error or "")
        (folder / "done").unlink()
        async with shop.db.system() as tx:
            await tx.execute("UPDATE job SET run_at = clock_timestamp() WHERE job_id = $1", job_id)
        result = await shop.result(job_id)
    assert (result["files"], result["imported"]) == (1, 1)
    (run,) = await shop.imports()
    assert (run["unchanged"], run["error"]) == (0, None)
    assert (folder / "done" / "a.csv").exists()


async def test_a_file_that_changes_in_between_is_imported_anew(shop) -> None:
    folder = await folder_of(shop)
    put(folder, "a.csv", csv_file(22_000), 5000)
    job_id = await shop.ask(SYNC)
    async with shop.working():
        await shop.until_done(job_id, 1)
    put(folder, "a.csv", csv_file(100), 4000)
    async with shop.working():
        result = await shop.result(job_id)
    assert (result["files"], result["imported"], result["failed"]) == (2, 1, 1)
    first, second = await shop.imports()
    assert "changed" in first["error"]
    assert second["error"] is None


async def test_a_map_with_mistakes_fails_the_job_and_moves_nothing(shop) -> None:
    folder = await folder_of(shop)
    put(folder, "a.csv", csv_file(10), 5000)
    put(folder, COLUMN_MAP, b"[colums]\n", 5000)
    job_id = await shop.ask(SYNC)
    async with shop.working():

        async def failed() -> bool:
            return (await shop.job(job_id)).failures > 0

        await until(failed)
    assert "colums" in ((await shop.job(job_id)).error or "")
    assert (folder / "a.csv").exists()
    assert await shop.imports() == []


async def test_nobody_gets_another_organisations_files(shop) -> None:
    other = Workshop(shop.db, shop.url, await organisation(shop.db), shop.folder)
    put(await folder_of(other), "theirs.csv", csv_file(10), 5000)
    async with shop.working():
        result = await shop.result(await shop.ask(SYNC))
        assert (result["sources"], result["files"]) == (0, 0)
        assert (await other.result(await other.ask(SYNC)))["files"] == 1
