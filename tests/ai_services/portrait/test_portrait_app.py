"""The whole portrait process: stores opened, announced, projecting in the background, stopping."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_services.portrait.app import create_service
from ai_services.portrait.counting.count import catch_up
from ai_services.portrait.projections import COLLECTION
from ai_services.portrait.vector import MODEL_VERSION
from shared.config import Config
from shared.data_access.cache.redis import RedisCache
from shared.data_access.vectors.pgvector import PgVectors
from shared.serving.registry import instances
from tests.ai_services.portrait.calls import Call, Organisation, at
from tests.ai_services.portrait.counting.oracle import assert_counted
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


async def test_a_late_correction_shows_within_seconds_without_anybody_asking(
    settings: dict[str, str], organisation: Organisation
) -> None:
    call = Call("c1", "u1", at("2024-05-06 10:00"), rounds=4, customer_id="k1")
    service = create_service(Config.from_env(settings))
    async with (
        service.running(port=0) as url,
        httpx.AsyncClient(base_url=url, timeout=20) as client,
    ):
        api = Api(client, organisation)

        async def shown(path: str, **query: str) -> Any:
            answer = await api.get(path, **query)
            found = answer.json().get("data") or {}
            return answer.status_code, found.get("call_stats", {}).get("total_rounds")

        async def all_show(key: dict[str, str], rounds: int | None) -> bool:
            # A customer who has calls in other periods has zeros in this one.
            wanted = ((404, None), (200, 0)) if rounds is None else ((200, rounds),)
            return all(
                [
                    await shown(path, period_type=kind, period_key=period) in wanted
                    for path in ("portrait/u1", "portrait/customers/k1")
                    for kind, period in key.items()
                ]
            )

        may = {"week": "2024-W19", "month": "2024-05", "quarter": "2024-Q2"}
        july = {"week": "2024-W28", "month": "2024-07", "quarter": "2024-Q3"}
        await organisation.write(call)
        await until(lambda: all_show(may, 4), 5)
        await organisation.write(replace(call, started_at=at("2024-07-08 10:00"), rounds=5))
        await until(lambda: all_show(july, 5), 5)
        assert await all_show(may, None)
        await organisation.delete("c1")
        await until(lambda: all_show(july, None), 5)
        told = (await client.get("/metrics")).text
        assert "portrait_freshness_seconds 0.0" in told


async def test_a_time_zone_is_followed(
    settings: dict[str, str], organisation: Organisation
) -> None:
    await organisation.write(Call("c1", "u1", at("2024-05-01 02:00"), customer_id="k1"))

    async def in_april() -> bool:
        return {key for _, key, _ in await organisation.stored()} == {
            "2024-W18", "2024-04", "2024-Q2",
        }  # fmt: skip

    async def of_hours() -> Any:
        async with organisation.db.tenant(organisation.org_id) as tx:
            return await tx.fetchval(
                "SELECT hour FROM portrait_hour WHERE dimension = 'user' AND calls > 0"
            ) == 20 and not await tx.fetchval("SELECT count(*) FROM portrait_change")

    await catch_up(lambda: organisation.db.tenant(organisation.org_id), organisation.org_id)
    async with organisation.db.system() as tx:
        await tx.execute(
            "UPDATE organisation SET timezone = 'Europe/Berlin' WHERE org_id = $1",
            organisation.org_id,
        )
    async with create_service(Config.from_env(settings)).running(port=0):
        await until(in_april)
        await until(of_hours)


@pytest.mark.slow
async def test_a_service_that_is_killed_while_it_counts_loses_and_doubles_nothing(
    settings: dict[str, str], organisation: Organisation, free_port: int
) -> None:
    calls = [
        Call(f"c{n}", f"u{n % 50}", at("2024-05-06 10:00"), rounds=n % 9, customer_id=f"k{n}")
        for n in range(20_000)
    ]
    await organisation.write(*calls)

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ai_services.portrait", cwd=ROOT,
            env={**os.environ, **settings, "PORTRAIT_PORT": str(free_port)},
            stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip

    async def left() -> int:
        async with organisation.db.tenant(organisation.org_id) as tx:
            return await tx.fetchval("SELECT count(*) FROM portrait_change")  # type: ignore[no-any-return]

    async def begun() -> bool:
        return await left() < len(calls)

    async def done() -> bool:
        return await left() == 0

    process = await start()
    await until(begun, 60)
    process.kill()
    await process.wait()
    process = await start()
    try:
        await until(done, 60)
    finally:
        process.kill()
        await process.wait()
    await assert_counted(organisation)
