"""Fresh databases of a PostgreSQL server for tests, made ahead.

Making and dropping one takes a tenth to a third of a second each; a thread does it while other
tests run. Bringing one up to date takes as long again: most are copies of one that is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from shared.data_access.relational.migrate import CORE, migrate

_AHEAD: Final = 2
_LOOK_S: Final = 0.2


def forgo_fsync(home: Path) -> None:
    """Let the embedded PostgreSQL of this home leave its writes to the operating system.

    What tests write has to outlive killed processes, and no power failure.
    """
    data = home / "postgres" / "data"
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write("fsync = off\n")
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGHUP)


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """The URL of a new, empty database on this server, dropped afterwards."""
    admin = await asyncpg.connect(server_url, timeout=5)
    try:
        name = await _make(admin)
        try:
            yield _url(server_url, name)
        finally:
            await _drop(admin, name)
    finally:
        await admin.close()


class SpareDatabases:
    """`fresh` is `fresh_database` without the wait; the server has to outlive the block.

    With `migrated` each has all tables already, as a process that has begun finds them.
    """

    def __init__(self, server_url: str, *, migrated: bool = False) -> None:
        self._server = server_url
        self._migrated = migrated
        self._spare: Queue[str] = Queue(_AHEAD)
        self._used: Queue[str] = Queue()
        self._stop = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @asynccontextmanager
    async def fresh(self) -> AsyncIterator[str]:
        """The URL of a new database, dropped some time afterwards."""
        name = await asyncio.to_thread(self._take)
        try:
            yield _url(self._server, name)
        finally:
            self._used.put(name)

    def _take(self) -> str:
        while self._failed is None:
            with suppress(Empty):
                return self._spare.get(timeout=_LOOK_S)
        raise self._failed

    async def _work(self) -> None:
        try:
            admin = await asyncpg.connect(self._server, timeout=5)
            template = None
            try:
                if self._migrated:
                    template = await _make(admin)
                    await _migrate(_url(self._server, template))
                while not self._stop.is_set():
                    if not self._spare.full():
                        self._spare.put(await _make(admin, template))
                        continue
                    with suppress(Empty):
                        name = self._used.get(timeout=_LOOK_S)
                        try:
                            await _drop(admin, name)
                        except asyncpg.ObjectInUseError:  # by a process that comes back
                            self._used.put(name)
                for left in (self._spare, self._used):
                    while not left.empty():
                        await _drop(admin, left.get())
                if template is not None:
                    await _drop(admin, template)
            finally:
                await admin.close()
        except Exception as error:  # noqa: BLE001 - raised to whoever asks for a database
            self._failed = error


async def _make(admin: asyncpg.Connection, template: str | None = None) -> str:
    name = f"looma_test_{uuid4().hex[:12]}"
    # The files themselves: not every page of them into the write-ahead log first.
    copied = "" if template is None else f' TEMPLATE "{template}" STRATEGY file_copy'
    await admin.execute(f'CREATE DATABASE "{name}"{copied}')
    return name


async def _migrate(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        await migrate(connection, (CORE,))
    finally:
        await connection.close()


async def _drop(admin: asyncpg.Connection, name: str) -> None:
    # FORCE would end autovacuum too, which only a superuser may; a plain DROP ends it.
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = $1 AND usename = current_user",
        name,
    )
    await admin.execute(f'DROP DATABASE IF EXISTS "{name}"')


def _url(server_url: str, name: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
