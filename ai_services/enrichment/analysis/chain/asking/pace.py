"""How many requests are under way, and how many begin in a minute, over all replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.data_access.ports import Cache
from shared.errors import StoreError
from shared.limits.counts import Count, Counts, Key
from shared.limits.local_gcra import LocalGcra
from shared.limits.redis_gcra import RedisGcra

_MINUTE_S: Final = 60.0
_ROUNDING: Final = 1 + 1e-9
_NAME: Final = "analysis:requests"


class Pace:
    """`turn` waits for a place in this process and for the platform's next start of a request.

    Starts are spread evenly over a minute. While Redis is away each replica spreads its own.
    """

    def __init__(self, at_once: int, per_minute: int, cache: Cache | None) -> None:
        self._places = asyncio.Semaphore(at_once)
        interval = _MINUTE_S / per_minute
        self._key = Key(_NAME, interval, interval * _ROUNDING)
        self._shared = None if cache is None else RedisGcra(cache)
        self._own = LocalGcra()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._places:
            await self._next()
            yield

    async def _next(self) -> None:
        while True:
            count = await self._count()
            if count.allowed[0]:
                return
            ahead, _ = count.keys[0]
            await asyncio.sleep(max(ahead, 1e-3))

    async def _count(self) -> Count:
        if self._shared is not None:
            try:
                return await _take(self._shared, self._key)
            except StoreError:  # said by the log of whoever needs Redis more
                pass
        return await _take(self._own, self._key)


async def _take(counts: Counts, key: Key) -> Count:
    return await counts.take([key], [(1, 1)])
