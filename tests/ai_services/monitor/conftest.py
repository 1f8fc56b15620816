"""The monitor service over a real socket, on a real database, beside workers of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from ai_services.monitor.app import create_service
from shared.config import Config
from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import Endpoints
from shared.security import InternalTokens, Principal, Role
from shared.wire import INTERNAL_TOKEN_HEADER
from tests.databases import SpareDatabases
from tests.shared.jobs.workplace import Workplace

SECRET = "s" * 64


@pytest.fixture(scope="package")
async def monitor_database_url(spare_databases: SpareDatabases) -> AsyncIterator[str]:
    async with spare_databases.fresh() as url:
        await Workplace.prepare(url)
        yield url


@pytest.fixture(scope="package")
async def service_url(
    monitor_database_url: str,
    redis_server: str,
    stores: Endpoints,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[str]:
    home: Path = tmp_path_factory.mktemp("monitor")
    settings = {
        "LOOMA_HOME": str(home),
        "DATABASE_URL": monitor_database_url,
        "REDIS_URL": redis_server,
        "GRAPH_URL": stores.graph_url,
        "INTERNAL_TOKEN_SECRET": SECRET,
        "SHUTDOWN_SECONDS": "1",
        "DRAIN_DELAY_SECONDS": "0",
    }
    async with create_service(Config.from_env(settings)).running(port=0) as url:
        yield url


@pytest.fixture
async def place(monitor_database_url: str) -> AsyncIterator[Workplace]:
    place = Workplace(Postgres(monitor_database_url, pool_size=12), monitor_database_url)
    await place.empty()
    yield place
    await place.db.close()


@dataclass
class Api:
    """Clients of organisations, without a gateway."""

    url: str
    place: Workplace

    def client(self, org_id: UUID, role: Role = "admin") -> httpx.AsyncClient:
        principal = Principal(org_id, f"user:{uuid4()}", role, "user")
        token = InternalTokens(SECRET.encode()).mint(principal, "monitor")
        return httpx.AsyncClient(
            base_url=self.url, headers={INTERNAL_TOKEN_HEADER: token}, timeout=20
        )


@pytest.fixture
async def api(service_url: str, place: Workplace) -> Api:
    return Api(service_url, place)
