"""A bounded number of things at a time, shared fairly: no organisation makes the others wait.

Waiters stand in a line of their own organisation, and the lines are served in rotation: a thousand
requests of one are at most one turn ahead of the first of another. One organisation holds at most a
share of the turns, so that slow work of one leaves some to the others at any time.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Final

_KEPT: Final = 5  # of so many turns one is left to others


class FairTurns:
    """`async with turn(who, timeout)`: at most `limit` at a time. One event loop's.

    Of fewer than five turns one may hold all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free = limit
        self._most = limit - limit // _KEPT
        self._held: Counter[Hashable] = Counter()
        self._lines: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, who: Hashable | None, timeout: float) -> AsyncIterator[None]:
        """Hold a turn inside the block; TimeoutError if none comes within `timeout` seconds.

        None is the platform's own work: it waits in a line as everybody does, without a share.
        """
        if self._free > 0 and self._may(who) and who not in self._lines:
            self._take(who)
        else:
            await self._wait(who, timeout)
        try:
            yield
        finally:
            self._give_back(who)

    @property
    def taken(self) -> int:
        return self.limit - self._free

    @property
    def waiters(self) -> int:
        """All who wait, whoever they are."""
        return sum(map(len, self._lines.values()))

    def waiting(self, who: Hashable | None) -> int:
        return len(self._lines.get(who, ()))

    def _may(self, who: Hashable | None) -> bool:
        return who is None or self._held[who] < self._most

    def _take(self, who: Hashable | None) -> None:
        self._free -= 1
        self._held[who] += 1

    def _give_back(self, who: Hashable | None) -> None:
        self._free += 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]
        self._serve()

    async def _wait(self, who: Hashable | None, timeout: float) -> None:
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(who, deque()).append(mine)
        try:
            async with asyncio.timeout(timeout):
                await mine
        except BaseException:
            if mine.done() and not mine.cancelled():  # it came in the moment of giving up
                self._give_back(who)
            else:
                self._leave(who, mine)
            raise

    def _leave(self, who: Hashable | None, mine: asyncio.Future[None]) -> None:
        line = self._lines.get(who)
        if line is not None and mine in line:
            line.remove(mine)
            if not line:
                del self._lines[who]

    def _serve(self) -> None:
        """Give free turns to the lines in rotation, past those that hold their share already."""
        for who in list(self._lines):
            if self._free <= 0:
                return
            if not self._may(who):
                continue
            line = self._lines[who]
            while line and line[0].done():  # given up, and not yet gone
                line.popleft()
            if line:
                self._take(who)
                line.popleft().set_result(None)
            if line:
                self._lines.move_to_end(who)
            else:
                del self._lines[who]
