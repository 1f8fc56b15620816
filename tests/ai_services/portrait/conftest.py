"""One database for all tests of the portrait service; each test has organisations of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import Endpoints
from tests.ai_services.portrait.calls import Organisation, new_organisation, opened
from tests.databases import fresh_database


@pytest.fixture(scope="session")
async def portrait_database_url(stores: Endpoints) -> AsyncIterator[str]:
    async with fresh_database(stores.database_url) as url:
        yield url


@pytest.fixture(scope="session")
async def db(portrait_database_url: str) -> AsyncIterator[Postgres]:
    async with opened(portrait_database_url) as postgres:
        yield postgres


@pytest.fixture
async def organisation(db: Postgres) -> Organisation:
    return await new_organisation(db)


@pytest.fixture
async def unlogged(db: Postgres) -> Organisation:
    """One whose portraits are right only after a computation."""
    return await new_organisation(db, logged=False)
