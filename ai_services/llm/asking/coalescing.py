"""One call for identical requests that are in flight in this process at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from shared.errors import UpstreamUnavailable
from shared.serving.background import end

V = TypeVar("V")
_PARTING_S: Final = 3.0


@dataclass(slots=True, eq=False)
class _Call(Generic[V]):
    task: asyncio.Task[V]
    waiting: int = 0


class Coalescing(Generic[V]):
    """`share` a call by its key; `close` at the end cancels those under way and waits for them."""

    def __init__(self) -> None:
        self._calls: dict[bytes, _Call[V]] = {}
        self._ending: set[asyncio.Task[V]] = set()

    async def share(self, key: bytes, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The outcome of the call under way with this `key`, or of a new one, which does `work`.

        It goes on while anybody waits for it, and is cancelled when the last has gone; who comes
        then begins anew. Its error is raised for each who waits, as an exception of their own.
        """
        call = self._calls.get(key)
        if call is None or call.task.done():
            call = self._begin(key, work)
        call.waiting += 1
        try:
            await asyncio.wait({call.task})
        finally:
            call.waiting -= 1
            if not call.waiting:
                self._leave(key, call)
        return _outcome(call.task)

    async def close(self) -> None:
        for key, call in list(self._calls.items()):
            self._leave(key, call)
        if self._ending:  # they settle what they used
            await asyncio.wait(set(self._ending), timeout=_PARTING_S)
        await end(self._ending)

    def _begin(self, key: bytes, work: Callable[[], Coroutine[Any, Any, V]]) -> _Call[V]:
        task = asyncio.get_running_loop().create_task(work(), name="shared call of a model")
        task.add_done_callback(lambda _: self._ended(key, task))
        call = self._calls[key] = _Call(task)
        return call

    def _leave(self, key: bytes, call: _Call[V]) -> None:
        """Nobody waits any more."""
        if call.task.done():
            return
        self._ending.add(call.task)
        call.task.cancel()
        if self._calls.get(key) is call:
            del self._calls[key]

    def _ended(self, key: bytes, task: asyncio.Task[V]) -> None:
        self._ending.discard(task)
        call = self._calls.get(key)
        if call is not None and call.task is task:
            del self._calls[key]
        if not task.cancelled():
            task.exception()  # seen, also when all who waited have gone


def _outcome(task: asyncio.Task[V]) -> V:
    if task.cancelled():  # by `close`: who waits was not
        raise UpstreamUnavailable("The service is stopping. Try again.")
    error = task.exception()
    if error is None:
        return task.result()
    raise _own(error) from error


def _own(error: BaseException) -> BaseException:
    """A copy to be raised once: raised in several tasks, one would gather all their tracebacks."""
    copy = type(error).__new__(type(error), *error.args)
    state = object.__getstate__(error)  # the exception's own may be a dataclass's, or refuse
    attributes, slots = state if isinstance(state, tuple) else (state, None)
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        object.__setattr__(copy, name, value)
    return copy
