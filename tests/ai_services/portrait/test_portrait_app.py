"""The whole portrait process: stores opened, announced, projecting in the background, stopping."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_services.portrait.app import create_service
from ai_services.portrait.projections import COLLECTION
from ai_services.portrait.vector import MODEL_VERSION
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.data_access.vectors.pgvector import PgVectors
from shared.serving.registry import instances
from tests.ai_services.portrait.calls import Call, Organisation, at
from tests.ai_services.portrait.test_portrait_api import SECRET, Api

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(
    tmp_path: Path, portrait_database_url: str, redis_url: str, graph_url: str
) -> dict[str, str]:
    return {
        "LOOMA_HOME": str(tmp_path),
        "DATABASE_URL": portrait_database_url,
        "REDIS_URL": redis_url,
        "GRAPH_URL": graph_url,
        "INTERNAL_TOKEN_SECRET": SECRET,
        "SHUTDOWN_SECONDS": "3",
    }


async def until(probe: Callable[[], Awaitable[Any]], seconds: float = 15) -> Any:
    """The first true result of `await probe()`."""
    async with asyncio.timeout(seconds):
        while not (result := await probe()):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)
    return result


async def test_what_is_computed_reaches_the_vector_store_by_itself(
    settings: dict[str, str], organisation: Organisation
) -> None:
    await organisation.write(Call("c1", "u1", at("2024-05-06 10:00"), rounds=4))
    vectors, cache = PgVectors(organisation.db), RedisCache(settings["REDIS_URL"])

    async def count() -> int:
        return await vectors.count(organisation.org_id, COLLECTION, MODEL_VERSION)

    async def announced() -> bool:
        return "portrait" in await instances(cache)

    service = create_service(Config.from_env(settings))
    async with (
        service.running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        api = Api(client, organisation)
        assert (await client.get("/ready")).json()["checks"] == {"postgres": "up", "redis": "up"}
        assert (await api.compute({})).status_code == 200
        assert await until(count) == 1
        await until(announced)
        assert "outbox_depth" in (await client.get("/metrics")).text
    assert not await announced()
    await cache.close()


async def test_a_redis_that_is_down_is_told_and_portraits_are_read(
    settings: dict[str, str], organisation: Organisation
) -> None:
    await organisation.write(Call("c1", "u1", at("2024-05-06 10:00")))
    down = settings | {"REDIS_URL": "redis://127.0.0.1:9/0"}
    async with (
        create_service(Config.from_env(down)).running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        api = Api(client, organisation)
        answer = await client.get("/ready")
        checks = answer.json()["checks"]
        assert (answer.status_code, checks["postgres"]) == (200, "up")
        assert checks["redis"] != "up"
        assert (await api.compute({})).status_code == 200
        assert (await api.data("portrait/u1"))["call_stats"]["total_calls"] == 1


async def test_the_process_serves_until_it_is_told_to_stop(
    settings: dict[str, str], free_port: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ai_services.portrait",
        env={**os.environ, **settings, "PORTRAIT_PORT": str(free_port)},
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{free_port}") as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(ready)
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0, errors.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
