"""One database and one served auth service for the whole package; each test its own organisation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import Endpoints
from tests.ai_services.auth.harness import SECRET, Served, Team, random_address, serve
from tests.databases import fresh_database


@pytest.fixture(scope="session")
async def auth_database(stores: Endpoints) -> AsyncIterator[str]:
    async with fresh_database(stores.database_url) as url:
        yield url


@pytest.fixture(scope="session")
async def relational(auth_database: str) -> AsyncIterator[Postgres]:
    postgres = Postgres(auth_database)
    yield postgres
    await postgres.close()


@pytest.fixture(scope="session")
async def cache(stores: Endpoints) -> AsyncIterator[RedisCache]:
    redis = RedisCache(stores.redis_url)
    yield redis
    await redis.close()


def config_in(home: Path, **settings: str) -> Config:
    return Config.from_env(
        {
            "LOOMA_HOME": str(home),
            "INTERNAL_TOKEN_SECRET": SECRET,
            "DATA_KEY": "d" * 64,
            "SHUTDOWN_SECONDS": "3",
            **settings,
        }
    )


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return config_in(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
async def served(config: Config, relational: Postgres, cache: RedisCache) -> AsyncIterator[Served]:
    async with serve(config, relational, cache) as running:
        yield running


@pytest.fixture(autouse=True)
def own_address(request: pytest.FixtureRequest) -> None:
    """A client address per test, so that the failures of one don't throttle another."""
    if "served" in request.fixturenames:
        request.getfixturevalue("served").address = random_address()


@pytest.fixture
async def team(served: Served) -> Team:
    return await served.organisation()


@pytest.fixture
async def other(served: Served) -> Team:
    """Another organisation, for what must not be visible."""
    return await served.organisation()


@pytest.fixture
async def superuser(auth_database: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that no row policy and no grant holds back."""
    connection = await asyncpg.connect(auth_database)
    yield connection
    await connection.close()
