"""The whole platform in one process: a gateway before its real services, on the embedded stores."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from ai_services.auth.app import create_service as create_auth
from ai_services.auth.service import operator
from ai_services.enrichment.app import create_service as create_enrichment
from ai_services.llm.app import create_service as create_llm
from ai_services.monitor.app import create_service as create_monitor
from ai_services.portrait.app import create_service as create_portrait
from benchmarks.model_server import ModelServer, model_server
from gateway.app import create_gateway
from gateway.routing.packaged import packaged_text
from gateway.timeouts import Timeouts
from shared.config import Config
from shared.embedded.stores import Endpoints
from shared.security import Principal
from shared.serving.service import BaseAIService
from tests.conftest import redis_database
from tests.gateway.wire import until

MODEL = "loopback"
_REDIS: int = 10  # a registry of its own
_CALLS = [
    {
        "callid": f"call-{number}",
        "user_id": "team-7",
        "customer_id": "c-42",
        "started_at": f"2025-{month:02}-15T10:00:00+08:00",
        "duration_ms": 42_000,
        "call_status": "connected",
        "level_name": "B",
        "hangup_by": 2,
        "turns": [{"role": "customer", "at_ms": 900, "text": "太慢了，我要投诉"}],
    }
    for number, month in enumerate((1, 6, 12))
]


@dataclass(frozen=True, slots=True)
class RealServices:
    """Where the gateway listens, and admins' API keys, which no request of a test can end."""

    url: str
    key: str
    key_of_others: str  # of another organisation, which has nothing but its admin
    model: ModelServer  # behind the model MODEL

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def client(self) -> httpx.AsyncClient:
        return self._client(self.headers)

    def client_of_others(self) -> httpx.AsyncClient:
        return self._client({"Authorization": f"Bearer {self.key_of_others}"})

    def _client(self, headers: dict[str, str]) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30)


@asynccontextmanager
async def real_services(
    home: Path, stores: Endpoints, database_url: str
) -> AsyncIterator[RealServices]:
    """With a few calls in, and portraits of them computed. Nobody is limited."""
    routes = home / "routes.toml"
    routes.write_text(_without_limits(packaged_text()), "utf-8")
    settings = {
        "LOOMA_HOME": str(home),
        "INTERNAL_TOKEN_SECRET": "s" * 64,
        "DATA_KEY": "d" * 64,
        "DATABASE_URL": database_url,
        "GRAPH_URL": stores.graph_url,
        "REDIS_URL": redis_database(stores.redis_url, _REDIS),
        "SHUTDOWN_SECONDS": "2",
        "GATEWAY_ROUTES": str(routes),
    }
    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(model_server())
        # What tests tell the model to do is for the requests of theirs.
        settings |= {"LLM_BASE_URL": model.url, "LLM_MODEL": MODEL, "ANALYZER": "local"}
        config = Config.from_env(settings)
        auth = create_auth(config)
        upstreams = {}
        for service in (
            auth,
            *(
                create(config)
                for create in (create_enrichment, create_portrait, create_llm, create_monitor)
            ),
        ):
            upstreams[service.name] = await stack.enter_async_context(service.running(port=0))
        written = ",".join(f"{name}={url}" for name, url in upstreams.items())
        gateway = create_gateway(
            Config.from_env({**settings, "GATEWAY_UPSTREAMS": written}), Timeouts(connect=30.0)
        )
        url = await stack.enter_async_context(gateway.running(port=0))
        tested, others = await _admin(auth, "tested"), await _admin(auth, "others")
        services = RealServices(url, tested, others, model)
        async with services.client() as client:
            await _fill(client)
        yield services


async def _admin(auth: BaseAIService[Any], name: str) -> str:
    """A new organisation's API key."""
    organisation = await auth.state.organisations.create(name, "织", "Asia/Shanghai", actor="test")
    user = await auth.state.users.create(
        operator(organisation.org_id),
        email=f"admin@{name}.test",
        name="Admin",
        role="admin",
        password="correct horse battery",
    )
    admin = Principal(organisation.org_id, user.subject, "admin", "user", str(uuid4()))
    return (await auth.state.api_keys.create(admin, name="tests", role="admin")).secret


async def _fill(client: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        return (await client.get("/ready")).status_code == 200

    await until(ready, 60)
    for path, body in (
        ("/api/v1/calls", {"records": _CALLS}),
        ("/api/v1/admin/compute", {}),
    ):  # fmt: skip
        answer = await client.post(path, json=body, headers={"Prefer": "wait=20"})
        assert answer.status_code == 200, answer.text


def _without_limits(routes: str) -> str:
    """A route table by which nobody is turned away."""
    kept = re.sub(r", limits = \[[^\]]*\]", "", routes)
    return re.sub(r"^\[limits\]\n(?:\w+ = .*\n)+", "", kept, flags=re.MULTILINE)


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(METHOD, path template, operation) of everything that is described."""
    return [
        (method.upper(), path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]
