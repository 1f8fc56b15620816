"""Starts the embedded stores again when their process has gone: at once, then later each time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Protocol

from shared.embedded.errors import EmbeddedStoreError
from shared.serving.restarts import crashes_in_a_row, restart_pause

# A store that died is an outage for everybody until this has been noticed; to look is to ask the
# process table for three processes.
_LOOK_S = 0.1


class Stores(Protocol):
    """EmbeddedStores, as far as they are kept."""

    def ended(self) -> list[str]: ...
    async def start(self, *, only: Collection[str]) -> object: ...


class StoreKeeper:
    """`run` beside the platform; `say` hears what ended, and what would not start.

    Each store has a task and a pause of its own: one that keeps crashing, or takes long to come up,
    delays no other.
    """

    def __init__(self, stores: Stores, say: Callable[[str], None]) -> None:
        self._stores = stores
        self._say = say
        self._crashes: dict[str, int] = {}  # in a row
        self._started: dict[str, float] = {}

    async def run(self) -> None:
        starts: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await asyncio.sleep(_LOOK_S)
                starts = {name: start for name, start in starts.items() if not start.done()}
                for name in self._stores.ended():
                    if name not in starts:
                        starts[name] = group.create_task(self._start(name), name=f"start {name}")

    async def _start(self, name: str) -> None:
        ran_s = time.monotonic() - self._started.get(name, float("-inf"))
        self._crashes[name] = crashes_in_a_row(self._crashes.get(name, 0), ran_s)
        pause = restart_pause(self._crashes[name])
        self._say(f"{name} ended, starting again{f' in {pause:g} s' if pause else ''}")
        await asyncio.sleep(pause)
        try:
            await self._stores.start(only=[name])
        except (EmbeddedStoreError, OSError) as error:
            self._say(str(error))
        self._started[name] = time.monotonic()
