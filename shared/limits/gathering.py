"""Questions to a shared count, gathered: one round trip at a time, whatever the load."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from shared.errors import StoreError
from shared.limits.outage import Outage
from shared.serving.background import end

Q = TypeVar("Q")
A = TypeVar("A")
_MOST: Final = 128  # questions in a round trip: a fraction of a millisecond of Redis's time
_PARTING_S: Final = 1.0


@dataclass(slots=True, eq=False)
class _Asked(Generic[Q, A]):
    question: Q
    told: asyncio.Future[A]


class Gathering(Generic[Q, A]):
    """`ask` and `tell`; `close` at the end. Questions that come meanwhile go in the next round trip.

    `answer` answers several in order. An answer that came after its asker had gone, or after the
    outage's budget, is undone by the question that `undo` makes of both, unless that is None. What
    is told goes with whatever is asked next, after `linger_s` at the latest.
    """

    def __init__(
        self,
        outage: Outage,
        answer: Callable[[Sequence[Q]], Coroutine[Any, Any, Sequence[A]]],
        undo: Callable[[Q, A], Q | None],
        *,
        linger_s: float = 0.0,
    ) -> None:
        self._outage = outage
        self._answer = answer
        self._undo = undo
        self._linger_s = linger_s
        self._lingering: asyncio.TimerHandle | None = None
        self._waiting: list[_Asked[Q, A]] = []
        self._when_back: list[Q] = []
        outage.when_back(self._undo_now)
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer; StoreError if there is none, at once while the count is away."""
        asked = self._put(question)
        try:
            return await asked.told
        except asyncio.CancelledError:
            if not asked.told.cancelled() and asked.told.exception() is None:
                self._undo_all([asked], [asked.told.result()])  # answered in this very moment
            raise

    def tell(self, question: Q) -> None:
        """Ask before whatever is asked from now on, without waiting for the answer.

        While the count is away it is not told.
        """
        self._put(question, linger_s=self._linger_s)

    async def close(self) -> None:
        """What waits has a second to be answered."""
        self._begin()
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=_PARTING_S)
            await end([self._asking])

    def _put(self, question: Q, linger_s: float = 0.0) -> _Asked[Q, A]:
        asked: _Asked[Q, A] = _Asked(question, asyncio.get_running_loop().create_future())
        asked.told.add_done_callback(_seen)
        if self._outage.away:
            self._fail(asked)
        else:
            self._waiting.append(asked)
            self._send(linger_s)
        return asked

    def _send(self, linger_s: float) -> None:
        if not linger_s:
            self._begin()
        elif self._lingering is None:
            self._lingering = asyncio.get_running_loop().call_later(linger_s, self._begin)

    def _begin(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._waiting and (self._asking is None or self._asking.done()):
            self._asking = asyncio.get_running_loop().create_task(self._ask_all())

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                batch = [asked for asked in self._next() if not asked.told.done()]
                if batch:  # not all have gone
                    await self._ask_together(batch)
        finally:
            for asked in self._next(sys.maxsize):  # it was ended, or `answer` has a defect
                self._fail(asked)

    def _next(self, number: int = _MOST) -> Sequence[_Asked[Q, A]]:
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        return batch

    async def _ask_together(self, batch: Sequence[_Asked[Q, A]]) -> None:
        try:
            if self._outage.away:
                return
            asking = self._answer([asked.question for asked in batch])
            answers = await self._outage.within(asking, lambda late: self._undo_all(batch, late))
            for asked, answer in zip(batch, answers, strict=True):
                self._answered(asked, answer)
        except StoreError:  # said by the outage, and to all who asked
            return
        finally:
            for asked in batch:
                self._fail(asked)  # those without an answer

    def _answered(self, asked: _Asked[Q, A], answer: A) -> None:
        if asked.told.done():  # its asker has gone
            self._undo_all([asked], [answer])
        else:
            asked.told.set_result(answer)

    def _fail(self, asked: _Asked[Q, A]) -> None:
        if not asked.told.done():
            asked.told.set_exception(self._outage.unavailable())

    def _undo_all(self, batch: Sequence[_Asked[Q, A]], answers: Sequence[A]) -> None:
        for asked, answer in zip(batch, answers, strict=True):
            undoing = self._undo(asked.question, answer)
            if undoing is not None and self._outage.away:
                self._when_back.append(undoing)  # no more than went in one round trip
            elif undoing is not None:
                self._put(undoing)

    async def _undo_now(self) -> None:
        undoing, self._when_back = self._when_back, []
        for question in undoing:
            self._put(question)


def _seen(told: asyncio.Future[A]) -> None:
    """Nobody may wait for it any more."""
    if not told.cancelled():
        told.exception()
