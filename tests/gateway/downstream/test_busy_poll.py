"""The gateway stays awake while events come fast, and for a moment only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from gateway.downstream.busy_poll import STREAK, BusyPoll
from tests.gateway.fake_time import FakeClock

LONGEST = 0.0004
SHORT, LONG = LONGEST / 4, LONGEST * 4


class Loop:
    """What an event loop does with `call_soon`, one turn at a time."""

    def __init__(self) -> None:
        self._ready: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def call_soon(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._ready.append((callback, arguments))

    @property
    def as_loop(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)

    def turn(self) -> bool:
        """Whether there was anything to call, so that the loop did not sleep."""
        ready, self._ready = self._ready, []
        for callback, arguments in ready:
            callback(*arguments)
        return bool(ready)


def noted_after(
    waits: Iterable[float], longest: float = LONGEST
) -> tuple[BusyPoll, Loop, FakeClock]:
    time, loop = FakeClock(), Loop()
    poll = BusyPoll(longest, time)
    for wait in waits:
        time.now += wait
        poll.note(loop.as_loop)
    return poll, loop, time


def test_it_stays_awake_after_a_streak_of_short_waits() -> None:
    poll, loop, time = noted_after([LONG, *[SHORT] * STREAK])
    assert poll.awake
    time.now += LONGEST * 0.9
    assert loop.turn()
    assert poll.awake


def test_events_keep_it_awake() -> None:
    poll, loop, time = noted_after([LONG, *[SHORT] * STREAK])
    for _ in range(100):
        time.now += LONGEST * 0.9
        poll.note(loop.as_loop)
        assert loop.turn()
    assert poll.awake


def test_it_sleeps_when_nothing_comes_and_needs_another_streak() -> None:
    poll, loop, time = noted_after([LONG, *[SHORT] * STREAK])
    time.now += LONGEST * 1.1
    assert loop.turn()
    assert not poll.awake
    assert not loop.turn()
    for _ in range(STREAK):
        assert not poll.awake
        time.now += SHORT
        poll.note(loop.as_loop)
    time.now += SHORT
    poll.note(loop.as_loop)
    assert poll.awake


def test_a_long_wait_begins_the_count_again() -> None:
    poll, loop, _ = noted_after([LONG, *[SHORT] * (STREAK - 1), LONG, *[SHORT] * (STREAK - 1)])
    assert not poll.awake
    assert not loop.turn()


def test_zero_means_never() -> None:
    poll, loop, _ = noted_after([0.0] * 100, longest=0)
    assert not poll.awake
    assert not loop.turn()


@given(waits=st.lists(st.floats(0, 4 * LONGEST), max_size=200))
def test_it_is_never_awake_for_longer_than_that_in_vain(waits: list[float]) -> None:
    """The processor time spent is at most `longest` after each streak of events."""
    time, loop = FakeClock(), Loop()
    poll = BusyPoll(LONGEST, time)
    step = LONGEST / 10
    last = time.now
    for wait in waits:
        end = time.now + wait
        while time.now < end:
            time.now = min(end, time.now + step)
            loop.turn()
            assert not poll.awake or time.now - last <= LONGEST + 2 * step
        poll.note(loop.as_loop)
        last = time.now
    time.now += 2 * LONGEST
    loop.turn()
    loop.turn()
    assert not poll.awake


async def test_a_real_loop_sleeps_again() -> None:
    loop = asyncio.get_running_loop()
    poll = BusyPoll(0.05)
    for _ in range(STREAK + 2):
        poll.note(loop)
    assert poll.awake
    for _ in range(1_000):
        if not poll.awake:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the loop doesn't sleep any more")
