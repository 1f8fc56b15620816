"""Identical requests in flight share one call, which lives as long as somebody waits."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from ai_services.llm.asking.coalescing import Coalescing
from shared.errors import LoomaError, TooManyRequests, UpstreamUnavailable


@dataclass(slots=True)
class Detailed(LoomaError):
    """An error whose fields are slots that its constructor fills by name."""

    kind: str
    param: str | None = None


@dataclass
class Work:
    """A call of a model that says so when it begins, ends or is broken off."""

    error: BaseException | None = None
    begun: int = 0
    cancelled: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> int:
        self.begun += 1
        run = self.begun
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return run


@pytest.fixture
async def calls() -> AsyncIterator[Coalescing[int]]:
    opened = Coalescing[int]()
    yield opened
    await opened.close()


async def waiting(calls: Coalescing[int], work: Work, number: int = 1) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(calls.share(b"k", work)) for _ in range(number)]
    await asyncio.sleep(0.01)
    return tasks


async def gone(task: asyncio.Task[int]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)


async def test_identical_requests_share_a_call(calls: Coalescing[int]) -> None:
    work, other = Work(), Work()
    tasks = await waiting(calls, work, 5)
    apart = asyncio.create_task(calls.share(b"other", other))
    work.may_end.set()
    other.may_end.set()
    assert await asyncio.gather(*tasks, apart) == [1] * 6
    assert (work.begun, other.begun) == (1, 1)


async def test_who_comes_after_it_ended_begins_anew(calls: Coalescing[int]) -> None:
    work = Work()
    work.may_end.set()
    assert [await calls.share(b"k", work) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize("leaver", [0, 2])
async def test_it_goes_on_while_another_waits(calls: Coalescing[int], leaver: int) -> None:
    work = Work()
    tasks = await waiting(calls, work, 3)
    await gone(tasks.pop(leaver))
    await gone(tasks.pop())
    work.may_end.set()
    assert await tasks[0] == 1
    assert (work.begun, work.cancelled) == (1, 0)


async def test_it_is_cancelled_when_nobody_waits(calls: Coalescing[int]) -> None:
    work = Work()
    for task in await waiting(calls, work, 2):
        assert work.cancelled == 0
        await gone(task)
    assert work.cancelled == 1
    (again,) = await waiting(calls, work)
    work.may_end.set()
    assert await again == 2


async def test_who_comes_while_it_is_broken_off_begins_anew(calls: Coalescing[int]) -> None:
    cleaned, ended = asyncio.Event(), False

    async def slow_to_end() -> int:
        nonlocal ended
        try:
            await asyncio.sleep(60)
        finally:
            await cleaned.wait()  # it settles what it used
            ended = True
        return 0

    first = asyncio.create_task(calls.share(b"k", slow_to_end))
    await asyncio.sleep(0.01)
    await gone(first)
    work = Work()
    work.may_end.set()
    assert await calls.share(b"k", work) == 1
    assert not ended
    cleaned.set()
    await calls.close()
    assert ended


@pytest.mark.parametrize(
    "error",
    [
        UpstreamUnavailable("away", retry_after=7),
        TooManyRequests("slow down", retry_after=3),
        Detailed(kind="limited", param="model"),
        ValueError("bad", 3),
        OSError(2, "gone"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_reaches_all_each_as_its_own(
    calls: Coalescing[int], error: Exception
) -> None:
    work = Work(error)
    tasks = await waiting(calls, work, 4)
    work.may_end.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert len({id(one) for one in errors}) == 4
    for one in errors:
        assert type(one) is type(error)
        assert one is not error
        assert (one.args, str(one), vars(one)) == (error.args, str(error), vars(error))
        assert one.__cause__ is error
        assert len(traceback.extract_tb(one.__traceback__)) < 4
    if isinstance(error, Detailed):
        assert [(one.kind, one.param) for one in errors if isinstance(one, Detailed)] == [
            ("limited", "model")
        ] * 4


async def test_close_breaks_off_and_says_so(calls: Coalescing[int]) -> None:
    work = Work()
    tasks = await waiting(calls, work, 2)
    await calls.close()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(outcome, UpstreamUnavailable)
    assert work.cancelled == 1
