"""The stores, open for one command.

Those that run are used. Where none do, the embedded ones are started for the command and stopped
by the last command that used them; `looma up` keeps them when it comes in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from looma_cli.stores.external import require_external
from looma_cli.supervision.run_state import RunFiles
from looma_cli.terminal.console import say
from shared.config import Config
from shared.data_access.access import UnifiedDataAccess, open_data_access
from shared.embedded.stores import EmbeddedStores, find
from shared.file_lock import FileLock
from shared.store_urls import embedded_servers, store_urls

# Which embedded server each port needs.
_SERVER_OF = {
    "relational": "postgres",
    "search": "postgres",
    "vectors": "postgres",
    "graph": "graph",
    "cache": "redis",
}


@asynccontextmanager
async def opened(config: Config, ports: Collection[str]) -> AsyncIterator[UnifiedDataAccess]:
    """Open `ports` of UnifiedDataAccess, their stores up."""
    which = embedded_servers(config) & {_SERVER_OF[port] for port in ports}
    async with (
        _kept_up(config, which),
        open_data_access(store_urls(config), ports=ports, pool_size=4) as data,
    ):
        await require_external(config, data, ports)
        yield data


@asynccontextmanager
async def _kept_up(config: Config, which: frozenset[str]) -> AsyncIterator[None]:
    if not which:
        yield
        return
    lease = _Lease(config.home)
    stores = EmbeddedStores(config.home, which=which)
    await lease.share()
    try:
        if find(config.home) is None:
            say("Starting the stores for this command; `looma up` would keep them.")
            lease.mark()
        await stores.start()
        yield
    finally:
        # Shielded: a second Ctrl-C must not leave servers that nobody owns.
        await asyncio.shield(lease.release(stores))


class _Lease:
    """Who uses stores that were started for a command: a shared lock per user, and a mark."""

    def __init__(self, home: Path) -> None:
        self._files = RunFiles(home)
        self._folder = home / "run"
        self._mark = self._folder / "stores-for-command"

    async def share(self) -> None:
        self._files.prepare()
        self._users = FileLock.at(self._folder / "stores.users")
        # Waits while the last user stops the stores.
        await asyncio.to_thread(self._users.share)

    def mark(self) -> None:
        self._mark.touch(mode=0o600)

    async def release(self, stores: EmbeddedStores) -> None:
        with self._users:
            if not self._mark.exists():
                return
            if not self._users.try_take():
                return  # another command still uses them
            if not self._files.is_held():
                await stores.stop()
            self._mark.unlink(missing_ok=True)
