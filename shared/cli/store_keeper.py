"""Starts the embedded stores again when their process has gone: at once, then later each time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from shared.embedded.errors import EmbeddedStoreError
from shared.embedded.stores import EmbeddedStores
from shared.restarts import crashes_in_a_row, restart_pause

# A store that died is an outage for everybody until this has been noticed; to look is to ask the
# process table for three processes.
_LOOK_S = 0.1


class StoreKeeper:
    """`run` beside the platform; `say` hears what ended, and what would not start."""

    def __init__(self, stores: EmbeddedStores, say: Callable[[str], None]) -> None:
        self._stores = stores
        self._say = say
        self._crashes: dict[str, int] = {}  # in a row
        self._started: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if ended := self._stores.ended():
                await self._start(ended)

    async def _start(self, ended: Sequence[str]) -> None:
        """Start those that ended and no others: who only is slow to answer must not hold them up."""
        now = time.monotonic()
        for name in ended:
            ran_s = now - self._started.get(name, float("-inf"))
            self._crashes[name] = crashes_in_a_row(self._crashes.get(name, 0), ran_s)
        pause = restart_pause(max(self._crashes[name] for name in ended))
        later = f" in {pause:g} s" if pause else ""
        self._say(f"{' and '.join(ended)} ended, starting again{later}")
        await asyncio.sleep(pause)
        try:
            await self._stores.start(only=ended)
        except (EmbeddedStoreError, OSError) as error:
            self._say(str(error))
        self._started.update(dict.fromkeys(ended, time.monotonic()))
