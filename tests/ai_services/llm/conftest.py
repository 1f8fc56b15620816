"""The llm service over a real socket, on a real database, in front of a model server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from openai import AsyncOpenAI

from ai_services.llm.app import create_service
from benchmarks.model_server import ModelServer, model_server
from shared.config import Config
from shared.data_access.ports import Row
from shared.data_access.relational.postgres import Postgres
from shared.embedded.stores import Endpoints
from shared.security import InternalTokens, Principal, Role
from shared.wire import INTERNAL_TOKEN_HEADER
from tests.ai_services.llm.spend.books import Organisation, new_organisation, opened
from tests.databases import fresh_database

SECRET = "s" * 64


@pytest.fixture(scope="session")
async def llm_database_url(stores: Endpoints) -> AsyncIterator[str]:
    async with fresh_database(stores.database_url) as url:
        yield url


@pytest.fixture(scope="session")
async def db(llm_database_url: str) -> AsyncIterator[Postgres]:
    async with opened(llm_database_url) as postgres:
        yield postgres


@pytest.fixture
async def organisation(db: Postgres) -> Organisation:
    return await new_organisation(db)


@pytest.fixture
async def model() -> AsyncIterator[ModelServer]:
    async with model_server(key="sk-upstream") as server:
        yield server


@dataclass
class Api:
    """A client of one organisation; `openai` is the official one, here without a gateway."""

    url: str
    http: httpx.AsyncClient
    openai: AsyncOpenAI
    organisation: Organisation

    def signed_in(self, role: Role) -> httpx.AsyncClient:
        """A client of the same organisation with another role."""
        principal = Principal(self.organisation.org_id, f"user:{uuid4()}", role, "user")
        token = InternalTokens(SECRET.encode()).mint(principal, "llm")
        headers = {INTERNAL_TOKEN_HEADER: token}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=20)

    async def ledger(self) -> list[Row]:
        """The attempts of the organisation, oldest first, once all of them are settled."""
        async with asyncio.timeout(10):
            while True:
                async with self.organisation.db.tenant(self.organisation.org_id) as tx:
                    rows = await tx.fetch("SELECT * FROM cost_ledgers ORDER BY started_at")
                if all(row["settled_at"] for row in rows):
                    return rows
                await asyncio.sleep(0.02)


MODELS = """
currency = "USD"

[providers.loopback]
base_url = "{url}"
key = "LOOPBACK"
first_byte_s = 2
idle_s = 1
total_s = 3
batch = true
batch_discount = 0.5

[providers.plain]
base_url = "{url}"
key = "LOOPBACK"

[models.gpt]
deployments = [{{ provider = "loopback", model = "upstream-gpt" }}]
context = 32768
max_output = 4096
prices = [{{ since = 2025-01-01, input = 1, output = 4, cached = 0.5 }}]

[models.careful]
deployments = [{{ provider = "loopback", model = "upstream-careful" }}]
context = 32768
max_output = 4096
prices = [{{ since = 2025-01-01, input = 1, output = 4 }}]
fallbacks = ["gpt"]
fallback_on = ["unavailable", "context", "refused"]

[models.embed]
kind = "embeddings"
deployments = [{{ provider = "loopback", model = "upstream-embed" }}]
context = 8192
prices = [{{ since = 2025-01-01, input = 0.1 }}]

[models.plain]
deployments = [{{ provider = "plain", model = "upstream-plain" }}]
context = 32768
max_output = 4096
prices = [{{ since = 2025-01-01, input = 1, output = 4 }}]
"""


@pytest.fixture
async def api(
    organisation: Organisation,
    model: ModelServer,
    llm_database_url: str,
    redis_url: str,
    tmp_path: Path,
) -> AsyncIterator[Api]:
    models = tmp_path / "models.toml"
    models.write_text(MODELS.format(url=model.url))
    settings = {
        "LOOMA_HOME": str(tmp_path),
        "DATABASE_URL": llm_database_url,
        "REDIS_URL": redis_url,
        "INTERNAL_TOKEN_SECRET": SECRET,
        "SHUTDOWN_SECONDS": "3",
        "LLM_MODELS": str(models),
        "LLM_KEY_LOOPBACK": "sk-upstream",
    }
    async with (
        create_service(Config.from_env(settings)).running(port=0) as url,
        client_of(organisation, url) as found,
    ):
        yield found


@pytest.fixture
async def stranger(api: Api, db: Postgres) -> AsyncIterator[Api]:
    """Somebody of another organisation."""
    async with client_of(await new_organisation(db), api.url) as found:
        yield found


@asynccontextmanager
async def client_of(organisation: Organisation, url: str) -> AsyncIterator[Api]:
    principal = Principal(organisation.org_id, f"user:{uuid4()}", "analyst", "user")
    token = InternalTokens(SECRET.encode()).mint(principal, "llm")
    headers = {INTERNAL_TOKEN_HEADER: token}
    async with (
        httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as http,
        AsyncOpenAI(
            base_url=f"{url}/v1", api_key="unused", default_headers=headers, max_retries=0
        ) as openai,
    ):
        yield Api(url, http, openai, organisation)
