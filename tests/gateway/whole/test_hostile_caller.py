"""What one organisation is answered takes the service from nobody else, and outages end in time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from gateway.app import create_gateway
from gateway.timeouts import Timeouts
from tests.gateway.conftest import gateway_config
from tests.gateway.issuer import FakeAuth
from tests.gateway.whole.test_resilience import CIRCUIT, metric
from tests.gateway.wire import Received, Wire, answer, echo, json_answer, served, until

ROUTES = """
[enrichment]
routes = [{ method = "GET", path = "/it/{id}", scope = "calls:read", timeout = 1 }]
"""
ANSWERS = {
    "/it/500": answer(500, b"{}"),
    "/it/502": answer(502, b"{}"),
    "/it/503": answer(503, b"{}"),
    "/it/504": answer(504, b"{}"),
}


class Service:
    """Answers what the path asks for; `away` says of itself that it can't, `gone` says nothing."""

    def __init__(self) -> None:
        self.away = self.gone = False

    async def __call__(self, received: Received, writer: asyncio.StreamWriter) -> None:
        if self.gone:
            writer.close()
        elif received.path == "/ready":
            writer.write(answer(503 if self.away else 200, b"{}"))
        elif self.away:
            writer.write(json_answer({"error": "store_unavailable"}, 503, **{"retry-after": "2"}))
        elif received.path == "/it/slow":
            await asyncio.sleep(30)
        elif received.path in ANSWERS:
            writer.write(ANSWERS[received.path])
        else:
            await echo(received, writer)


@asynccontextmanager
async def before(
    home: Path, redis_at: str, *wires: Wire, settings: str = ""
) -> AsyncIterator[tuple[httpx.AsyncClient, FakeAuth]]:
    auth = FakeAuth()
    await auth.wire.start()
    (home / "routes.toml").write_text(ROUTES + settings)
    upstreams = ",".join(f"enrichment={wire.url}" for wire in wires)
    config = gateway_config(
        home,
        REDIS_URL=redis_at,
        GATEWAY_UPSTREAMS=f"auth={auth.wire.url},{upstreams}",
        GATEWAY_ROUTES=str(home / "routes.toml"),
    )
    try:
        async with (
            create_gateway(config, Timeouts(connect=0.5)).running(port=0) as url,
            httpx.AsyncClient(base_url=url, timeout=20) as client,
        ):
            yield client, auth
    finally:
        await auth.wire.stop()


def organisation(auth: FakeAuth) -> dict[str, str]:
    return auth.bearer(org=str(uuid4()), sub=f"user:{uuid4()}")


@pytest.mark.parametrize("replicas", [1, 2])
async def test_another_organisation_notices_nothing(
    tmp_path: Path, redis_at: str, replicas: int
) -> None:
    service = Service()
    async with (
        served(service) as one,
        served(service) as two,
        before(tmp_path, redis_at, *(one, two)[:replicas]) as (client, auth),
    ):
        hostile, other = organisation(auth), organisation(auth)

        async def attack(path: str) -> int:
            return (await client.get(path, headers=hostile)).status_code

        seen: Counter[int] = Counter()
        slow = [asyncio.create_task(attack("/it/slow")) for _ in range(30)]
        while not (all(task.done() for task in slow) and seen.total() > 40):
            quick = [asyncio.create_task(attack(path)) for path in [*ANSWERS, *["/it/500"] * 3]]
            for _ in range(3):
                seen[(await client.get("/it/1", headers=other)).status_code] += 1
            assert {await task for task in quick} == {500, 502, 503, 504}
        assert {await task for task in slow} == {504}
        assert set(seen) == {200}
        assert await metric(client, CIRCUIT) == 0


async def test_failures_that_several_organisations_see_open_the_circuit(
    tmp_path: Path, redis_at: str
) -> None:
    async with served(Service()) as wire, before(tmp_path, redis_at, wire) as (client, auth):
        for who in [organisation(auth) for _ in range(6)]:
            assert (await client.get("/it/500", headers=who)).status_code == 500
        got = await client.get("/it/1", headers=organisation(auth))
        assert (got.status_code, got.json()["error"]) == (503, "upstream_unavailable")
        assert 1 <= int(got.headers["retry-after"]) <= 2  # the first pause is short


async def test_a_service_whose_store_is_away_answers_as_soon_as_it_can(
    tmp_path: Path, redis_at: str
) -> None:
    service = Service()
    async with served(service) as wire, before(tmp_path, redis_at, wire) as (client, auth):
        callers = [organisation(auth) for _ in range(4)]
        service.away = True
        for _ in range(30):
            for who in callers:
                got = await client.get("/it/1", headers=who)
                assert got.json() == {"error": "store_unavailable"}  # its own word, not ours
        service.away = False
        for who in callers:
            assert (await client.get("/it/1", headers=who)).status_code == 200


async def test_a_circuit_closes_as_soon_as_the_check_is_answered(
    tmp_path: Path, redis_at: str
) -> None:
    service = Service()
    settings = "[services.enrichment]\nbreaker = { open_s = 600, longest_s = 600 }\n"
    async with (
        served(service) as wire,
        before(tmp_path, redis_at, wire, settings=settings) as (client, auth),
    ):
        who = organisation(auth)
        service.gone = True

        async def is_open() -> bool:
            await client.get("/it/1", headers=who)
            return await metric(client, CIRCUIT) == 2

        await until(is_open, 10)
        service.gone = False

        async def is_back() -> bool:
            return (await client.get("/it/1", headers=who)).status_code == 200

        await until(is_back, 20)  # its own pause is at least 300 s
        assert await metric(client, CIRCUIT) == 0
