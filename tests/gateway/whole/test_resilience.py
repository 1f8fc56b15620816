"""Requests while instances fail: breakers, retries, hedges, deadlines, shedding, canaries."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway.app import create_gateway
from gateway.timeouts import Timeouts
from gateway.upstream.policy import ServicePolicy
from shared.serving.service import BaseAIService, Call, Endpoint
from tests.gateway.conftest import gateway_config
from tests.gateway.issuer import FakeAuth
from tests.gateway.wire import (
    Behaviour,
    Received,
    Wire,
    always,
    answer,
    echo,
    exchange,
    served,
    until,
)
from tests.ports import free_port

ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/it/{id}", scope = "public", timeout = 10 },
  { method = "POST", path = "/it/{id}", scope = "public", timeout = 2 },
  { method = "GET", path = "/hedged", scope = "public", timeout = 3, hedge = 0.1 },
  { method = "GET", path = "/batch", scope = "public", priority = "batch" },
]
"""
CIRCUIT = r'circuit_state\{instance="static-1",service="enrichment"\}'
QUIET = "slow_start = { window_s = 0 }\n"
NO_BREAKER = "breaker = { consecutive = 100000, requests = 100000 }\n"


@asynccontextmanager
async def gateway_before(
    home: Path,
    wires: list[Wire],
    settings: str = "",
    versions: tuple[str, ...] = (),
    connect: float = 0.5,
    **env: str,
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway with the default policy (and `settings` on top) before these instances."""
    auth = FakeAuth()
    await auth.wire.start()
    quiet = QUIET if "health" in settings else f"{QUIET}health = false\n"
    (home / "routes.toml").write_text(f"{ROUTES}\n[services.enrichment]\n{quiet}{settings}")
    tags = versions or ("",) * len(wires)
    upstreams = ",".join(
        f"enrichment={wire.url}" + (f"#{tag}" if tag else "")
        for wire, tag in zip(wires, tags, strict=True)
    )
    config = gateway_config(
        home,
        GATEWAY_UPSTREAMS=f"auth={auth.wire.url},{upstreams}",
        GATEWAY_ROUTES=str(home / "routes.toml"),
        **env,
    )
    try:
        async with (
            create_gateway(config, Timeouts(connect=connect), ServicePolicy()).running(
                port=0
            ) as url,
            httpx.AsyncClient(
                base_url=url, timeout=20, limits=httpx.Limits(max_connections=None)
            ) as client,
        ):
            yield client
    finally:
        await auth.wire.stop()


async def metric(client: httpx.AsyncClient, pattern: str) -> float:
    page = (await client.get("/metrics")).text
    found = re.search(rf"^{pattern} (\S+)$", page, re.MULTILINE)
    return float(found[1]) if found else 0.0


def after(seconds: float, then: Behaviour) -> Behaviour:
    async def behave(received: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await then(received, writer)

    return behave


BAD = always(answer(503, b"{}"))


async def broken_off(_received: Received, writer: asyncio.StreamWriter) -> None:
    """Break off in the middle of the answer's head."""
    writer.write(b"HTTP/1.1 200 X\r\ncontent-le")
    writer.close()


async def status_of(url: str, number: int) -> int:
    """On a connection of its own: a thousand of them cost httpx's pool seconds."""
    request = f"GET /it/{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    raw = await exchange(url, request.encode(), wait=20)
    return int(raw.split(b" ", 2)[1])


async def test_a_breaker_opens_under_a_thousand_calls_and_closes_again(
    tmp_path: Path, redis_at: str
) -> None:
    settings = "breaker = { open_s = 0.6, jitter = 0, probe_s = 60 }\nretry = { retries = 0 }\n"
    async with (
        served(after(0.05, broken_off)) as wire,
        # Its thousand callers, the gateway and the service share one loop: connecting takes a while.
        gateway_before(tmp_path, [wire], settings, connect=10, REDIS_URL=redis_at) as client,
    ):
        url = str(client.base_url).rstrip("/")
        await client.get("/it/1")
        got = await asyncio.gather(*(status_of(url, n) for n in range(1000)))
        assert set(got) <= {502, 503}

        async def is_refused() -> bool:
            reached = len(wire.requests)
            refused = await client.get("/it/1")
            if refused.json().get("error") != "upstream_unavailable":
                return False  # the service's own answer: not open yet, or its pause was over
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert len(wire.requests) == reached
            return await metric(client, CIRCUIT) == 2

        async def is_half_open() -> bool:
            return await metric(client, CIRCUIT) == 1

        await until(is_refused, 10)
        recover = asyncio.Event()

        async def recovering(received: Received, writer: asyncio.StreamWriter) -> None:
            await recover.wait()
            await echo(received, writer)

        wire.behaviour = recovering
        await until(is_half_open, 10)
        wire.requests.clear()
        calls = [asyncio.create_task(status_of(url, n)) for n in range(1000)]

        async def one_is_there_and_no_more_to_come() -> bool:
            return len(wire.requests) >= 1 and sum(call.done() for call in calls) >= 999

        await until(one_is_there_and_no_more_to_come, 15)
        assert len(wire.requests) == 1  # it is half-open: each caller may send one
        recover.set()
        assert Counter([await call for call in calls]) == {200: 1, 503: 999}
        for _ in range(3):
            assert (await client.get("/it/1")).status_code == 200
        assert await metric(client, CIRCUIT) == 0


async def test_retries_add_a_fifth_at_most_to_a_full_outage(tmp_path: Path, redis_at: str) -> None:
    settings = NO_BREAKER
    async with (
        served(echo) as one,
        served(echo) as two,
        gateway_before(tmp_path, [one, two], settings, REDIS_URL=redis_at) as client,
    ):
        for number in range(50):
            await client.get(f"/it/{number}")
        one.behaviour = two.behaviour = BAD
        one.requests.clear()
        two.requests.clear()
        for _ in range(10):
            await asyncio.gather(*(client.get(f"/it/{n}") for n in range(30)))
        tries = len(one.requests) + len(two.requests)
        assert 300 <= tries <= 360
        assert await metric(client, r'gateway_retries_total\{service="enrichment"\}') > 0


async def test_what_may_be_repeated_is_asked_of_another_replica(
    tmp_path: Path, redis_at: str
) -> None:
    settings = f"{NO_BREAKER}budget = {{ ratio = 1.0 }}\noutliers = {{ errors = false, gateway_errors = false }}\n"
    async with (
        served(BAD) as bad,
        served(echo) as good,
        gateway_before(tmp_path, [bad, good], settings, REDIS_URL=redis_at) as client,
    ):
        for number in range(12):
            assert (await client.get(f"/it/{number}")).status_code == 200
            await client.get(f"/it/{number}")
        statuses = Counter()
        for number in range(20):
            got = await client.post(f"/it/{number}", content=b"once")
            statuses[got.status_code] += 1
        posted = [one for one in bad.requests if one.method == "POST"]
        assert statuses[503] == len(posted)  # each was sent once
        good.requests.clear()
        for number in range(3):
            key = {"Idempotency-Key": f"key-{number}"}
            got = await client.post(f"/it/{number}", content=b"twice", headers=key)
            assert got.status_code == 200, number
            assert good.requests[-1].body == b"twice"


async def test_an_instance_that_fails_in_a_row_is_ejected(tmp_path: Path, redis_at: str) -> None:
    settings = NO_BREAKER
    async with (
        served(always(answer(500, b"{}"))) as bad,
        served(echo) as good,
        gateway_before(tmp_path, [bad, good], settings, REDIS_URL=redis_at) as client,
    ):
        for number in range(60):
            await client.get(f"/it/{number}")
        assert len(bad.requests) == 5
        assert await metric(client, r'gateway_ejections_total\{service="enrichment"\}') == 1


async def test_a_deadline_goes_on_and_is_kept(tmp_path: Path, redis_at: str) -> None:
    async with (
        served(echo) as wire,
        gateway_before(tmp_path, [wire], REDIS_URL=redis_at) as client,
    ):
        await client.get("/it/1", headers={"X-Deadline-Ms": "700"})
        assert 500 < int(wire.last.header("x-deadline-ms") or "") <= 700
        await client.get("/it/1")
        assert 9500 < int(wire.last.header("x-deadline-ms") or "") <= 10_000
        wire.behaviour = after(5, echo)
        started = time.monotonic()
        got = await client.get("/it/1", headers={"X-Deadline-Ms": "200"})
        assert (got.status_code, got.json()["error"]) == (504, "upstream_timeout")
        assert time.monotonic() - started < 1
        got = await client.get("/it/1", headers={"X-Deadline-Ms": "soon"})
        assert got.status_code == 400
        assert (await client.get("/it/1", headers={"X-Deadline-Ms": "0"})).status_code == 504


async def test_a_slow_answer_is_hedged(tmp_path: Path, redis_at: str) -> None:
    async with served(after(2, echo)) as slow, served(echo) as quick:
        settings = f"{NO_BREAKER}budget = {{ ratio = 1.0 }}\n"
        async with gateway_before(tmp_path, [slow, quick], settings, REDIS_URL=redis_at) as client:
            for _ in range(8):
                started = time.monotonic()
                assert (await client.get("/hedged")).status_code == 200
                assert time.monotonic() - started < 1.5
            hedges = await metric(client, r'gateway_hedges_total\{service="enrichment"\}')
            assert hedges == len(slow.requests) > 0


async def test_too_much_at_once_is_turned_away_batch_work_first(
    tmp_path: Path, redis_at: str
) -> None:
    async with (
        served(after(0.3, echo)) as wire,
        gateway_before(
            tmp_path, [wire], "shedding = { limit = 10, caller_share = 1 }\n", REDIS_URL=redis_at
        ) as client,
    ):
        batch = await asyncio.gather(*(client.get("/batch") for _ in range(20)))
        assert Counter(one.status_code for one in batch) == {200: 5, 503: 15}
        both = await asyncio.gather(*(client.get(f"/it/{n}") for n in range(20)))
        assert Counter(one.status_code for one in both) == {200: 10, 503: 10}
        refused = next(one for one in both if one.status_code == 503)
        assert int(refused.headers["retry-after"]) >= 1


@pytest.mark.parametrize("balance", ["least_request", "ewma", "weighted", "hash"])
async def test_every_policy_reaches_healthy_instances(
    tmp_path: Path, redis_at: str, balance: str
) -> None:
    async with served(echo) as one, served(echo) as two:
        settings = f'balance = "{balance}"\n'
        async with gateway_before(tmp_path, [one, two], settings, REDIS_URL=redis_at) as client:
            for number in range(40):
                assert (await client.get(f"/it/{number}")).status_code == 200
            seen = sorted([len(one.requests), len(two.requests)])
            assert seen == [0, 40] if balance == "hash" else seen[0] > 0


async def test_a_canary_gets_its_share(tmp_path: Path, redis_at: str) -> None:
    settings = 'versions = { "1" = 90, "2" = 10 }\n'
    async with served(echo) as one, served(echo) as two, served(echo) as canary:
        wires = [one, two, canary]
        async with gateway_before(
            tmp_path, wires, settings, ("1", "1", "2"), REDIS_URL=redis_at
        ) as client:
            for number in range(600):
                await client.get(f"/it/{number}")
            assert 25 <= len(canary.requests) <= 110
            assert min(len(one.requests), len(two.requests)) > 180


async def test_active_checks_take_an_ill_instance_out_and_back(
    tmp_path: Path, redis_at: str
) -> None:
    ill = asyncio.Event()

    async def moody(received: Received, writer: asyncio.StreamWriter) -> None:
        if received.path == "/ready" and ill.is_set():
            writer.write(answer(503, b"{}"))
        else:
            await echo(received, writer)

    def asked(wire: Wire) -> int:
        return sum(one.path.startswith("/it/") for one in wire.requests)

    settings = "health = { interval_s = 0.1, fall = 2, rise = 2 }\n"
    async with (
        served(moody) as one,
        served(echo) as two,
        gateway_before(tmp_path, [one, two], settings, REDIS_URL=redis_at) as client,
    ):
        ill.set()

        async def out() -> bool:
            before = asked(one)
            await asyncio.gather(*(client.get(f"/it/{n}") for n in range(20)))
            return asked(one) == before

        await until(out, 8)
        ill.clear()

        async def back() -> bool:
            return not await out()

        await until(back, 8)


@pytest.mark.slow
async def test_twenty_rolling_restarts_fail_no_request(tmp_path: Path, redis_at: str) -> None:
    """Two real services behind the gateway are stopped and started again in turns, under load."""
    times = 20
    ports = [free_port(), free_port()]
    stops = [asyncio.Event(), asyncio.Event()]
    stopped = [asyncio.Event(), asyncio.Event()]

    async def serve(one: int) -> None:
        while True:
            service = BaseAIService(
                "enrichment",
                gateway_config(tmp_path, REDIS_URL=redis_at),
                endpoints=ENDPOINTS,
                open_state=nothing,
            )
            async with service.running(port=ports[one]):
                stopped[one].clear()
                await stops[one].wait()
            stopped[one].set()
            stops[one].clear()
            await asyncio.sleep(0.1)

    serving = [asyncio.create_task(serve(one)) for one in (0, 1)]
    await asyncio.sleep(0.3)
    wires = [Wire(echo, url=f"http://127.0.0.1:{port}") for port in ports]
    statuses: Counter[int] = Counter()
    done = asyncio.Event()
    # Checks as much faster than the default as these restarts are faster than real ones.
    checks = "health = { interval_s = 0.1 }\n"
    async with gateway_before(tmp_path, wires, checks, REDIS_URL=redis_at) as client:

        async def load(worker: int) -> None:
            number = 0
            while not done.is_set():
                number += 1
                got = await client.get(f"/it/{worker}-{number}")
                statuses[got.status_code] += 1

        async def both_up() -> bool:
            services = (await client.get("/health")).json()["services"]
            return [one["status"] for one in services["enrichment"]["instances"]] == ["up", "up"]

        clients = [asyncio.create_task(load(worker)) for worker in range(8)]
        for turn in range(times):
            await until(both_up, 10)  # who restarts in turns waits for the one before
            await asyncio.sleep(0.3)  # so long its check may take to tell the pool
            stops[turn % 2].set()
            async with asyncio.timeout(20):
                await stopped[turn % 2].wait()
        done.set()
        await asyncio.gather(*clients)
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    assert set(statuses) == {200}, statuses
    assert statuses[200] > 50 * times


async def nothing(_service: BaseAIService[None], _stack: AsyncExitStack) -> None:
    return None


async def item(_call: Call[None]) -> str:
    await asyncio.sleep(0.005)
    return "done"


ENDPOINTS = [Endpoint("GET", "/it/{id}", item, "public", "An item")]
