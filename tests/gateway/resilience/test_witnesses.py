"""One caller opens no circuit and ejects nobody; several do; and what no answer came to counts."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.resilience.breaker import REFUSED, Breaker, BreakerPolicy, CircuitState
from gateway.resilience.outcome import Outcome
from gateway.resilience.outliers import OutlierPolicy, Outliers
from gateway.resilience.witnesses import ANYBODY, EVERYBODY, FailureRow, RollingWitnesses, Witness
from tests.gateway.fake_time import FakeClock, never

OK, BAD, LOST = Outcome.SUCCESS, Outcome.SERVER_ERROR, Outcome.GATEWAY_ERROR
CLOSED, HALF_OPEN, OPEN = CircuitState.CLOSED, CircuitState.HALF_OPEN, CircuitState.OPEN
ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


def answered(breaker: Breaker, who: UUID, *outcomes: Outcome) -> None:
    """Requests of `who` that were answered so."""
    for outcome in outcomes:
        ticket = breaker.acquire(who)
        assert ticket
        breaker.release(ticket, outcome, who, who)


def lost(breaker: Breaker, who: UUID, times: int = 1) -> None:
    """Requests of `who` to which no answer came."""
    for _ in range(times):
        ticket = breaker.acquire(who)
        assert ticket
        breaker.release(ticket, LOST, who, EVERYBODY)


def breaker_at(clock: FakeClock) -> Breaker:
    return Breaker(BreakerPolicy(), clock, never)


def half_open(clock: FakeClock) -> Breaker:
    breaker = breaker_at(clock)
    lost(breaker, ONE, 5)
    clock.advance(2)
    return breaker


# Opening.


@pytest.mark.parametrize("failure", [BAD, LOST])
def test_one_caller_opens_nothing_however_often_it_fails(failure: Outcome) -> None:
    clock = FakeClock()
    breaker = breaker_at(clock)
    for _ in range(1000):
        answered(breaker, ONE, failure)
        clock.advance(0.01)
    assert breaker.state is CLOSED


def test_nor_while_others_get_their_answers() -> None:
    breaker = breaker_at(FakeClock())
    for _ in range(200):
        answered(breaker, ONE, BAD, BAD, BAD)
        answered(breaker, TWO, OK)
    assert breaker.state is CLOSED


def test_nor_with_another_ones_single_mishap() -> None:
    breaker = breaker_at(FakeClock())
    answered(breaker, ONE, *[BAD] * 100)
    answered(breaker, TWO, *[BAD] * 4)
    assert breaker.state is CLOSED
    answered(breaker, TWO, BAD)
    assert breaker.state is OPEN


def test_those_who_have_not_signed_in_open_nothing_even_together_with_one_who_has() -> None:
    breaker = breaker_at(FakeClock())
    for _ in range(100):
        answered(breaker, ANYBODY, BAD)
        answered(breaker, ONE, BAD)
    assert breaker.state is CLOSED


def test_half_failing_for_several_opens() -> None:
    breaker = breaker_at(FakeClock())
    for number in range(60):
        who = (ONE, TWO, THREE)[number % 3]
        breaker.release(breaker.acquire(who), OK if number % 9 > 5 else BAD, who, who)
    assert breaker.state is OPEN


def test_what_is_lost_counts_whoever_asked() -> None:
    breaker = breaker_at(FakeClock())
    lost(breaker, ONE, 5)
    assert breaker.state is OPEN


def test_an_instances_own_word_that_it_cannot_now_counts_for_nothing() -> None:
    breaker = breaker_at(FakeClock())
    for who in (ONE, TWO, THREE):
        answered(breaker, who, *[Outcome.UNAVAILABLE] * 100)
    assert (breaker.state, breaker.snapshot().requests) == (CLOSED, 0)


SEEN = st.sampled_from([EVERYBODY, ONE, TWO, THREE])


@given(st.lists(SEEN, max_size=40))
def test_a_row_is_what_all_but_the_worst_off_saw(seen: list[Witness]) -> None:
    row = FailureRow()
    for who in seen:
        row.add(who)
    most = max((seen.count(who) for who in (ONE, TWO, THREE)), default=0)
    assert (row.total, row.of_several) == (len(seen), len(seen) - most)


@settings(max_examples=60)
@given(
    hostile=st.lists(st.sampled_from([BAD, LOST]), max_size=60),
    others=st.lists(st.tuples(st.sampled_from([TWO, THREE]), st.just(OK)), max_size=60),
    order=st.randoms(use_true_random=False),
)
def test_no_order_of_one_callers_failures_and_others_successes_opens(
    hostile: list[Outcome], others: list[tuple[UUID, Outcome]], order: object
) -> None:
    steps = [(ONE, outcome) for outcome in hostile] + others
    order.shuffle(steps)  # type: ignore[attr-defined]
    breaker = breaker_at(FakeClock())
    for who, outcome in steps:
        answered(breaker, who, outcome)
    assert breaker.state is CLOSED


def test_callers_beyond_those_told_apart_count_as_one() -> None:
    row, rolling = FailureRow(), RollingWitnesses(10.0)
    for _ in range(1000):
        row.add(uuid4())
        rolling.add(uuid4(), 0.0)
    assert row.witnesses <= 257
    assert row.of_several == 256
    assert rolling.most(0.0) == 1000 - 256


def test_what_was_seen_is_forgotten_with_the_window() -> None:
    rolling = RollingWitnesses(10.0)
    rolling.add(ONE, 0.5)
    rolling.add(ONE, 5.5)
    assert (rolling.most(9.9), rolling.saw(ONE, 9.9)) == (2, True)
    assert (rolling.most(10.5), rolling.saw(ONE, 14.9)) == (1, True)
    assert (rolling.most(15.0), rolling.saw(ONE, 15.0)) == (0, False)


# Half-open.


def test_a_caller_has_one_probe_at_a_time() -> None:
    breaker = half_open(FakeClock())
    assert breaker.acquire(ONE)
    assert breaker.acquire(ONE) == REFUSED
    assert breaker.acquire(TWO)
    assert breaker.acquire(THREE)
    assert breaker.acquire(UUID(int=4)) == REFUSED  # three are all there are


def test_one_callers_failing_probes_keep_it_from_nobody() -> None:
    clock = FakeClock()
    breaker = half_open(clock)
    for _ in range(50):
        answered(breaker, ONE, BAD)
        assert breaker.state is HALF_OPEN
        assert breaker.acquire(ONE) == REFUSED  # others come first for a while
        clock.advance(2)
    answered(breaker, TWO, OK)
    answered(breaker, ONE, BAD)
    answered(breaker, TWO, OK, OK)
    assert breaker.state is CLOSED


def test_slow_probes_give_their_places_back_and_come_last() -> None:
    clock = FakeClock()
    breaker = half_open(clock)
    slow = [breaker.acquire(who) for who in (ONE, TWO, THREE)]
    other = UUID(int=4)
    clock.advance(4.9)
    assert breaker.acquire(other) == REFUSED
    clock.advance(0.2)
    assert breaker.acquire(other)
    assert breaker.acquire(ONE) == REFUSED
    breaker.release(slow[0], LOST, ONE, EVERYBODY)  # what becomes of it still counts
    assert breaker.state is OPEN


def test_two_callers_failing_probes_open_it_again() -> None:
    breaker = half_open(FakeClock())
    answered(breaker, ONE, BAD)
    answered(breaker, ANYBODY, BAD)
    assert breaker.state is HALF_OPEN
    answered(breaker, TWO, BAD)
    assert (breaker.state, breaker.snapshot().opened) == (OPEN, 2)


def test_a_lost_probe_opens_it_again() -> None:
    breaker = half_open(FakeClock())
    lost(breaker, ONE)
    assert (breaker.state, breaker.snapshot().opened) == (OPEN, 2)


# Closing early.


def test_a_good_check_ends_what_opened_for_want_of_answers() -> None:
    told: list[CircuitState] = []
    breaker = Breaker(BreakerPolicy(), FakeClock(), never, lambda: told.append(breaker.state))
    lost(breaker, ONE, 5)
    breaker.vouch()
    assert (breaker.state, breaker.snapshot().opened) == (CLOSED, 0)
    assert told == [OPEN, CLOSED]


def test_a_good_check_says_nothing_of_answers_that_are_failures() -> None:
    breaker = breaker_at(FakeClock())
    answered(breaker, ONE, *[BAD] * 5)
    answered(breaker, TWO, *[BAD] * 5)
    breaker.vouch()
    assert breaker.state is OPEN


def test_a_good_check_changes_nothing_that_is_closed() -> None:
    breaker = breaker_at(FakeClock())
    lost(breaker, ONE, 4)
    breaker.vouch()
    assert breaker.snapshot().consecutive == 4


# Ejection.


def test_whom_another_instance_failed_as_well_ejects_nobody() -> None:
    outliers: Outliers[str] = Outliers(OutlierPolicy(), FakeClock())
    outliers.keep(("a", "b"))
    assert not outliers.record("b", BAD, ONE)
    outliers.succeeded("b")
    assert not any(outliers.record("a", BAD, ONE) for _ in range(50))
    assert outliers.eligible() == ("a", "b")


def test_whom_only_one_instance_fails_ejects_it() -> None:
    outliers: Outliers[str] = Outliers(OutlierPolicy(), FakeClock())
    outliers.keep(("a", "b"))
    for _ in range(4):
        assert not outliers.record("a", BAD, ONE)
        outliers.succeeded("b")
    assert outliers.record("a", BAD, ONE)
    assert outliers.eligible() == ("b",)


def test_that_another_instance_failed_somebody_is_forgotten() -> None:
    clock = FakeClock()
    outliers: Outliers[str] = Outliers(OutlierPolicy(), clock)
    outliers.keep(("a", "b"))
    outliers.record("b", BAD, ONE)
    for _ in range(5):
        assert not outliers.record("a", BAD, ONE)
    clock.advance(61)
    assert outliers.record("a", BAD, ONE)
