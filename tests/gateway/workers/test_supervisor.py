"""Several gateway processes on one port are, seen from outside, one gateway."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from gateway.workers.supervisor import run_folder
from shared.config import process_environment
from tests.gateway.conftest import SECRET
from tests.gateway.issuer import FakeAuth
from tests.gateway.wire import Received, Wire, echo, json_answer, until

WORKERS = 3
ROUTES = """
[enrichment]
routes = [{ method = "GET", path = "/circuit/{id}", scope = "public" }]
[services.enrichment]
breaker = { open_s = 2, jitter = 0 }
outliers = { errors = false, gateway_errors = false }
retry = { retries = 0 }
slow_start = { window_s = 0 }
health = false

[portrait]
routes = [{ method = "GET", path = "/pool/{id}", scope = "public" }]
[services.portrait]
breaker = { consecutive = 100000, requests = 100000 }
retry = { retries = 0 }
slow_start = { window_s = 0 }
health = { interval_s = 0.2, fall = 2 }

[limits]
public = ["all: address 100000/s"]
"""


async def bad(_received: Received, writer: Any) -> None:
    """Break off in the middle of the answer's head."""
    writer.write(b"HTTP/1.1 200 X\r\ncontent-le")
    writer.close()


@dataclass
class Port:
    client: httpx.AsyncClient
    parent: Process
    auth: FakeAuth
    circuit: Wire
    pool: list[Wire]
    run: Path
    log: Path

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Over a connection of its own: it reaches any worker."""
        return await self.client.get(path, headers=headers)

    async def many(self, path: str, times: int) -> Counter[int]:
        got = await asyncio.gather(*(self.get(f"{path}/{n}") for n in range(times)))
        return Counter(one.status_code for one in got)

    async def metric(self, pattern: str) -> float:
        found = re.findall(rf"^{pattern} (\S+)$", (await self.get("/metrics")).text, re.MULTILINE)
        return sum(float(one) for one in found)

    async def view(self, name: str) -> Any:
        headers = self.auth.bearer("admin")
        return (await self.get(f"/api/v1/gateway/{name}", **headers)).json()["data"]

    async def circuit_state(self) -> str:
        return (await self.service("enrichment"))["instances"][0]["circuit"]["state"]

    async def service(self, name: str) -> dict[str, Any]:
        pools = (await self.view("upstreams"))["services"]
        return next(one for one in pools if one["service"] == name)

    def workers(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.parent.pid).children()]


@pytest.fixture(scope="module")
async def port(tmp_path_factory: pytest.TempPathFactory, redis_at: str) -> AsyncIterator[Port]:
    home = tmp_path_factory.mktemp("workers")
    (home / "routes.toml").write_text(ROUTES)
    auth, circuit, pool = FakeAuth(), Wire(echo), [Wire(echo), Wire(echo)]
    for wire in (auth.wire, circuit, *pool):
        await wire.start()
    upstreams = [("auth", auth.wire), ("enrichment", circuit), *(("portrait", one) for one in pool)]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    log = home / "log"
    with log.open("wb") as written:
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway"),
            stdout=written,
            stderr=written,
            env=process_environment(
                LOOMA_HOME=str(home),
                INTERNAL_TOKEN_SECRET=SECRET,
                REDIS_URL=redis_at,
                GATEWAY_PORT=str(number),
                GATEWAY_WORKERS=str(WORKERS),
                GATEWAY_ROUTES=str(home / "routes.toml"),
                GATEWAY_UPSTREAMS=",".join(f"{name}={wire.url}" for name, wire in upstreams),
                SHUTDOWN_SECONDS="2",
                LOG_LEVEL="error",
            ),
        )
    run = home / "run" / f"gateway-{number}"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{number}", timeout=10, limits=limits)
    running = Port(client, parent, auth, circuit, pool, run, log)

    async def all_are_there() -> bool:
        try:
            said = (await running.view("upstreams"))["workers"]
        except (httpx.HTTPError, KeyError):
            assert parent.returncode is None
            return False
        return bool(said["heard"] == WORKERS)

    workers: list[int] = []
    try:
        await until(all_are_there, 30)
        yield running
        workers = running.workers()
    finally:
        await client.aclose()
        if parent.returncode is None:
            parent.terminate()
        code = await asyncio.wait_for(parent.wait(), 15)
        for wire in (auth.wire, circuit, *pool):
            await wire.stop()
    assert code == 0
    assert not [pid for pid in workers if psutil.pid_exists(pid)]
    assert [path.name for path in run.iterdir()] == ["lock"]


async def test_operators_see_all_workers_whichever_they_ask(port: Port) -> None:
    for name in ("routes", "upstreams", "limits"):
        for _ in range(4):
            workers = (await port.view(name))["workers"]
            assert (workers["known"], workers["heard"]) == (WORKERS, WORKERS)
    assert (await port.view("routes"))["workers"]["same_table"] == WORKERS
    assert (await port.view("limits"))["workers"]["alone"] == 0


async def test_load_and_counts_of_all_are_added_up(port: Port) -> None:
    release, there = asyncio.Event(), asyncio.Semaphore(0)

    async def hold(received: Received, writer: Any) -> None:
        there.release()
        await release.wait()
        await echo(received, writer)

    counted = r'http_requests_total\{method="GET",route="/circuit/\{id\}",service="gateway",status="200"\}'
    before = await port.metric(counted)
    port.circuit.behaviour = hold
    asking = asyncio.create_task(port.many("/circuit", 24))
    for _ in range(24):
        await there.acquire()
    assert (await port.service("enrichment"))["in_flight"] == 24
    in_flight = r'gateway_upstream_in_flight\{service="enrichment"\}'

    async def all_in_flight() -> bool:  # a file is not written more often than every 0.2 s
        return await port.metric(in_flight) == 24

    await until(all_in_flight, 5)
    release.set()
    assert await asking == {200: 24}
    port.circuit.behaviour = echo

    async def counted_all() -> bool:
        return await port.metric(counted) == before + 24 and await port.metric(in_flight) == 0

    await until(counted_all, 5)
    assert "worker=" not in (await port.get("/metrics")).text


async def test_a_circuit_opens_probes_and_closes_for_all_workers(port: Port) -> None:
    wire = port.circuit
    wire.behaviour = bad
    wire.requests.clear()
    failed = 0
    while (await port.get("/circuit/1")).status_code == 502:
        failed += 1
    # Each worker counts for itself, and one that has seen enough tells the others.
    assert 5 <= failed <= WORKERS * 4 + 1
    await asyncio.sleep(0.02)  # for the message
    reached = len(wire.requests)
    assert await port.many("/circuit", 60) == {503: 60}
    assert len(wire.requests) == reached

    release = asyncio.Event()

    async def slow(received: Received, writer: Any) -> None:
        await release.wait()
        await bad(received, writer)

    wire.behaviour = slow

    async def half_open() -> bool:
        return await port.circuit_state() == "half_open"

    await until(half_open, 15)
    wire.requests.clear()
    asking = asyncio.create_task(port.many("/circuit", 90))

    async def others_refused() -> bool:
        done = await port.metric(r'http_requests_total\{.*"/circuit/.*status="503"\}')
        return done >= 60 + 90 - 3

    await until(others_refused, 5)
    assert len(wire.requests) <= 3  # `probes`, in all workers together
    release.set()
    assert (await asking)[503] >= 87
    assert await port.circuit_state() == "open"
    assert len(wire.requests) <= 3

    wire.behaviour = echo
    await until(half_open, 15)
    for _ in range(3):
        assert (await port.get("/circuit/1")).status_code == 200
    await asyncio.sleep(0.02)
    assert await port.circuit_state() == "closed"
    assert await port.many("/circuit", 60) == {200: 60}


async def test_an_ejected_instance_that_comes_back_gets_requests_at_once(port: Port) -> None:
    """30 s is how long it would stay out; its process is another one now."""
    gone, there = port.pool

    async def ready(received: Received, writer: Any) -> None:
        writer.write(json_answer({}, 200 if received.path == "/ready" else 500))
        await writer.drain()

    async def out() -> list[bool]:
        seen = (await port.service("portrait"))["instances"]
        return [bool(one["ejected_for_s"]) for one in seen]

    gone.behaviour = ready
    while not any(await out()):
        await port.get("/pool/1")
    assert await out() == [True, False]
    there.requests.clear()
    assert await port.many("/pool", 40) == {200: 40}
    assert len([one for one in there.requests if one.path != "/ready"]) == 40

    old = gone.url.rpartition(":")[2]
    await gone.stop()

    async def noticed() -> bool:
        return not (await port.service("portrait"))["instances"][0]["healthy"]

    await until(noticed, 5)
    gone.behaviour = echo
    await gone.start(int(old))

    async def back() -> bool:
        seen = (await port.service("portrait"))["instances"][0]
        return bool(seen["healthy"]) and not seen["ejected_for_s"]

    assert await until(back, 5) < 3
    gone.requests.clear()
    assert await port.many("/pool", 60) == {200: 60}
    assert [one for one in gone.requests if one.path != "/ready"]


async def test_one_worker_checks_the_instances_for_all(port: Port) -> None:
    port.pool[1].requests.clear()
    await asyncio.sleep(1.0)
    checks = [one for one in port.pool[1].requests if one.path == "/ready"]
    assert 3 <= len(checks) <= 8  # every 0.2 s, give or take; three workers would make 15


async def test_a_worker_that_is_killed_leaves_its_counts_and_its_successor_learns(
    port: Port,
) -> None:
    counted = r'http_requests_total\{method="GET",route="\(unmatched\)".*\}'
    seen = [await port.metric(counted)]
    await port.many("/nowhere", 60)

    async def counted_all() -> bool:
        seen.append(await port.metric(counted))
        return seen[-1] == seen[0] + 60

    await until(counted_all, 5)
    # What is open now is what the successor has to learn.
    port.circuit.behaviour = bad
    while (await port.get("/circuit/1")).status_code == 502:
        pass
    before = port.workers()
    for pid in before[:2]:
        os.kill(pid, signal.SIGKILL)
        victim = psutil.Process(pid) if psutil.pid_exists(pid) else None
        if victim is not None:
            await asyncio.to_thread(psutil.wait_procs, [victim], 5)

    async def again() -> bool:
        try:
            seen.append(await port.metric(counted))
            heard = (await port.view("upstreams"))["workers"]["heard"]
        except httpx.HTTPError:
            return False
        return bool(heard == WORKERS)

    await until(again, 20)
    assert len(set(port.workers()) - set(before)) == 2
    said = [line for line in port.log.read_text().splitlines() if "is started again" in line]
    assert len(said) == 2
    assert all(re.search(r"in_s\W+0\.0\b", line) for line in said)  # at once
    assert seen == sorted(seen)
    assert seen[-1] == seen[0] + 60
    port.circuit.behaviour = echo
    port.circuit.requests.clear()

    async def closed() -> bool:
        return (await port.get("/circuit/1")).status_code == 200

    await until(closed, 15)


async def test_a_worker_that_hangs_holds_no_view_up(port: Port) -> None:
    hanging = port.workers()[0]
    os.kill(hanging, signal.SIGSTOP)
    try:

        async def answered() -> bool:  # one request in three waits at the worker that hangs
            try:
                async with asyncio.timeout(1):
                    workers = (await port.view("upstreams"))["workers"]
                    page = await port.get("/metrics")
            except TimeoutError:
                return False
            assert workers == {"known": WORKERS, "heard": WORKERS - 1}
            return page.status_code == 200

        await until(answered, 10)
    finally:
        os.kill(hanging, signal.SIGCONT)


def test_folders_of_processes_that_are_gone_are_cleared_away(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "worker-1.json").write_text("[]")
    (tmp_path / "worker-1.prom").write_text("")
    with run_folder(tmp_path) as one:
        assert one.stat().st_mode & 0o777 == 0o700
        (one / "worker-1.json").write_text("[]")
        with run_folder(tmp_path) as other:
            assert one != other
            assert {path.name for path in tmp_path.iterdir()} == {"lock", one.name, other.name}
        assert (one / "worker-1.json").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"lock"}
