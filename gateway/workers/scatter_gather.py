"""Scatter and gather: a question to all other workers, and the answers that come in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from struct import Struct
from typing import Final

from gateway.workers.channel import Channel, Kind

_NUMBER: Final = Struct("!I")
PATIENCE_S: Final = 0.25


class _Asked:
    def __init__(self, workers: tuple[int, ...]) -> None:
        self.silent = set(workers)
        self.answers: dict[int, bytes] = {}
        self.done = asyncio.Event()
        if not workers:
            self.done.set()


class ScatterGather:
    """`ask` the others; `answers` is by the name of a question what this worker says to it."""

    def __init__(self, channel: Channel, patience_s: float = PATIENCE_S) -> None:
        self._channel = channel
        self._patience_s = patience_s
        self._answers: dict[bytes, Callable[[], bytes]] = {}
        self._numbers = 0
        self._open: dict[int, _Asked] = {}
        channel.on(Kind.QUESTION, self._asked)
        channel.on(Kind.ANSWER, self._answered)

    @property
    def workers(self) -> int:
        """How many there should be, this one included."""
        return len(self._channel.others) + 1

    def answer(self, question: str, answer: Callable[[], bytes]) -> None:
        self._answers[question.encode()] = answer

    async def ask(self, question: str) -> dict[int, bytes]:
        """The other workers' answers by their numbers, after `patience_s` at the latest."""
        self._numbers = number = (self._numbers + 1) & 0xFFFFFFFF
        asked = self._open[number] = _Asked(self._channel.others)
        try:
            self._channel.send(Kind.QUESTION, _NUMBER.pack(number) + question.encode())
            async with asyncio.timeout(self._patience_s):
                await asked.done.wait()
        except TimeoutError:
            pass  # a silent worker is missing in the answer
        finally:
            del self._open[number]
        return asked.answers

    def _asked(self, sender: int, message: bytes) -> None:
        answer = self._answers.get(message[_NUMBER.size :])
        if answer is not None:
            self._channel.send(Kind.ANSWER, message[: _NUMBER.size] + answer(), to=sender)

    def _answered(self, sender: int, message: bytes) -> None:
        if len(message) < _NUMBER.size:
            return
        asked = self._open.get(_NUMBER.unpack_from(message)[0])
        if asked is None:
            return  # too late
        asked.answers[sender] = message[_NUMBER.size :]
        asked.silent.discard(sender)
        if not asked.silent:
            asked.done.set()
