"""A new route table without a restart: by message to all gateways, or by SIGHUP to one.

The new table is read, checked and compiled before it is used. One that is wrong changes nothing;
whoever asked hears why. Requests under way end by the table that they began with.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import orjson
import structlog

from gateway.hangups import let_through
from shared.data_access.ports import Cache
from shared.errors import ConfigError
from shared.gateway_reload import ASK, LAST, TOLD

_POLL_S: Final = 5.0
log = structlog.get_logger()


class Reload:
    """Reloads when it is asked to.

    `use` reads the table and puts it into force: the number of its routes, or ConfigError.

    `last` is the message that was the last one before the table in force was read.
    """

    def __init__(self, cache: Cache, use: Callable[[], int], last: bytes | None) -> None:
        self._cache = cache
        self._use = use
        self._last = last
        self._id = uuid4().hex[:8]

    def now(self) -> dict[str, Any]:
        """Reload; what came of it, as it is told to who asked."""
        try:
            routes = self._use()
        except ConfigError as error:
            log.warning("route table not reloaded", reason=error.message)
            return {"gateway": self._id, "ok": False, "reason": error.message}
        log.info("route table reloaded", routes=routes)
        return {"gateway": self._id, "ok": True, "routes": routes}

    async def listen_forever(self) -> None:
        """Reload at every message; StoreUnavailable when the cache is away."""
        async with self._cache.subscribe(ASK) as messages:
            async for message in messages:
                self._last = message
                await self._cache.publish(TOLD, orjson.dumps(self.now()))

    async def catch_up_forever(self) -> None:
        """Do what was asked while no message came through: at the start, or without Redis."""
        while True:
            last = await self._cache.get(LAST)
            if last is not None and last != self._last:
                self._last = last
                self.now()
            await asyncio.sleep(_POLL_S)

    @contextmanager
    def on_signal(self) -> Iterator[None]:
        """SIGHUP reloads inside the block; only where signals can be taken, the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self.now)
        try:
            with let_through():
                yield
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
