"""The places that this process holds of shared semaphores: renewed while held, given back at once.

Each is counted in memory too, so that a process knows how many it holds when Redis goes away.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from shared.errors import StoreError
from shared.limits.gathering import Gathering
from shared.limits.outage import Outage
from shared.limits.semaphore import LocalSemaphore, RedisSemaphore, Semaphore, Step, new_token
from shared.serving.background import end

_RENEWALS: Final = 3  # in the time of a lease
_UNLIMITED: Final = sys.maxsize


@dataclass(slots=True, eq=False)
class _Place:
    name: str
    limit: int
    local: str  # its tokens: in this process
    token: str | None  # in the shared semaphore, unless that is away


class HeldPlaces:
    """`hold` a place for the time of a block; `close` at the end.

    `lease_s` is how long a place stays taken whose process died.
    """

    def __init__(self, shared: RedisSemaphore, outage: Outage, lease_s: float) -> None:
        self._shared = Gathering[Step, bool](outage, shared.take, _undo)
        self._local: Semaphore = LocalSemaphore()
        self._outage = outage
        self._lease_s = lease_s
        self._held: set[_Place] = set()
        self._renewing: asyncio.Task[None] | None = None
        outage.when_back(self.renew)

    @asynccontextmanager
    async def hold(self, name: str, limit: int, alone: int) -> AsyncIterator[bool]:
        """Whether one of the `limit` places was free, and is held now.

        While the shared semaphore is away this process has `alone` places.
        """
        place = await self._acquire(name, limit, alone)
        if place is None:
            yield False
            return
        self._keep(place)
        try:
            yield True
        finally:
            await self._release(place)

    async def renew(self) -> None:
        """Renew the leases of all places, and count in Redis those that it doesn't know."""
        places = list(self._held)
        for place in places:
            if not await self._local.renew(place.name, place.local, self._lease_s):
                await self._register(place)
        await asyncio.gather(*map(self._renew_shared, places))

    async def close(self) -> None:
        if self._renewing is not None:
            await end([self._renewing])
        await self._shared.close()

    async def _acquire(self, name: str, limit: int, alone: int) -> _Place | None:
        if not self._outage.away:
            try:
                token = await self._take(name, limit)
            except StoreError:  # the outage says so
                pass
            else:
                return None if token is None else await self._here(name, limit, token)
        local = await self._local.acquire(name, alone, self._lease_s)
        return None if local is None else _Place(name, limit, local, None)

    async def _here(self, name: str, limit: int, token: str) -> _Place:
        place = _Place(name, limit, "", token)
        await self._register(place)
        return place

    async def _register(self, place: _Place) -> None:
        """Count in this process a place that is held, whatever the limit."""
        local = await self._local.acquire(place.name, _UNLIMITED, self._lease_s)
        if local is not None:
            place.local = local

    async def _take(self, name: str, limit: int) -> str | None:
        token = new_token()
        step = Step("acquire", name, token, self._lease_s, limit)
        return token if await self._shared.ask(step) else None

    def _keep(self, place: _Place) -> None:
        self._held.add(place)
        if self._renewing is None or self._renewing.done():
            loop = asyncio.get_running_loop()
            self._renewing = loop.create_task(self._renew_forever(), name="renew places")

    async def _release(self, place: _Place) -> None:
        self._held.discard(place)
        await self._local.release(place.name, place.local)
        self._give_back(place.name, place.token)

    def _give_back(self, name: str, token: str | None) -> None:
        """Sent at once, and not waited for. While Redis is away it comes free when its lease ends."""
        if token is not None:
            self._shared.tell(Step("release", name, token))

    async def _renew_forever(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / _RENEWALS)
            await self.renew()

    async def _renew_shared(self, place: _Place) -> None:
        try:
            if place.token is None or not await self._renewed(place.name, place.token):
                await self._take_again(place)
        except StoreError:
            return  # when it is back

    async def _renewed(self, name: str, token: str) -> bool:
        return await self._shared.ask(Step("renew", name, token, self._lease_s))

    async def _take_again(self, place: _Place) -> None:
        """It was lost, or never counted there. If all are taken now, the next renewal asks again."""
        if place not in self._held:
            return
        token = await self._take(place.name, place.limit)
        if place in self._held:
            place.token = token
        else:  # released meanwhile
            self._give_back(place.name, token)


def _undo(step: Step, done: bool) -> Step | None:
    return Step("release", step.name, step.token) if done and step.what == "acquire" else None
