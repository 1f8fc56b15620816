"""One database for all tests of spending; each test has organisations of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ai_services.llm.spend.ledger import Ledger
from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import Endpoints
from tests.ai_services.llm.spend.books import Organisation, new_organisation, opened
from tests.databases import fresh_database


@pytest.fixture(scope="session")
async def spend_database_url(stores: Endpoints) -> AsyncIterator[str]:
    async with fresh_database(stores.database_url) as url:
        yield url


@pytest.fixture(scope="session")
async def db(spend_database_url: str) -> AsyncIterator[Postgres]:
    async with opened(spend_database_url) as postgres:
        yield postgres


@pytest.fixture
async def organisation(db: Postgres) -> Organisation:
    return await new_organisation(db)


@pytest.fixture
async def ledger(db: Postgres) -> AsyncIterator[Ledger]:
    async with Ledger(db) as opened_ledger:
        yield opened_ledger
