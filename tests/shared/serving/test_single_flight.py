"""Whoever asks at the same time is answered by one run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from shared.errors import UpstreamUnavailable
from shared.serving.single_flight import SingleFlight


@dataclass
class Work:
    runs: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = False

    async def __call__(self) -> int:
        self.runs += 1
        run = self.runs
        await self.may_end.wait()
        if self.fails:
            raise UpstreamUnavailable("away")
        return run


@pytest.fixture
def flights() -> SingleFlight[str, int]:
    return SingleFlight("work")


async def test_all_who_ask_meanwhile_share_a_run(flights: SingleFlight[str, int]) -> None:
    work, other = Work(), Work()
    asking = [asyncio.create_task(flights.do("a", work)) for _ in range(5)]
    apart = asyncio.create_task(flights.do("b", other))
    await asyncio.sleep(0)
    assert flights.is_under_way("a")
    work.may_end.set()
    other.may_end.set()
    assert await asyncio.gather(*asking, apart) == [1] * 6
    assert (work.runs, other.runs) == (1, 1)
    assert not flights.is_under_way("a")
    assert await flights.do("a", work) == 2


async def test_who_goes_away_stops_nobody(flights: SingleFlight[str, int]) -> None:
    work = Work()
    first, second = (asyncio.create_task(flights.do("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    work.may_end.set()
    assert (await second, work.runs) == (1, 1)


async def test_a_failure_is_everybody_s_who_waited_and_the_next_run_is_a_new_one(
    flights: SingleFlight[str, int],
) -> None:
    work = Work(fails=True)
    work.may_end.set()
    for one in await asyncio.gather(
        *(flights.do("a", work) for _ in range(3)), return_exceptions=True
    ):
        assert isinstance(one, UpstreamUnavailable)
    work.fails = False
    assert await flights.do("a", work) == 2


async def test_a_run_that_has_just_ended_is_not_joined(flights: SingleFlight[str, int]) -> None:
    again: list[asyncio.Task[int]] = []

    async def second() -> int:
        return 2

    async def first() -> int:
        # Called when this has ended, and before those who wait for it hear that.
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: again.append(flights.begin("a", second)))
        return 1

    assert await flights.do("a", first) == 1
    assert await again[0] == 2
    await asyncio.sleep(0)
    assert not flights.is_under_way("a")


async def test_close_ends_what_nobody_waits_for(flights: SingleFlight[str, int]) -> None:
    flight = flights.begin("a", Work())
    flights.close()
    with pytest.raises(asyncio.CancelledError):
        await flight
