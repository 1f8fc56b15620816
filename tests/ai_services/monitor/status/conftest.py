"""A monitor service over a real socket, on a platform of the test's own making."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import orjson
import pytest

from ai_services.llm.app import create_service as create_llm
from ai_services.monitor.app import create_service
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.embedded.stores import Endpoints
from shared.errors import StoreUnavailable
from shared.security import InternalTokens, Principal, Role
from shared.serving.registry import Instance
from shared.serving.service import BaseAIService
from shared.wire import INTERNAL_TOKEN_HEADER
from tests.ai_services.monitor.conftest import SECRET
from tests.conftest import redis_database
from tests.shared.jobs.workplace import Workplace

STATUS = "/api/v1/status"
CLOSED = "127.0.0.1:9"


async def nothing(_service: BaseAIService[None], _stack: AsyncExitStack) -> None:
    return None


@dataclass
class Site:
    """A platform of the test's own: its stores, and what is announced in its registry."""

    place: Workplace
    cache: RedisCache
    settings: dict[str, str]
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def config(self, **settings: str) -> Config:
        return Config.from_env({**self.settings, **settings})

    async def announce(self, service: str, url: str) -> None:
        one = Instance(service, url, uuid4().hex, "7")
        await self.cache.set(one.key, orjson.dumps(asdict(one)), ttl=60)

    async def serve(self, *names: str, missing: str = "") -> None:
        """A process of each of these services; of those that miss a store, `missing` says what."""

        async def ping() -> None:
            raise StoreUnavailable(missing)

        for name in names:
            one = BaseAIService(name, self.config(), endpoints=[], open_state=nothing)
            if missing:
                one.check("postgres", ping)
            await self.announce(name, await self.stack.enter_async_context(one.running(port=0)))

    async def llm(self) -> str:
        """The llm service itself; it announces itself."""
        return await self.stack.enter_async_context(create_llm(self.config()).running(port=0))

    @asynccontextmanager
    async def monitor(self, **settings: str) -> AsyncIterator[Monitor]:
        async with create_service(self.config(**settings)).running(port=0) as url:
            yield Monitor(url)


@dataclass(frozen=True)
class Monitor:
    url: str

    def client(self, org_id: UUID, role: Role = "admin") -> httpx.AsyncClient:
        principal = Principal(org_id, f"user:{uuid4()}", role, "user")
        token = InternalTokens(SECRET.encode()).mint(principal, "monitor")
        return httpx.AsyncClient(
            base_url=self.url, headers={INTERNAL_TOKEN_HEADER: token}, timeout=30
        )

    async def found(self, org_id: UUID) -> dict[str, Any]:
        async with self.client(org_id) as http:
            answer = await http.get(STATUS)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data


@pytest.fixture
async def site(
    place: Workplace, redis_server: str, stores: Endpoints, tmp_path: Path
) -> AsyncIterator[Site]:
    redis = redis_database(redis_server, 7)
    cache = RedisCache(redis)
    await cache.delete(*await cache.scan("registry:"))
    settings = {
        "LOOMA_HOME": str(tmp_path),
        "DATABASE_URL": place.url,
        "REDIS_URL": redis,
        "GRAPH_URL": stores.graph_url,
        "INTERNAL_TOKEN_SECRET": SECRET,
        "SHUTDOWN_SECONDS": "1",
        "DRAIN_DELAY_SECONDS": "0",
    }
    site = Site(place, cache, settings)
    async with site.stack:
        yield site
    await cache.close()


def service(found: dict[str, Any], name: str) -> dict[str, Any]:
    (one,) = [one for one in found["services"] if one["name"] == name]
    return dict(one)


def stores_of(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["stores"]}
