"""`looma sync` and `looma sync verify` as people and scripts use them, beside a real worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from looma_cli import exit_codes
from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import Endpoints
from tests.ai_services.enrichment.sources.conftest import source as source  # noqa: PLC0414 - a fixture
from tests.ai_services.enrichment.sources.dialler import Call, Dialler
from tests.ai_services.enrichment.sources.sync_shop import SyncShop
from tests.looma_cli.looma import Looma
from tests.shared.jobs.workplace import until

DAY = datetime(2024, 12, 2, 10)
TABLE = "autodialer_call_record_2024_12"


@pytest.fixture
async def looma(
    tmp_path: Path, stores: Endpoints, database_url: str, redis_url: str, source: Dialler
) -> AsyncIterator[Looma]:
    found = Looma(
        tmp_path / "home", tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url,
        GRAPH_URL=stores.graph_url, SOURCES=str(tmp_path / "sources.toml"),
    )  # fmt: skip
    await asyncio.to_thread(found, "orgs", "create", "acme")
    db = Postgres(database_url, pool_size=8)
    async with db.system() as tx:
        org_id = await tx.fetchval("SELECT org_id FROM organisation WHERE slug = 'acme'")
    shop = SyncShop(db, database_url, org_id, tmp_path, "acme")
    await source.month("2024_12")
    # Without numbers: the worker of the tests has another data key than the command.
    await source.add("2024_12", [Call(f"c-{n}", DAY, callee="") for n in range(30)])
    await source.run(f"UPDATE {TABLE} SET callee = NULL")
    shop.connect(source)
    text = shop.sources.read_text().replace('password = "DIALLER"\n', "")
    shop.sources.write_text(text)
    async with shop.working():
        await until(lambda: _declared(db))
        yield found
    await db.close()


async def _declared(db: Postgres) -> bool:
    async with db.system() as tx:
        return bool(
            await tx.fetchval("SELECT count(*) FROM job_type WHERE name = 'sync_call_records'")
        )


async def ran(looma: Looma, *args: str) -> Any:
    return await asyncio.to_thread(looma.run, *args)


async def test_sources_are_read_and_compared(looma: Looma, source: Dialler) -> None:
    done = await ran(looma, "sync", "--json")
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)
    assert (job["source"], job["inserted"], job["state"]) == ("dialler", 30, "succeeded")

    days = ("--from", "2024-12-01", "--to", "2024-12-03")
    same = await ran(looma, "sync", "verify", *days, "--json")
    assert same.returncode == 0, same.stderr
    assert [one["there"] for one in json.loads(same.stdout)] == [30]

    await source.run(f"DELETE FROM {TABLE} WHERE callid = 'c-7'")
    differs = await ran(looma, "sync", "verify", *days)
    assert differs.returncode == exit_codes.PARTLY
    assert "1 extra: c-7" in differs.stderr
    assert (await ran(looma, "sync", "verify", *days, "--repair")).returncode == 0
    assert (await ran(looma, "sync", "verify", *days)).returncode == 0


async def test_days_of_one_source_are_read_again(looma: Looma) -> None:
    done = await ran(
        looma, "sync", "--from", "2024-12-02", "--to", "2024-12-02", "--source", "dialler"
    )
    assert done.returncode == 0, done.stderr
    assert "dialler" in done.stdout
    assert "30" in done.stdout


async def test_a_source_that_is_not_there_is_named(looma: Looma) -> None:
    done = await ran(looma, "sync", "verify", "--source", "pbx")
    assert done.returncode == exit_codes.FAILED
    assert "There is no source 'pbx'" in done.stderr
    assert "has dialler" in done.stderr
