"""Who gets the next turn, whatever one organisation asks for."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data_access.relational.fair_turns import FairTurns


async def hold(turns: FairTurns, who: str | None, order: list[str], until: asyncio.Event) -> None:
    async with turns.turn(who, 10):
        order.append(str(who))
        await until.wait()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_crowd_of_one_is_one_turn_ahead_of_another() -> None:
    turns, order = FairTurns(1), []
    first = asyncio.Event()
    holding = asyncio.create_task(hold(turns, "crowd", order, first))
    await settle()
    gate = asyncio.Event()
    gate.set()
    crowd = [asyncio.create_task(hold(turns, "crowd", order, gate)) for _ in range(100)]
    await settle()
    single = asyncio.create_task(hold(turns, "single", order, gate))
    await settle()
    first.set()
    await asyncio.gather(holding, single, *crowd)
    assert order.index("single") <= 2
    assert len(order) == 102


async def test_slow_work_of_one_leaves_turns_to_others_at_any_time() -> None:
    turns, order, never = FairTurns(10), [], asyncio.Event()
    slow = [asyncio.create_task(hold(turns, "slow", order, never)) for _ in range(50)]
    await settle()
    assert (order.count("slow"), turns.waiting("slow")) == (8, 42)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turns.turn("other", 0.001))
        await stack.enter_async_context(turns.turn("another", 0.001))
        with pytest.raises(TimeoutError):
            await stack.enter_async_context(turns.turn("third", 0.001))
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    async with AsyncExitStack() as stack:
        for number in range(10):
            await stack.enter_async_context(turns.turn(number, 0.001))


async def test_the_platforms_own_work_has_no_share_but_waits_as_others_do() -> None:
    turns = FairTurns(4)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(turns.turn("one", 0.001))
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(turns.turn(None, 0.001))
        with pytest.raises(TimeoutError):
            await stack.enter_async_context(turns.turn(None, 0.001))


async def test_one_turn_is_for_anybody() -> None:
    turns = FairTurns(1)
    for _ in range(3):
        async with turns.turn("only", 0.001):
            pass


STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "end", "cancel"]), st.integers(0, 30), st.integers(0, 3)),
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(limit=st.integers(1, 5), steps=STEPS)
async def test_no_turn_is_lost_or_given_twice(
    limit: int, steps: list[tuple[str, int, int]]
) -> None:
    turns = FairTurns(limit)
    running: list[tuple[asyncio.Task[None], asyncio.Event]] = []
    inside = most = 0

    async def work(who: int, until: asyncio.Event) -> None:
        nonlocal inside, most
        async with turns.turn(who, 30):
            inside += 1
            most = max(most, inside)
            try:
                await until.wait()
            finally:
                inside -= 1

    for name, number, who in steps:
        if name == "ask":
            until = asyncio.Event()
            running.append((asyncio.create_task(work(who, until)), until))
        elif running:
            task, until = running[number % len(running)]
            if name == "end":
                until.set()
            else:
                task.cancel()
        for _ in range(number % 4):
            await asyncio.sleep(0)
    for _, until in running:
        until.set()
    await asyncio.gather(*(task for task, _ in running), return_exceptions=True)
    assert (inside, most <= limit) == (0, True)
    async with AsyncExitStack() as stack:  # all are free again
        for one in range(limit):
            await stack.enter_async_context(turns.turn(100 + one, 0.001))
