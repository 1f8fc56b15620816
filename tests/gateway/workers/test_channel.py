"""Messages between workers: whole, in order, never waited for."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import pytest

from gateway.workers.channel import Channel, Kind
from gateway.workers.scatter_gather import ScatterGather


class Ends:
    """The sockets that a parent makes, and what came to each worker."""

    def __init__(self, size: int) -> None:
        self.pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(size)]
        self.channels: dict[int, Channel] = {}
        self.got: dict[int, list[tuple[int, bytes]]] = {n: [] for n in range(1, size + 1)}
        self.arrived = asyncio.Event()

    def open(self, number: int) -> Channel:
        """What worker `number` does with them."""
        ends = {
            place: (pair[0] if place == number else pair[1]).dup()
            for place, pair in enumerate(self.pairs, start=1)
        }
        channel = self.channels[number] = Channel(number, ends.pop(number), ends)
        channel.on(Kind.STATE, self._taker(number))
        channel.start()
        return channel

    def _taker(self, number: int) -> Callable[[int, bytes], None]:
        def take(sender: int, message: bytes) -> None:
            self.got[number].append((sender, message))
            self.arrived.set()

        return take

    async def count(self, number: int, messages: int) -> list[tuple[int, bytes]]:
        async with asyncio.timeout(5):
            while len(self.got[number]) < messages:
                self.arrived.clear()
                await self.arrived.wait()
        return self.got[number]


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends(3)
    with ExitStack() as stack:
        for pair in made.pairs:
            for one in pair:
                stack.callback(one.close)
        yield made
        for channel in made.channels.values():
            channel.close()


async def test_a_message_reaches_one_or_all_others(ends: Ends) -> None:
    one, _, _ = (ends.open(number) for number in (1, 2, 3))
    one.send(Kind.STATE, b"all")
    one.send(Kind.STATE, b"you", to=3)
    assert await ends.count(3, 2) == [(1, b"all"), (1, b"you")]
    assert await ends.count(2, 1) == [(1, b"all")]
    assert ends.got[1] == []


async def test_long_messages_of_several_senders_come_whole_and_in_order(ends: Ends) -> None:
    senders = [ends.open(number) for number in (1, 2)]
    ends.open(3)
    said = [os.urandom(size) for size in (0, 1, 32_768, 32_769, 500_000, 7)]
    for message in said:
        for sender in senders:
            sender.send(Kind.STATE, message, to=3)
    got = await ends.count(3, 2 * len(said))
    for number in (1, 2):
        assert [message for sender, message in got if sender == number] == said


async def test_who_does_not_read_holds_nobody_up(ends: Ends) -> None:
    one = ends.open(1)
    ends.open(2)
    for number in range(3000):
        one.send(Kind.STATE, b"%d" % number, to=3)
    one.send(Kind.STATE, b"still here", to=2)
    assert await ends.count(2, 1) == [(1, b"still here")]


async def test_after_a_loss_the_next_message_comes_whole(ends: Ends) -> None:
    one = ends.open(1)
    one.send(Kind.STATE, b"x" * 2_000_000, to=3)  # more than a socket holds
    await asyncio.sleep(0.3)  # until the rest is given up
    ends.open(3)
    one.send(Kind.STATE, b"y" * 100_000, to=3)
    assert await ends.count(3, 1) == [(1, b"y" * 100_000)]


async def test_what_no_worker_says_is_dropped(ends: Ends) -> None:
    ends.open(3)
    one = ends.open(1)
    for datagram in (b"", b"short", os.urandom(40), b"\x01" + bytes(8)):
        ends.pairs[2][1].send(datagram)
    one.send(Kind.STATE, b"heard", to=3)
    assert await ends.count(3, 1) == [(1, b"heard")]


async def test_a_question_is_answered_by_all_that_are_there(ends: Ends) -> None:
    asking, answering, silent = (ScatterGather(ends.open(number), 0.2) for number in (1, 2, 3))
    answering.answer("how", lambda: b"well" * 50_000)
    silent.answer("else", lambda: b"?")
    assert asking.workers == 3
    assert await asking.ask("how") == {2: b"well" * 50_000}
    silent.answer("how", lambda: b"too")
    loop = asyncio.get_running_loop()
    began = loop.time()
    several = await asyncio.gather(*(asking.ask("how") for _ in range(5)))
    assert several == [{2: b"well" * 50_000, 3: b"too"}] * 5
    assert loop.time() - began < 0.2  # whoever is complete doesn't wait
