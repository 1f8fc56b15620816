"""The platform that drills strike: a `looma up` of its own with two organisations."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import psutil
import redis.asyncio as aioredis

from shared.embedded.layout import Layout, free_port
from shared.embedded.state import read_state
from shared.embedded.stores import Endpoints, find
from shared.services import SERVICES
from tests.chaos.postgres_pair import PostgresPair
from tests.e2e.platform import Platform

ORGANISATIONS = ("north", "south")
_TOKEN_SECONDS = "86400"
_POLL_S = 0.02


class Site(Platform):
    """A platform under drill. `north` is whose data are counted, `south` its neighbour."""

    def __init__(self, home: Path, cwd: Path, **settings: str) -> None:
        super().__init__(home, cwd)
        # Ports of its own: those of two platforms that start at once must not meet.
        ports = {one.port_setting: str(free_port()) for one in SERVICES}
        self.env |= {"ACCESS_TOKEN_SECONDS": _TOKEN_SECONDS, **ports, **settings}
        self.settings = settings
        self.pair: PostgresPair | None = None  # where PostgreSQL is not the embedded one
        self.tokens: dict[str, str] = {}
        self.org_ids: dict[str, UUID] = {}

    def found(self) -> None:
        """Start, make the organisations and sign in to them."""
        self.up()
        for slug in ORGANISATIONS:
            self("orgs", "create", slug)
            self.tokens[slug] = self("token", "--role", "admin", "--org", slug).strip()
        for slug in ORGANISATIONS:
            self._first_portrait(slug)

    def _first_portrait(self, organisation: str) -> None:
        """One call and its portraits, so that everything that is read has something to answer."""
        with self.client(self.tokens[organisation]) as client:
            me = client.get("/api/v1/auth/me").json()["data"]
            self.org_ids[organisation] = UUID(me["organisation"]["org_id"])
            record = {
                "callid": "first",
                "user_id": "first",
                "started_at": "2025-01-01T12:00:00+08:00",
                "call_status": "busy",
            }
            posted = client.post("/api/v1/calls", json={"records": [record]})
            assert posted.json()["data"]["inserted"] == 1, posted.text
            assert (
                client.post(
                    "/api/v1/admin/compute", json={}, headers={"Prefer": "wait=15"}
                ).status_code
                == 200
            )

    def raze(self) -> None:
        """Stop everything, also what a drill has left stopped."""
        send(self.left_over(), signal.SIGCONT)
        self.run("down")
        if self.supervisor is not None and self.supervisor.poll() is None:
            self.supervisor.kill()
            self.supervisor.wait(10)
        send(self.left_over(), signal.SIGKILL)

    def requests(self, organisation: str = "north", timeout: float = 30.0) -> httpx.AsyncClient:
        """An HTTP client of that organisation's admin."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.tokens[organisation]}"},
            timeout=timeout,
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )

    # Where things are.

    def service(self, name: str) -> dict[str, Any]:
        """`pid` and `url` of a supervised process, as the supervisor wrote them last."""
        state = json.loads((self.home / "run" / "supervisor.json").read_bytes())
        found: dict[str, Any] = next(one for one in state["processes"] if one["name"] == name)
        return found

    def gateway_workers(self) -> list[psutil.Process]:
        """The gateway's workers, if it has several."""
        return psutil.Process(self.service("gateway")["pid"]).children()

    def store_pid(self, name: str) -> int:
        record = read_state(Layout.of(self.home).state).server(name)
        assert record.process is not None
        return record.process.pid

    def store_processes(self, name: str) -> list[psutil.Process]:
        """A store's main process, then its children."""
        main = psutil.Process(self.store_pid(name))
        return [main, *main.children(recursive=True)]

    @property
    def endpoints(self) -> Endpoints:
        found = find(self.home)
        assert found is not None
        return found

    @property
    def database_url(self) -> str:
        return self.settings.get("DATABASE_URL") or self.endpoints.database_url

    async def sql(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Rows, by a connection beside the platform's and with the rights of its background work."""
        connection = await asyncpg.connect(self.database_url, timeout=5)
        try:
            async with connection.transaction():
                await connection.execute("SET LOCAL ROLE looma_system")
                return list(await connection.fetch(query, *args))
        finally:
            await connection.close(timeout=5)

    def redis(self) -> aioredis.Redis:
        return aioredis.Redis.from_url(
            self.endpoints.redis_url, socket_timeout=5, socket_connect_timeout=5
        )

    # When things are back.

    async def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            await asyncio.sleep(_POLL_S)

    async def serves_again(self, name: str, before: int) -> None:
        """Wait until another process than `before` answers for a service."""
        await self.until(
            lambda: self.service(name)["pid"] not in (None, before), 60, f"{name} starts"
        )
        url = f"{self.service(name)['url']}/health"
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            await _retried(lambda: client.get(url), httpx.HTTPError)

    async def database_answers(self) -> None:
        """Wait until PostgreSQL takes a connection and a query."""
        await _retried(lambda: self.sql("SELECT 1"), asyncpg.PostgresError, OSError, TimeoutError)

    async def redis_answers(self) -> None:
        async def ping() -> None:
            async with self.redis() as client:
                await client.ping()

        await _retried(ping, aioredis.RedisError, OSError, TimeoutError)


async def _retried(attempt: Callable[[], Any], *failures: type[BaseException]) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            await attempt()
        except failures:
            assert time.monotonic() < deadline, "not back within 120 s"
            await asyncio.sleep(_POLL_S)
        else:
            return


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Signal them all; those that have gone meanwhile don't matter."""
    for process in processes:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            continue
