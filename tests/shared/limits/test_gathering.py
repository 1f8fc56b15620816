"""Questions gathered into round trips, and what becomes of those whose asker has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry, Gauge

from shared.errors import StoreError, StoreUnavailable
from shared.limits.gathering import Gathering
from shared.limits.outage import Outage

SOON_S = 10.0


@dataclass
class Counting:
    """A count that takes and gives back numbers, may hang, be away or be broken."""

    trips: list[list[int]] = field(default_factory=list)
    taken: int = 0
    away: bool = False
    defect: Exception | None = None
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    async def take(self, several: Sequence[int]) -> list[int]:
        self.trips.append(list(several))
        await self.answers.wait()
        await self.probe()
        if self.defect is not None:
            raise self.defect
        self.taken += sum(several)
        return [10 * one for one in several]

    async def probe(self) -> None:
        if self.away:
            raise StoreUnavailable("away")
        await self.answers.wait()


@dataclass
class Setting:
    count: Counting
    outage: Outage
    questions: Gathering[int, int]
    registry: CollectorRegistry

    async def ask(self, *numbers: int) -> list[asyncio.Task[int]]:
        """Asked by now, one by one."""
        tasks = [asyncio.create_task(self.questions.ask(number)) for number in numbers]
        await asyncio.sleep(0.01)
        return tasks

    def degraded(self) -> float | None:
        return self.registry.get_sample_value("degraded")

    async def is_back(self) -> bool:
        return not self.outage.away


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    count = Counting()
    registry = CollectorRegistry()
    degraded = Gauge("degraded", "of this test", registry=registry)
    outage = Outage("this test", degraded, count.probe, 0.2)
    questions = Gathering[int, int](
        outage, count.take, lambda asked, _: -asked if asked > 0 else None
    )
    yield Setting(count, outage, questions, registry)
    count.answers.set()
    await questions.close()
    await outage.close()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON_S):
        while not await holds():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def gone(task: asyncio.Task[int]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_comes_meanwhile_goes_together_in_order(setting: Setting) -> None:
    setting.count.answers.clear()
    first = await setting.ask(1)
    others = await setting.ask(2, 3)
    setting.questions.tell(4)
    last = await setting.ask(5)
    setting.count.answers.set()
    assert await asyncio.gather(*first, *others, *last) == [10, 20, 30, 50]
    assert setting.count.trips == [[1], [2, 3, 4, 5]]


async def test_a_crowd_takes_several_round_trips(setting: Setting) -> None:
    tasks = await setting.ask(*range(300))
    assert await asyncio.gather(*tasks) == list(range(0, 3000, 10))
    assert [len(trip) for trip in setting.count.trips] == [128, 128, 44]


async def test_who_goes_before_it_is_sent_asks_nothing(setting: Setting) -> None:
    setting.count.answers.clear()
    (first,) = await setting.ask(1)
    second, third = await setting.ask(2, 3)
    await gone(second)
    setting.count.answers.set()
    assert await asyncio.gather(first, third) == [10, 30]
    assert setting.count.trips == [[1], [3]]


async def test_what_was_sent_for_who_has_gone_is_undone(setting: Setting) -> None:
    setting.count.answers.clear()
    first, second = await setting.ask(1, 2)
    await gone(first)
    setting.count.answers.set()
    assert await second == 20
    await setting.questions.close()
    assert (setting.count.trips, setting.count.taken) == ([[1, 2], [-1]], 2)


@pytest.mark.parametrize("turns", range(12))
async def test_nothing_is_lost_in_whatever_moment_its_asker_goes(
    setting: Setting, turns: int
) -> None:
    """Also between the answer and the turn of the loop in which the asker would hear of it."""
    task = asyncio.create_task(setting.questions.ask(1))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    await setting.questions.close()
    assert setting.count.taken == (1 if outcome == 10 else 0)


async def test_an_outage_fails_all_at_once_each_with_its_own_error(setting: Setting) -> None:
    setting.count.away = True
    outcomes = await asyncio.gather(*await setting.ask(1, 2), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    assert outcomes[0] is not outcomes[1]
    trips = len(setting.count.trips)
    with pytest.raises(StoreError):
        await setting.questions.ask(3)
    setting.questions.tell(4)
    assert len(setting.count.trips) == trips
    assert setting.degraded() == 1
    setting.count.away = False
    await until(setting.is_back)
    assert await setting.questions.ask(5) == 50
    assert setting.degraded() == 0


async def test_what_is_answered_too_late_is_undone_when_the_count_is_back(setting: Setting) -> None:
    setting.count.answers.clear()
    with pytest.raises(StoreError):
        await setting.questions.ask(7)
    assert setting.outage.away
    setting.count.answers.set()
    await until(setting.is_back)
    assert await setting.questions.ask(1) == 10
    assert setting.count.taken == 1
    assert any(-7 in trip for trip in setting.count.trips)


async def test_a_defect_leaves_nobody_waiting(setting: Setting) -> None:
    setting.count.answers.clear()
    tasks = await setting.ask(1)
    tasks += await setting.ask(2, 3)
    setting.count.defect = ValueError("wrong")
    asking = setting.questions._asking
    setting.count.answers.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 3
    assert asking is not None
    with pytest.raises(ValueError, match="wrong"):
        await asking
    setting.count.defect = None
    assert await setting.questions.ask(4) == 40
