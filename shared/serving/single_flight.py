"""One run of a piece of work for all who ask for it at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs by key, one at a time for each; `close` at the end stops those under way."""

    def __init__(self, name: str) -> None:
        self._name = name  # of the tasks
        self._flights: dict[K, asyncio.Task[V]] = {}

    async def do(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The outcome of the run under way, or of `work`; raises what that raised.

        Who stops waiting stops neither the run nor the others who wait for it.
        """
        return await asyncio.shield(self.begin(key, work))

    def begin(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """The run under way, or a new one; it may be left to itself."""
        flight = self._under_way(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(work(), name=self._name)
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def is_under_way(self, key: K) -> bool:
        return self._under_way(key) is not None

    def close(self) -> None:
        for flight in self._flights.values():
            flight.cancel()

    def _under_way(self, key: K) -> asyncio.Task[V] | None:
        flight = self._flights.get(key)
        # One that has just ended, and was not landed yet, is news from before the question.
        return None if flight is None or flight.done() else flight

    def _landed(self, key: K, flight: asyncio.Task[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, also when all who waited have gone
