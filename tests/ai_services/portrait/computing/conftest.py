"""A database for jobs, without a service beside them, emptied for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.data_access.relational.postgres import Postgres
from tests.databases import SpareDatabases
from tests.shared.jobs.workplace import Workplace


@pytest.fixture(scope="package")
async def jobs_database_url(spare_databases: SpareDatabases) -> AsyncIterator[str]:
    async with spare_databases.fresh() as url:
        await Workplace.prepare(url)
        yield url


@pytest.fixture
async def place(jobs_database_url: str) -> AsyncIterator[Workplace]:
    place = Workplace(Postgres(jobs_database_url, pool_size=16), jobs_database_url)
    await place.empty()
    yield place
    await place.db.close()
