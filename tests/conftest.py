"""Real servers for tests: one set of embedded stores per run, a database of its own per test."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis.asyncio as aioredis
from hypothesis import HealthCheck, settings
from playwright.async_api import Browser

from shared.embedded.stores import EmbeddedStores, Endpoints
from tests.browser import chromium
from tests.databases import SpareDatabases, forgo_fsync
from tests.ports import free_port

# How long an example takes, or how slowly they are drawn, is the machine's affair and decides nothing.
settings.register_profile("looma", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("looma")

LOCAL_POSTGRES = os.environ.get("TEST_POSTGRES_URL", "postgresql://root@127.0.0.1:5432/postgres")
LOCAL_REDIS = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/9")


def skip_unless_ci(reason: str) -> None:
    """What is missing on a laptop is skipped; what is missing where it was promised is a failure."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
async def stores_home() -> AsyncIterator[Path]:
    """The home of this run's embedded stores; those that were started stop at the end."""
    # Not under pytest's own directory: every run of pytest takes that away from other users, and
    # under root PostgreSQL runs as one.
    with tempfile.TemporaryDirectory(prefix="looma-test-", ignore_cleanup_errors=True) as home:
        yield Path(home)
        await EmbeddedStores(Path(home)).stop()


@pytest.fixture(scope="session")
async def stores(stores_home: Path) -> Endpoints:
    """The embedded stores, started once for the whole run in a home of their own."""
    running = await EmbeddedStores(stores_home).start()
    forgo_fsync(stores_home)
    return running


@pytest.fixture(scope="session")
async def redis_server(stores_home: Path) -> str:
    """The URL of the embedded Redis, for tests that need no other store: it is there in no time."""
    return (await EmbeddedStores(stores_home, which=frozenset({"redis"})).start()).redis_url


def redis_database(url: str, number: int) -> str:
    """The URL of another database of the embedded Redis. Channels are common to all of them."""
    return urlunsplit(urlsplit(url)._replace(query=f"db={number}"))


@pytest.fixture(scope="session")
def spare_databases(stores: Endpoints) -> Iterator[SpareDatabases]:
    with SpareDatabases(stores.database_url) as spare:
        yield spare


@pytest.fixture(scope="session")
def migrated_databases(stores: Endpoints) -> Iterator[SpareDatabases]:
    with SpareDatabases(stores.database_url, migrated=True) as spare:
        yield spare


@pytest.fixture
async def database_url(migrated_databases: SpareDatabases) -> AsyncIterator[str]:
    """A fresh database on the embedded PostgreSQL, with all tables and nothing in them."""
    async with migrated_databases.fresh() as url:
        yield url


@pytest.fixture
async def empty_database_url(spare_databases: SpareDatabases) -> AsyncIterator[str]:
    """A fresh database on the embedded PostgreSQL; the first use of an adapter makes its tables."""
    async with spare_databases.fresh() as url:
        yield url


@pytest.fixture
async def redis_url(redis_server: str) -> str:
    """The embedded Redis, its first database emptied."""
    client = aioredis.Redis.from_url(redis_server)
    await client.flushdb()
    await client.aclose()
    return redis_server


@pytest.fixture
def graph_url(stores: Endpoints) -> str:
    """The embedded graph database, shared by all tests: use organisations of your own."""
    return stores.graph_url


@pytest.fixture(scope="session")
async def local_spare_databases() -> AsyncIterator[SpareDatabases]:
    try:
        probe = await asyncpg.connect(LOCAL_POSTGRES, timeout=2)
    except (OSError, asyncpg.PostgresError) as error:
        skip_unless_ci(f"no PostgreSQL at {LOCAL_POSTGRES}: {error!r}")
    await probe.close()
    with SpareDatabases(LOCAL_POSTGRES) as spare:
        yield spare


@pytest.fixture
async def local_postgres_url(local_spare_databases: SpareDatabases) -> AsyncIterator[str]:
    """A fresh database on the PostgreSQL at TEST_POSTGRES_URL (default: 127.0.0.1:5432)."""
    async with local_spare_databases.fresh() as url:
        yield url


@pytest.fixture(scope="session")
async def local_redis_url() -> str:
    """The Redis at TEST_REDIS_URL (default: 127.0.0.1:6379): use keys of your own."""
    client = aioredis.Redis.from_url(LOCAL_REDIS)
    try:
        await client.ping()
    except aioredis.RedisError as error:
        skip_unless_ci(f"no Redis at {LOCAL_REDIS}: {error!r}")
    finally:
        await client.aclose()
    return LOCAL_REDIS


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """The Chromium at TEST_CHROMIUM, or the one in PATH; see tests/browser.py."""
    async with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the public data sets."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LOOMA_TEST_DATA", default))
    if not folder.is_dir():
        skip_unless_ci(f"no data sets at {folder}: set LOOMA_TEST_DATA")
    return folder


@pytest.fixture(name="free_port")
def a_free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listened on a moment ago."""
    return free_port()
