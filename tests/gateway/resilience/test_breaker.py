"""When a breaker opens, how long, whom it lets in half-open, and that its accounts are exact."""

from __future__ import annotations

import asyncio
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.resilience.breaker import REFUSED, Breaker, BreakerPolicy, CircuitState, Ticket
from gateway.resilience.outcome import Outcome
from tests.gateway.fake_time import FakeClock, never

OK, BAD = Outcome.SUCCESS, Outcome.GATEWAY_ERROR
CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN


def once(breaker: Breaker, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        ticket = breaker.acquire()
        assert ticket
        breaker.release(ticket, outcome)


def opened(clock: FakeClock, policy: BreakerPolicy | None = None) -> Breaker:
    breaker = Breaker(policy or BreakerPolicy(), clock, never)
    once(breaker, *[BAD] * 5)
    assert breaker.state is OPEN
    return breaker


def half_open(clock: FakeClock) -> Breaker:
    breaker = opened(clock)
    clock.advance(2)
    return breaker


# Opening.


@pytest.mark.parametrize("failure", [Outcome.SERVER_ERROR, Outcome.GATEWAY_ERROR])
def test_the_fifth_failure_in_a_row_opens(failure: Outcome) -> None:
    breaker = Breaker(clock=FakeClock(), chance=never)
    once(breaker, failure, failure, failure, failure)
    assert breaker.state is CLOSED
    once(breaker, failure)
    assert breaker.state is OPEN
    assert breaker.acquire() == REFUSED
    assert not breaker.admits()


def test_a_success_ends_the_row() -> None:
    breaker = Breaker(clock=FakeClock(), chance=never)
    once(breaker, BAD, BAD, BAD, BAD, OK, BAD, BAD, BAD, BAD)
    assert breaker.state is CLOSED


@pytest.mark.parametrize("other", [Outcome.CLIENT_ERROR, Outcome.CANCELLED])
def test_client_errors_and_cancels_neither_count_nor_end_the_row(other: Outcome) -> None:
    breaker = Breaker(clock=FakeClock(), chance=never)
    once(breaker, *[other] * 100)
    assert breaker.snapshot().requests == 0
    once(breaker, BAD, other, BAD, other, BAD, other, BAD, other)
    assert (breaker.state, breaker.snapshot().consecutive) == (CLOSED, 4)
    once(breaker, BAD)
    assert breaker.state is OPEN


def test_half_of_twenty_failing_opens() -> None:
    breaker = Breaker(clock=FakeClock(), chance=never)
    once(breaker, *[BAD, OK] * 9, BAD)
    assert breaker.state is CLOSED  # ten of nineteen
    once(breaker, OK)
    assert breaker.state is OPEN


def test_less_than_half_failing_never_opens() -> None:
    breaker = Breaker(clock=FakeClock(), chance=never)
    once(breaker, *[OK, BAD, OK] * 300)
    assert breaker.state is CLOSED


def test_failures_older_than_the_window_are_forgotten() -> None:
    clock = FakeClock()
    breaker = Breaker(clock=clock, chance=never)
    once(breaker, *[BAD, OK] * 9)
    clock.advance(10)
    once(breaker, *[BAD, OK] * 9)
    assert breaker.state is CLOSED
    once(breaker, BAD, OK)
    assert breaker.state is OPEN


# How long.


@given(times=st.integers(1, 50), chance=st.floats(0, 1, exclude_max=True))
def test_the_open_time_grows_to_its_cap_within_its_jitter(times: int, chance: float) -> None:
    policy = BreakerPolicy()
    whole = min(2.0**times, 30.0)
    assert whole * 0.5 <= policy.open_for(times, chance) <= whole <= 30
    assert policy.open_for(times, 0.0) == whole
    assert BreakerPolicy(jitter=1.0).open_for(times, chance) == pytest.approx(whole * (1 - chance))
    assert BreakerPolicy(jitter=0.0).open_for(times, chance) == whole


def test_each_opening_in_a_row_is_longer_and_closing_forgets_it() -> None:
    clock = FakeClock()
    breaker = opened(clock)
    for times in range(1, 15):
        wait = min(2**times, 30)
        assert breaker.snapshot().opened == times
        assert breaker.snapshot().retry_in == pytest.approx(wait)
        clock.advance(wait - 0.001)
        assert breaker.acquire() == REFUSED
        clock.advance(0.002)
        once(breaker, BAD)
    clock.advance(30)
    once(breaker, OK, OK, OK)
    assert (breaker.state, breaker.snapshot().opened) == (CLOSED, 0)
    once(breaker, *[BAD] * 5)
    assert breaker.snapshot().retry_in == pytest.approx(2)


# Half-open.


async def test_of_a_thousand_at_the_moment_of_half_open_three_get_in() -> None:
    breaker, admitted, together = half_open(FakeClock()), [], asyncio.Event()

    async def ask() -> None:
        await together.wait()
        if ticket := breaker.acquire():
            admitted.append(ticket)

    asking = [asyncio.create_task(ask()) for _ in range(1000)]
    await asyncio.sleep(0)
    together.set()
    await asyncio.gather(*asking)
    assert len(admitted) == breaker.snapshot().probes == 3


async def test_never_more_than_three_probes_whatever_becomes_of_them() -> None:
    clock, source = FakeClock(), random.Random(7)
    breaker = half_open(clock)
    running = most = 0

    async def ask() -> None:
        nonlocal running, most
        await asyncio.sleep(source.random() * 0.02)
        ticket = breaker.acquire()
        if not ticket:
            return
        running += 1
        most = max(most, running)
        outcome = Outcome.CANCELLED
        try:
            await asyncio.sleep(source.random() * 0.005)
            outcome = source.choice([Outcome.CANCELLED, OK])
        finally:
            running -= 1
            breaker.release(ticket, outcome if breaker.snapshot().passed < 2 else Outcome.CANCELLED)

    tasks = [asyncio.create_task(ask()) for _ in range(1000)]
    await asyncio.sleep(0.01)
    for task in source.sample(tasks, 300):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (most, running, breaker.snapshot().probes) == (3, 0, 0)
    assert breaker.state is HALF_OPEN
    for _ in range(breaker.snapshot().passed, 3):
        once(breaker, OK)
    assert breaker.state is CLOSED


def test_looking_at_a_breaker_takes_no_place() -> None:
    breaker = half_open(FakeClock())
    assert all(breaker.admits() and breaker.state is HALF_OPEN for _ in range(10))
    assert breaker.snapshot().probes == 0
    assert [bool(breaker.acquire()) for _ in range(4)] == [True, True, True, False]
    assert not breaker.admits()


def test_a_cancelled_probe_gives_its_place_back_and_decides_nothing() -> None:
    breaker = half_open(FakeClock())
    tickets = [breaker.acquire() for _ in range(3)]
    assert breaker.acquire() == REFUSED
    breaker.release(tickets[0], Outcome.CANCELLED)
    assert (breaker.state, breaker.snapshot().passed) == (HALF_OPEN, 0)
    assert breaker.acquire() != REFUSED
    assert breaker.acquire() == REFUSED


@pytest.mark.parametrize("answer", [OK, Outcome.CLIENT_ERROR])
def test_three_answered_probes_close(answer: Outcome) -> None:
    breaker = half_open(FakeClock())
    once(breaker, answer, answer)
    assert (breaker.state, breaker.snapshot().passed) == (HALF_OPEN, 2)
    once(breaker, answer)
    assert breaker.state is CLOSED


def test_a_closed_breaker_has_forgotten_what_opened_it() -> None:
    clock = FakeClock()
    breaker = Breaker(BreakerPolicy(open_s=1.0), clock, never)
    once(breaker, *[BAD, OK] * 10)
    assert breaker.state is OPEN
    clock.advance(1)
    once(breaker, OK, OK, OK)
    assert (breaker.state, breaker.snapshot().requests) == (CLOSED, 0)
    once(breaker, *[BAD, OK] * 9)
    assert breaker.state is CLOSED


def test_one_failed_probe_opens_again() -> None:
    clock = FakeClock()
    breaker = half_open(clock)
    once(breaker, OK, OK, BAD)
    assert (breaker.state, breaker.snapshot().opened) == (OPEN, 2)
    assert breaker.snapshot().retry_in == pytest.approx(4)


def test_probes_that_outlive_their_state_still_hold_their_places() -> None:
    clock = FakeClock()
    breaker = half_open(clock)
    failed, late, later = (breaker.acquire() for _ in range(3))
    breaker.release(failed, BAD)
    clock.advance(4)
    assert breaker.acquire() != REFUSED
    assert breaker.acquire() == REFUSED  # two old probes and a new one
    breaker.release(late, BAD)  # it says nothing about now
    assert (breaker.state, breaker.snapshot().opened) == (HALF_OPEN, 2)
    breaker.release(later, OK)
    assert breaker.snapshot().passed == 0
    assert breaker.snapshot().probes == 1


def test_outcomes_of_requests_from_before_are_ignored() -> None:
    clock = FakeClock()
    breaker = Breaker(clock=clock, chance=never)
    slow = [breaker.acquire() for _ in range(20)]
    once(breaker, *[BAD] * 5)
    for ticket in slow[:10]:
        breaker.release(ticket, OK)
    assert breaker.state is OPEN
    clock.advance(30)
    once(breaker, OK, OK, OK)
    for ticket in slow[10:]:
        breaker.release(ticket, BAD)
    assert (breaker.state, breaker.snapshot().requests) == (CLOSED, 0)


def test_tickets_of_the_breaker_that_stood_here_before_are_void() -> None:
    clock, chances = FakeClock(), random.Random(3).random
    old, new = (Breaker(BreakerPolicy(jitter=0), clock, chances) for _ in range(2))
    early = old.acquire()
    for breaker in (old, new):
        once(breaker, *[BAD] * 5)
    clock.advance(30)
    probes = [old.acquire() for _ in range(3)]
    assert new.acquire()
    before = new.snapshot()
    for ticket in (early, *probes):
        new.release(ticket, BAD)
    assert new.snapshot() == before
    assert [bool(new.acquire()) for _ in range(3)] == [True, True, False]


def test_a_refusal_needs_no_release_but_may_have_one() -> None:
    breaker = opened(FakeClock())
    before = breaker.snapshot()
    breaker.release(breaker.acquire(), OK)
    assert breaker.snapshot() == before


# Laws.


class Reference:
    """The rules, written down with lists of everything that happened."""

    def __init__(self) -> None:
        self.state, self.epoch, self.row, self.opened, self.passed = CLOSED, 0, 0, 0, 0
        self.until = 0.0
        self.events: list[tuple[float, bool]] = []
        self.probes: dict[int, float] = {}

    def enter(self, state: CircuitState) -> None:
        self.state, self.epoch, self.row, self.passed = state, self.epoch + 1, 0, 0
        self.events = []

    def open(self, now: float) -> None:
        self.opened += 1
        self.until = now + min(2.0**self.opened, 30.0)
        self.enter(OPEN)

    def acquire(self, now: float, number: int) -> tuple[int, bool] | None:
        if self.state is CLOSED:
            return self.epoch, False
        if len(self.probes) >= 3:  # who takes longer than five seconds gives its place back
            self.probes = {one: since for one, since in self.probes.items() if since >= now - 5}
        if self.state is OPEN and now >= self.until and len(self.probes) < 3:
            self.enter(HALF_OPEN)
        if self.state is OPEN or len(self.probes) >= 3:
            return None
        self.probes[number] = now
        return self.epoch, True

    def release(self, now: float, number: int, ticket: tuple[int, bool], outcome: Outcome) -> None:
        epoch, probe = ticket
        self.probes.pop(number, None)
        if epoch != self.epoch:
            return
        if probe:
            if outcome.failed:
                self.open(now)
            elif outcome is not Outcome.CANCELLED:
                self.passed += 1
                if self.passed == 3:
                    self.opened = 0
                    self.enter(CLOSED)
            return
        if not outcome.failed and outcome is not OK:
            return
        self.row = self.row + 1 if outcome.failed else 0
        self.events.append((now, outcome.failed))
        recent = [failed for at, failed in self.events if int(at) > int(now) - 10]
        if self.row >= 5 or (len(recent) >= 20 and 2 * sum(recent) >= len(recent)):
            self.open(now)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), st.integers(1, 6)),
        st.tuples(st.just("release"), st.integers(0, 40), st.sampled_from([*Outcome, OK, BAD])),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.3, 1.0, 1.9, 2.0, 4.0, 10.0, 30.0])),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(steps=STEPS)
def test_every_history_follows_the_rules(steps: list[tuple[str, float, Outcome]]) -> None:
    clock, reference = FakeClock(), Reference()
    breaker = Breaker(clock=clock, chance=never)
    held: list[tuple[int, Ticket, tuple[int, bool]]] = []
    number = 0
    for name, amount, *outcome in steps:
        if name == "wait":
            clock.advance(amount)
        elif name == "acquire":
            for _ in range(int(amount)):
                number += 1
                ticket, expected = breaker.acquire(), reference.acquire(clock.now, number)
                assert bool(ticket) is (expected is not None)
                if expected is not None:
                    assert (ticket < 0) is expected[1]
                    held.append((number, ticket, expected))
        elif held:
            taken, ticket, expected = held.pop(int(amount) % len(held))
            breaker.release(ticket, outcome[0])
            reference.release(clock.now, taken, expected, outcome[0])
        seen = breaker.snapshot()
        state = reference.state
        if state is OPEN and clock.now >= reference.until:
            state = HALF_OPEN
        assert (seen.state, seen.opened, seen.passed) == (state, reference.opened, reference.passed)
        assert seen.probes == len(reference.probes) <= 3
        assert seen.consecutive == reference.row


def test_a_request_leaves_nothing_behind() -> None:
    breaker = Breaker()

    def work(times: int) -> None:
        for _ in range(times):
            breaker.release(breaker.acquire(), OK)

    work(1000)
    before = sys.getallocatedblocks()
    work(20_000)
    assert sys.getallocatedblocks() - before < 200
