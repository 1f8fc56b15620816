"""A gateway in front of upstreams that do as they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_services.auth.app import create_service
from gateway.app import create_gateway
from gateway.resilience.breaker import BreakerPolicy
from gateway.resilience.outliers import OutlierPolicy
from gateway.resilience.retries import RetryPolicy
from gateway.timeouts import Timeouts
from gateway.upstream.policy import ServicePolicy
from shared.config import Config
from shared.services import SERVICE_NAMES
from tests.conftest import redis_database
from tests.gateway.issuer import FakeAuth
from tests.gateway.wire import Behaviour, Wire, echo, until

SECRET = "s" * 64
PASSWORD = "correct horse battery staple"  # of the first admin of a real auth service

# Services that fail as often as a test wants: nothing opens, ejects, probes or repeats.
LENIENT = ServicePolicy(
    breaker=BreakerPolicy(consecutive=10**9, requests=10**9),
    outliers=OutlierPolicy(errors=None, gateway_errors=None),
    health=None,
    retry=RetryPolicy(retries=0),
)


def gateway_config(home: Path, **settings: str) -> Config:
    return Config.from_env(
        {
            "LOOMA_HOME": str(home),
            "INTERNAL_TOKEN_SECRET": SECRET,
            "SHUTDOWN_SECONDS": "2",
            **settings,
        }
    )


@dataclass
class Platform:
    """A running gateway with its upstreams."""

    url: str
    client: httpx.AsyncClient
    auth: FakeAuth
    enrichment: Wire
    portrait: Wire
    wires: Mapping[str, Wire]  # of all services, by name
    config: Config

    def behave(self, behaviour: Behaviour, *, stream: bool = False) -> Wire:
        """Let both services answer like this, and forget what was received."""
        for wire in (self.enrichment, self.portrait):
            wire.behaviour, wire.stream = behaviour, stream
            wire.requests.clear()
            wire.lost.clear()
        return self.enrichment

    async def get(self, path: str, role: str = "analyst", **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={**self.auth.bearer(role), **headers})


@asynccontextmanager
async def platform_in(
    home: Path,
    timeouts: Timeouts | None = None,
    policy: ServicePolicy = LENIENT,
    **settings: str,
) -> AsyncIterator[Platform]:
    auth = FakeAuth()
    upstreams = {name: auth.wire if name == "auth" else Wire(echo) for name in SERVICE_NAMES}
    enrichment, portrait = upstreams["enrichment"], upstreams["portrait"]
    for wire in upstreams.values():
        await wire.start()
    written = ",".join(f"{name}={wire.url}" for name, wire in upstreams.items())
    config = gateway_config(home, **{"GATEWAY_UPSTREAMS": written, **settings})
    gateway = create_gateway(config, timeouts, policy)
    try:
        async with (
            gateway.running(port=0) as url,
            httpx.AsyncClient(base_url=url, timeout=10) as client,
        ):
            yield Platform(url, client, auth, enrichment, portrait, upstreams, config)
    finally:
        for wire in upstreams.values():
            await wire.stop()


@pytest.fixture(scope="session")
async def redis_at(redis_server: str) -> str:
    """A Redis database that only these tests use: the registry is read as a whole."""
    return redis_database(redis_server, 13)


@pytest.fixture(scope="session")
async def shared_platform(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Platform]:
    async with platform_in(tmp_path_factory.mktemp("gateway"), REDIS_URL=redis_at) as running:
        yield running


@pytest.fixture
def platform(shared_platform: Platform) -> Platform:
    """The shared gateway; its upstreams echo until told otherwise."""
    shared_platform.behave(echo)
    shared_platform.auth.wire.requests.clear()
    return shared_platform


@pytest.fixture
async def signed_in(
    tmp_path: Path, redis_at: str, database_url: str
) -> AsyncIterator[tuple[httpx.AsyncClient, dict[str, Any]]]:
    """A client of a gateway before a real auth service, and the tokens of its first admin."""
    # A registry of its own: this auth service must not be found by the other tests' gateways.
    redis_url = redis_database(redis_at, 15)
    settings = {
        "DATABASE_URL": database_url,
        "GRAPH_URL": "bolt://127.0.0.1:1",
        "REDIS_URL": redis_url,
        "DATA_KEY": "d" * 64,
        "ADMIN_PASSWORD": PASSWORD,
    }
    auth = create_service(gateway_config(tmp_path, **settings))
    async with auth.running(port=0) as auth_url:
        gateway = create_gateway(
            gateway_config(tmp_path, **settings, GATEWAY_UPSTREAMS=f"auth={auth_url}")
        )
        async with (
            gateway.running(port=0) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as client,
        ):

            async def ready() -> bool:
                return (await client.get("/ready")).status_code == 200

            await until(ready, 15)
            credentials = {"email": "admin@looma.local", "password": PASSWORD}

            async def first_start_done() -> bool:
                got = await client.post("/api/v1/auth/login", json=credentials)
                return got.status_code == 200

            await until(first_start_done, 15)
            got = await client.post("/api/v1/auth/login", json=credentials)
            yield client, got.json()["data"]
