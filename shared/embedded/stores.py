"""The embedded stores of one home: PostgreSQL, Redis and the graph database as one set.

The servers are daemons of the home, not children of the process that started them: they survive
it, any process of the same user finds them again, and only `stop` ends them.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from shared.embedded.arcadedb import ArcadeServer
from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.layout import Layout
from shared.embedded.lock import TogetherLocked, locked
from shared.embedded.postgres import PostgresServer
from shared.embedded.process import command_line, is_alive, resident_bytes
from shared.embedded.redis import RedisServer
from shared.embedded.server import Server, answers, bring_up, end, locate
from shared.embedded.state import ServerRecord, State, read_state, write_state

STORES = frozenset({"postgres", "redis", "graph"})
_LOCK_TIMEOUT_S = 300.0
_HEALTH_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the platform connects; the empty string for a store that the home does not run.

    `database_url` is `postgresql://user:password@/database?host=<socket directory>`, `redis_url`
    is `unix://:password@<socket>?db=0`, `graph_url` is `bolt://user:password@127.0.0.1:port/database`.
    """

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    graph_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """`up` means that it answers with our password; `address` is its socket or host:port."""

    up: bool
    pid: int | None
    rss_bytes: int
    address: str


class EmbeddedStores:
    """Starts, measures and stops the servers whose data lie under `home`."""

    def __init__(
        self, home: Path, *, log_dir: Path | None = None, which: frozenset[str] = STORES
    ) -> None:
        if not which <= STORES:
            unknown = ", ".join(sorted(which - STORES))
            raise EmbeddedStoreError(f"unknown store {unknown}: choose from graph, postgres, redis")
        self._layout = Layout.of(home, log_dir)
        self._which = which
        self._starting = TogetherLocked(self._layout.lock, _LOCK_TIMEOUT_S)
        self._turns = {name: asyncio.Lock() for name in STORES}

    async def start(
        self,
        on_progress: Callable[[str, str], None] | None = None,
        *,
        only: Collection[str] = STORES,
    ) -> Endpoints:
        """Bring up every store (of `only`) that does not answer and return where all of them are.

        Idempotent. `on_progress` gets the store's name and what happens to it, in the event
        loop's thread. If one fails the others stay up. Starts of different stores don't wait for
        each other.
        """
        tell = on_progress or (lambda _store, _message: None)
        self._layout.prepare()
        async with self._starting(
            lambda: tell("stores", "waiting for another process that starts them")
        ):
            servers = self._servers(self._which & frozenset(only))
            ups = (self._bring_up(server, tell) for server in servers)
            outcomes = await asyncio.gather(*ups, return_exceptions=True)
        _raise_failures(outcomes)
        return _endpoints(self._layout, read_state(self._layout.state))

    async def stop(self) -> None:
        """End every server of this home cleanly, whoever started it."""
        if not self._layout.home.is_dir():
            return
        async with locked(self._layout.lock, timeout_s=_LOCK_TIMEOUT_S):
            downs = (self._take_down(server) for server in self._servers(STORES))
            outcomes = await asyncio.gather(*downs, return_exceptions=True)
        _raise_failures(outcomes)
        shutil.rmtree(self._layout.short_directory, ignore_errors=True)

    def ended(self) -> list[str]:
        """Stores that were started and whose process is gone, asked of the process table only.

        One that merely does not answer is not among them: it may be stopped, or busy, and be back
        sooner than a fresh one.
        """
        state = read_state(self._layout.state)
        records = {server.name: state.server(server.name) for server in self._servers(self._which)}
        return [
            name
            for name, record in records.items()
            if record.wanted and record.process is not None and not is_alive(record.process)
        ]

    async def health(self) -> dict[str, StoreHealth]:
        """How each store is doing, by name, without changing anything."""
        state = read_state(self._layout.state)
        servers = self._servers(self._which)
        found = await asyncio.gather(
            *(_health(server, state.server(server.name)) for server in servers)
        )
        return {server.name: health for server, health in zip(servers, found, strict=True)}

    def _servers(self, which: frozenset[str]) -> list[Server]:
        return [server for server in _all_servers(self._layout) if server.name in which]

    async def _bring_up(self, server: Server, tell: Callable[[str, str], None]) -> None:
        async with self._turns[server.name]:
            record = read_state(self._layout.state).server(server.name)
            fresh = await bring_up(server, record, lambda message: tell(server.name, message))
            self._remember(server, fresh)

    async def _take_down(self, server: Server) -> None:
        record = read_state(self._layout.state).server(server.name)
        for process in await asyncio.to_thread(locate, server, record):
            await end(server, process)
        self._remember(server, ServerRecord(None, record.ports))

    def _remember(self, server: Server, record: ServerRecord) -> None:
        # Read and written without an await between, under the lock: the stores come up at once.
        state = read_state(self._layout.state)
        write_state(self._layout.state, state.with_server(server.name, record))


def find(home: Path) -> Endpoints | None:
    """The endpoints of the stores that run under this home; None if none does.

    Starts and changes nothing. A store that has just died keeps its address: it comes back there.
    """
    layout = Layout.of(home)
    state = read_state(layout.state)
    wanted = (server for server in _all_servers(layout) if state.server(server.name).wanted)
    if not any(locate(server, state.server(server.name)) for server in wanted):
        return None
    return _endpoints(layout, state)


def _all_servers(layout: Layout) -> tuple[Server, ...]:
    return PostgresServer(layout), RedisServer(layout), ArcadeServer(layout)


def _endpoints(layout: Layout, state: State) -> Endpoints:
    urls = {}
    for server in _all_servers(layout):
        record = state.server(server.name)
        urls[server.name] = server.url(record.ports) if record.wanted else ""
    return Endpoints(
        database_url=urls["postgres"], redis_url=urls["redis"], graph_url=urls["graph"]
    )


async def _health(server: Server, record: ServerRecord) -> StoreHealth:
    found = await asyncio.to_thread(locate, server, record)
    if not found:
        return StoreHealth(up=False, pid=None, rss_bytes=0, address="")
    process, ports = found[0], record.ports
    if process != record.process:  # its starter ended before it could write down what it started
        ports = server.ports_of(await asyncio.to_thread(command_line, process))
    return StoreHealth(
        up=await answers(server, process, ports, _HEALTH_TIMEOUT_S),
        pid=process.pid,
        rss_bytes=await asyncio.to_thread(resident_bytes, process),
        address=server.address(ports),
    )


def _raise_failures(outcomes: list[BaseException | None]) -> None:
    """Raise what went wrong: a defect as it is, several failures of stores as one."""
    failures = [outcome for outcome in outcomes if outcome is not None]
    for failure in failures:
        if not isinstance(failure, EmbeddedStoreError):
            raise failure
    if failures:
        raise EmbeddedStoreError("; ".join(str(failure) for failure in failures)) from failures[0]
