"""Who is admitted, who is turned away first, and that no slot is ever lost or given twice."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience.outcome import Outcome
from gateway.resilience.shedding import Priority, Shedder, SheddingPolicy, Slot
from gateway.resilience.witnesses import ANYBODY
from shared.errors import (
    InvalidInput,
    TooManyRequests,
    UpstreamTimeout,
    UpstreamUnavailable,
    render,
)
from tests.gateway.fake_time import FakeClock, never

HEALTH, INTERACTIVE, BATCH = Priority
TEN = SheddingPolicy(limit=10, health_reserve=2)


def fill(shedder: Shedder, priority: Priority) -> list[Slot]:
    """As many slots as there are."""
    slots = []
    try:
        while True:
            slots.append(shedder.admit(priority))
    except UpstreamUnavailable:
        return slots


def test_each_class_has_its_ceiling() -> None:
    for priority, most in ((HEALTH, 12), (INTERACTIVE, 10), (BATCH, 5)):
        assert len(fill(Shedder("portrait", TEN), priority)) == most


def test_classes_share_one_account_and_batch_is_shed_first() -> None:
    shedder = Shedder("portrait", TEN)
    assert [len(fill(shedder, one)) for one in (BATCH, INTERACTIVE, HEALTH)] == [5, 5, 2]
    seen = shedder.snapshot()
    assert (seen.limit, seen.in_flight) == (10, 12)
    assert seen.shed == {HEALTH: 1, INTERACTIVE: 1, BATCH: 1}
    shedder = Shedder("portrait", TEN)
    for _ in range(5):
        shedder.admit(INTERACTIVE)
    assert fill(shedder, BATCH) == []


def test_a_refusal_is_a_503_that_says_when_to_come_back() -> None:
    shedder = Shedder("portrait", TEN, chance=lambda: 0.5)
    fill(shedder, INTERACTIVE)
    for priority, seconds in ((INTERACTIVE, "2"), (BATCH, "8")):
        with pytest.raises(UpstreamUnavailable, match="'portrait' is busy") as caught:
            shedder.admit(priority)
        status, _, headers = render(caught.value, "id")
        assert (status, headers["Retry-After"]) == (503, seconds)


def test_one_organisation_leaves_room_to_the_others() -> None:
    shedder = Shedder("portrait", SheddingPolicy(limit=20, batch_share=0.5))
    one, two = UUID(int=1), UUID(int=2)
    slots = [shedder.admit(INTERACTIVE, one) for _ in range(15)]
    with pytest.raises(TooManyRequests, match="share") as caught:
        shedder.admit(INTERACTIVE, one)
    assert (render(caught.value, "id")[0], caught.value.retry_after) >= (429, 1.0)
    slots += [shedder.admit(INTERACTIVE, two) for _ in range(5)]
    with pytest.raises(UpstreamUnavailable, match="busy"):
        shedder.admit(INTERACTIVE, two)
    for slot in slots:
        slot.release(Outcome.SUCCESS)
    assert shedder.snapshot().in_flight == 0
    assert [shedder.admit(BATCH, one) for _ in range(7)]
    with pytest.raises(TooManyRequests):
        shedder.admit(BATCH, one)
    assert [shedder.admit(BATCH, two) for _ in range(3)]


def test_all_who_have_not_signed_in_leave_room_to_those_who_have() -> None:
    shedder = Shedder("auth", SheddingPolicy(limit=20))
    held = [shedder.admit(INTERACTIVE, ANYBODY) for _ in range(15)]
    with pytest.raises(UpstreamUnavailable, match="not signed in"):
        shedder.admit(INTERACTIVE, ANYBODY)
    held += [shedder.admit(INTERACTIVE, UUID(int=1)) for _ in range(5)]
    assert len(held) == 20


def test_one_callers_failures_dont_shrink_what_others_use() -> None:
    clock = FakeClock()
    shedder = Shedder("portrait", SheddingPolicy(limit=100, most=200), clock)
    one, two = UUID(int=1), UUID(int=2)
    other = shedder.admit(INTERACTIVE, two)
    for _ in range(50):
        clock.advance(1.5)
        shedder.admit(INTERACTIVE, one).release(Outcome.GATEWAY_ERROR)
        shedder.admit(INTERACTIVE, one).release(Outcome.UNAVAILABLE)
    assert shedder.snapshot().limit == 100
    other.release(Outcome.GATEWAY_ERROR)  # two saw it
    assert shedder.snapshot().limit == 90


def test_a_slot_is_given_back_once_however_often_it_is_released() -> None:
    shedder = Shedder("portrait", TEN)
    first, *_ = fill(shedder, INTERACTIVE)
    for _ in range(3):
        first.release(Outcome.SUCCESS)
    with first:
        pass
    assert shedder.snapshot().in_flight == 9
    assert len(fill(shedder, INTERACTIVE)) == 1


@pytest.mark.parametrize("error", [ValueError(), asyncio.CancelledError(), UpstreamTimeout("x")])
def test_a_slot_comes_back_whatever_is_raised(error: BaseException) -> None:
    shedder = Shedder("portrait", TEN)
    with pytest.raises(type(error)), shedder.admit(BATCH):
        raise error
    assert shedder.snapshot().in_flight == 0


async def test_accounts_are_exact_under_cancellation() -> None:
    shedder, source = Shedder("portrait", TEN), random.Random(11)
    running, refused, most = 0, 0, 0

    async def ask() -> None:
        nonlocal running, refused, most
        await asyncio.sleep(source.random() * 0.05)
        try:
            with shedder.admit(source.choice(list(Priority))):
                running += 1
                most = max(most, running)
                try:
                    await asyncio.sleep(source.random() * 0.01)
                finally:
                    running -= 1
        except UpstreamUnavailable:
            refused += 1

    tasks = [asyncio.create_task(ask()) for _ in range(2000)]
    await asyncio.sleep(0.02)
    for task in source.sample(tasks, 700):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    seen = shedder.snapshot()
    assert (seen.in_flight, running) == (0, 0)
    assert sum(seen.shed.values()) == refused > 0
    assert 5 < most <= 12


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("admit"), st.sampled_from(Priority), st.integers(1, 30)),
        st.tuples(st.just("end"), st.sampled_from(Outcome), st.integers(1, 30)),
        st.tuples(st.just("wait"), st.floats(0, 3), st.just(1)),
    ),
    max_size=80,
)
POLICIES = st.builds(
    SheddingPolicy,
    limit=st.integers(8, 40),
    batch_share=st.floats(0.01, 1),
    health_reserve=st.integers(0, 5),
    least=st.integers(1, 8),
    most=st.none() | st.integers(40, 60),
    shrink=st.floats(0.1, 0.99),
)


@given(policy=POLICIES, steps=STEPS)
def test_any_history_keeps_the_accounts_and_the_order_of_classes(
    policy: SheddingPolicy, steps: list[tuple[str, object, int]]
) -> None:
    clock = FakeClock()
    shedder, held = Shedder("portrait", policy, clock, never), list[Slot]()
    for name, what, times in steps:
        if isinstance(what, float):
            clock.advance(what)
        for _ in range(times if name != "wait" else 0):
            if isinstance(what, Outcome) and held:
                held.pop().release(what)
            elif isinstance(what, Priority):
                before = shedder.snapshot()
                ceilings = [policy.ceiling(one, before.limit) for one in Priority]
                assert ceilings == sorted(ceilings, reverse=True)  # who is worth less goes first
                try:
                    held.append(shedder.admit(what))
                    assert before.in_flight < ceilings[what]
                except UpstreamUnavailable:
                    assert before.in_flight >= ceilings[what]
        seen = shedder.snapshot()
        assert seen.in_flight == len(held)
        assert policy.least <= seen.limit <= (policy.most or policy.limit)
        if policy.most is None:
            assert seen.limit == policy.limit


# The adaptive limit.

ADAPTIVE = SheddingPolicy(limit=20, least=8, most=100)


def work(shedder: Shedder, rounds: int, at_once: int, outcome: Outcome = Outcome.SUCCESS) -> None:
    for _ in range(rounds):
        slots = [shedder.admit(INTERACTIVE) for _ in range(at_once)]
        for slot in slots:
            slot.release(outcome)


def test_a_used_limit_grows_by_about_one_a_round_up_to_its_most() -> None:
    shedder = Shedder("portrait", ADAPTIVE, FakeClock())
    work(shedder, 10, 20)
    assert 23 <= shedder.snapshot().limit <= 26  # the second half of a round finds it little used
    for _ in range(1000):
        work(shedder, 1, shedder.snapshot().limit)
    assert shedder.snapshot().limit == 100


def test_a_limit_that_is_not_needed_does_not_grow() -> None:
    shedder = Shedder("portrait", ADAPTIVE, FakeClock())
    work(shedder, 1000, 9)
    assert shedder.snapshot().limit == 20


def test_overload_shrinks_it_once_a_second_down_to_its_least() -> None:
    clock = FakeClock()
    shedder = Shedder("portrait", ADAPTIVE, clock)
    limits = []
    for _ in range(12):
        work(shedder, 3, 5, Outcome.GATEWAY_ERROR)
        limits.append(shedder.snapshot().limit)
        clock.advance(1)
    assert limits[:4] == [18, 16, 14, 13]
    assert limits[-3:] == [8, 8, 8]


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.SERVER_ERROR])
def test_cancels_and_a_services_own_errors_are_no_sign_of_overload(outcome: Outcome) -> None:
    shedder = Shedder("portrait", ADAPTIVE, FakeClock())
    work(shedder, 50, 20, outcome)
    assert shedder.snapshot().limit == 20


def test_a_slot_says_by_itself_how_its_request_ended() -> None:
    clock = FakeClock()
    shedder = Shedder("portrait", ADAPTIVE, clock)
    with pytest.raises(UpstreamTimeout), shedder.admit(INTERACTIVE):
        raise UpstreamTimeout("late")
    assert shedder.snapshot().limit == 18
    clock.advance(1)
    with shedder.admit(INTERACTIVE) as slot:
        slot.outcome = Outcome.GATEWAY_ERROR
    assert shedder.snapshot().limit == 16
    clock.advance(1)
    with pytest.raises(InvalidInput), shedder.admit(INTERACTIVE):
        raise InvalidInput("the client's mistake")
    assert shedder.snapshot().limit == 16
