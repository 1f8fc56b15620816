"""A changed route table is taken by every process, a wrong one by none; nothing under way breaks."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import redis.asyncio as aioredis

from looma_cli import exit_codes
from shared.config import process_environment
from shared.embedded.stores import EmbeddedStores
from shared.gateway_reload import ASK, LAST
from tests.gateway.gateway_process import GatewayProcess, gateway_process
from tests.gateway.wire import Received, Wire, echo, exchange, served, until

OLD = """
[enrichment]
routes = [
  { method = "GET", path = "/old", scope = "public" },
  { method = "GET", path = "/waits", scope = "public" },
  { method = "GET", path = "/flows", scope = "public", stream = true },
]
"""
NEW = """
[enrichment]
routes = [
  { method = "GET", path = "/new", scope = "public" },
  { method = "GET", path = "/newer", scope = "public" },
]
"""
WRONG = NEW.replace('"/newer"', '"/new"')
ASKED = 24  # connections: that one of two workers gets none of them is a matter of 2^-23


@dataclass
class Reloaded:
    gateway: GatewayProcess
    table: Path
    workers: int
    service: Wire
    go_on: asyncio.Event

    async def statuses(self, path: str) -> Counter[int]:
        """As asked on many connections, so that every worker is among those that answer."""
        got: Counter[int] = Counter()
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        for _ in range(ASKED):
            raw = await exchange(self.gateway.url, request)
            got[int(raw.split(b" ", 2)[1])] += 1
        return got

    async def serves(self, *, old: int, new: int) -> None:
        """Nothing but these statuses."""
        assert await self.statuses("/old") == {old: ASKED}
        assert await self.statuses("/new") == {new: ASKED}

    async def hang_up(self) -> None:
        """SIGHUP, and wait until every process has done what it does then."""
        done = self.gateway.said("route table ")
        self.gateway.tell(signal.SIGHUP)
        await self.gateway.says("route table ", done + self.workers)


async def reload_command(home: Path, redis_url: str) -> tuple[int, list[str]]:
    """`looma gateway reload`: its exit code and lines."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "looma_cli.main", "gateway", "reload"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=process_environment(LOOMA_HOME=str(home), REDIS_URL=redis_url, COLUMNS="500"),
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines()


@asynccontextmanager
async def reloading(home: Path, redis_url: str, port: int, workers: int) -> AsyncIterator[Reloaded]:
    table, go_on = home / "routes.toml", asyncio.Event()

    async def answer(received: Received, writer: asyncio.StreamWriter) -> None:
        if received.path == "/flows":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await go_on.wait()
            writer.write(b"4\r\nlast\r\n0\r\n\r\n")
            return
        if received.path == "/waits":
            await go_on.wait()
        await echo(received, writer)

    async with (
        served(answer) as wire,
        gateway_process(
            home,
            port,
            workers,
            routes=OLD,
            upstreams={"enrichment": wire.url},
            REDIS_URL=redis_url,
        ) as gateway,
    ):
        yield Reloaded(gateway, table, workers, wire, go_on)


@pytest.fixture
async def own_redis() -> AsyncIterator[str]:
    """A Redis that no other gateway listens to: messages know no databases."""
    with tempfile.TemporaryDirectory(prefix="looma-test-") as home:
        stores = EmbeddedStores(Path(home), which=frozenset({"redis"}))
        try:
            yield (await stores.start()).redis_url
        finally:
            await stores.stop()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_a_hangup_lets_every_process_take_the_new_table_or_keep_the_old(
    tmp_path: Path, redis_at: str, free_port: int, workers: int
) -> None:
    async with reloading(tmp_path, redis_at, free_port, workers) as it:
        await it.serves(old=200, new=404)
        it.table.write_text(NEW)
        await it.serves(old=200, new=404)  # a file that changes is not yet asked for
        await it.hang_up()
        await it.serves(old=404, new=200)
        it.table.write_text(WRONG)
        await it.hang_up()
        assert it.gateway.said("route table not reloaded") == workers
        assert it.gateway.said("duplicate route GET /new") == workers
        await it.serves(old=404, new=200)
        it.table.write_text(OLD)
        await it.hang_up()
        await it.serves(old=200, new=404)


@pytest.mark.slow
async def test_a_wrong_table_takes_no_gateway_down_that_loses_a_worker(
    tmp_path: Path, redis_at: str, free_port: int
) -> None:
    async with reloading(tmp_path, redis_at, free_port, 2) as it:
        it.table.write_text(WRONG)
        parent = psutil.Process(it.gateway.process.pid)
        os.kill(parent.children()[0].pid, signal.SIGKILL)
        await it.gateway.says("duplicate route GET /new")  # what is started in its place refuses it
        await it.gateway.says('"code": 2')
        await it.serves(old=200, new=404)
        it.table.write_text(NEW)
        await it.gateway.says('"serving"', 3)
        await it.hang_up()
        await it.serves(old=404, new=200)


async def test_what_is_under_way_ends_as_it_began(
    tmp_path: Path, redis_at: str, free_port: int
) -> None:
    async with (
        reloading(tmp_path, redis_at, free_port, 1) as it,
        httpx.AsyncClient(base_url=it.gateway.url, timeout=10) as client,
        client.stream("GET", "/flows") as stream,
    ):
        parts = stream.aiter_raw()
        assert await anext(parts) == b"first"
        waiting = asyncio.create_task(client.get("/waits"))

        async def asked() -> bool:
            return it.service.last.path == "/waits"

        await until(asked, 10)
        it.table.write_text(NEW)
        await it.hang_up()
        assert (await client.get("/waits")).status_code == 404
        it.go_on.set()
        got = await waiting
        assert (got.status_code, got.json()["data"]["target"]) == (200, "/waits")
        assert b"".join([part async for part in parts]) == b"last"


async def test_the_command_asks_every_process_and_tells_what_each_did(
    tmp_path: Path, own_redis: str, free_port: int
) -> None:
    async with reloading(tmp_path, own_redis, free_port, 2) as it:
        it.table.write_text(NEW)
        code, lines = await reload_command(tmp_path, own_redis)
        assert code == exit_codes.OK
        assert len(lines) == 2
        assert all(line.startswith("Gateway ") and line.endswith(": 2 routes.") for line in lines)
        await it.serves(old=404, new=200)
        it.table.write_text(WRONG)
        code, lines = await reload_command(tmp_path, own_redis)
        assert code == exit_codes.FAILED
        assert len(lines) == 2
        assert all(
            "keeps its table: " in line and "duplicate route GET /new" in line for line in lines
        )
        await it.serves(old=404, new=200)


async def test_the_command_says_that_nobody_answered(tmp_path: Path, own_redis: str) -> None:
    code, lines = await reload_command(tmp_path, own_redis)
    assert code == exit_codes.FAILED
    assert lines == ["No gateway answered. Is one running on this Redis?"]


async def all_listen(redis_url: str, gateways: int) -> None:
    """Wait until so many have subscribed: they serve a moment before."""
    async with aioredis.from_url(redis_url) as client:

        async def listen() -> bool:
            ((_, number),) = await client.pubsub_numsub(ASK)
            return bool(number == gateways)

        await until(listen, 10)


@pytest.mark.slow
async def test_what_was_asked_while_it_could_not_hear_is_done_when_it_can(
    tmp_path: Path, own_redis: str, free_port: int
) -> None:
    async with reloading(tmp_path, own_redis, free_port, 1) as it:
        await all_listen(own_redis, 1)
        it.table.write_text(NEW)
        async with aioredis.from_url(own_redis) as client:
            await client.set(LAST, b"asked")  # and its message was sent to nobody
        await it.gateway.says("route table reloaded")
        await it.serves(old=404, new=200)


@pytest.mark.slow
async def test_the_command_tells_of_a_gateway_that_hangs(
    tmp_path: Path, own_redis: str, free_port: int
) -> None:
    async with reloading(tmp_path, own_redis, free_port, 2) as it:
        await all_listen(own_redis, 2)
        stuck = psutil.Process(it.gateway.process.pid).children()[0].pid
        os.kill(stuck, signal.SIGSTOP)
        try:
            code, lines = await reload_command(tmp_path, own_redis)
        finally:
            os.kill(stuck, signal.SIGCONT)
        assert code == exit_codes.FAILED
        assert lines[0].endswith(": 3 routes.")
        assert lines[1].startswith("1 gateway has not answered within 5 s.")


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read in /proc")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_a_hangup_ends_no_gateway_that_only_starts(
    tmp_path: Path, redis_at: str, free_port: int, workers: int
) -> None:
    async def hang_up(gateway: GatewayProcess) -> None:
        status = Path(f"/proc/{gateway.process.pid}/status")

        async def holds() -> bool:
            (mask,) = [row for row in status.read_text().splitlines() if row.startswith("SigBlk")]
            return bool(int(mask.split()[1], 16) & 1)

        await until(holds, 30)
        gateway.tell(signal.SIGHUP)

    async with gateway_process(
        tmp_path,
        free_port,
        workers,
        routes=OLD,
        upstreams={"enrichment": "http://127.0.0.1:9"},
        meanwhile=hang_up,
        REDIS_URL=redis_at,
    ) as gateway:
        if workers == 1:  # it was heard as soon as it could be
            await gateway.says("route table reloaded")
        gateway.tell(signal.SIGHUP)
        await gateway.says("route table reloaded", 2)
        gateway.tell(signal.SIGTERM)
        gateway.tell(signal.SIGHUP)  # nor one that stops
        assert await gateway.ended() == 0
