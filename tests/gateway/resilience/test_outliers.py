"""Who is ejected from a pool, for how long, and that somebody is always left."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.resilience.outcome import Outcome
from gateway.resilience.outliers import OutlierPolicy, Outliers
from tests.gateway.fake_time import FakeClock

OK, OWN, GATE = Outcome.SUCCESS, Outcome.SERVER_ERROR, Outcome.GATEWAY_ERROR


def pool(size: int, clock: FakeClock, **policy: float | None) -> Outliers[int]:
    outliers = Outliers[int](OutlierPolicy(**policy), clock)  # type: ignore[arg-type]  # fields differ in type
    outliers.keep(range(size))
    return outliers


def fail(outliers: Outliers[int], member: int, times: int = 5, outcome: Outcome = GATE) -> bool:
    return [outliers.record(member, outcome) for _ in range(times)][-1]


@pytest.mark.parametrize("outcome", [OWN, GATE])
def test_the_fifth_failure_in_a_row_ejects(outcome: Outcome) -> None:
    outliers = pool(4, FakeClock())
    assert not fail(outliers, 2, 4, outcome)
    assert outliers.eligible() == (0, 1, 2, 3)
    assert fail(outliers, 2, 1, outcome)
    assert outliers.eligible() == (0, 1, 3)


@pytest.mark.parametrize("answer", [OK, Outcome.CLIENT_ERROR])
def test_an_answer_ends_the_row(answer: Outcome) -> None:
    outliers = pool(4, FakeClock())
    for _ in range(5):
        fail(outliers, 0, 4)
        outliers.record(0, answer)
    assert outliers.eligible() == (0, 1, 2, 3)


def test_a_cancelled_try_neither_counts_nor_ends_the_row() -> None:
    outliers = pool(4, FakeClock())
    fail(outliers, 0, 4)
    assert not fail(outliers, 0, 10, Outcome.CANCELLED)
    assert fail(outliers, 0, 1)


def test_a_services_own_errors_can_be_left_out() -> None:
    outliers = pool(4, FakeClock(), errors=None, gateway_errors=3)
    assert not fail(outliers, 0, 100, OWN)
    assert not fail(outliers, 0, 2, GATE)
    assert not outliers.record(0, OWN)  # not a gateway's error: the row of those ends
    assert not fail(outliers, 0, 2, GATE)
    assert outliers.record(0, GATE)


def test_each_ejection_is_longer_up_to_the_cap() -> None:
    clock = FakeClock()
    outliers = pool(2, clock)
    for times in range(1, 15):
        assert fail(outliers, 0)
        wait = min(30 * times, 300)
        assert outliers.snapshot()[0].ejected_for == pytest.approx(wait)
        clock.advance(wait - 0.01)
        assert outliers.eligible() == (1,)
        clock.advance(0.02)
        assert outliers.eligible() == (0, 1)


def test_good_behaviour_takes_ejections_off_again() -> None:
    clock = FakeClock()
    outliers = pool(2, clock)
    for times in range(1, 4):
        fail(outliers, 0)
        clock.advance(30 * times)
    assert outliers.ejection(0)[1] == 3
    clock.advance(65)
    fail(outliers, 0)
    assert outliers.snapshot()[0].ejected_for == pytest.approx(60)  # three less two, and one more
    clock.advance(60 + 10_000)
    fail(outliers, 0)
    assert outliers.snapshot()[0].ejected_for == pytest.approx(30)


def test_what_an_ejected_member_still_finishes_changes_nothing() -> None:
    clock = FakeClock()
    outliers = pool(2, clock)
    fail(outliers, 0)
    assert not fail(outliers, 0, 50)
    clock.advance(30)
    assert not fail(outliers, 0, 4)  # its row begins now


@pytest.mark.parametrize(
    ("size", "out"), [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (9, 4), (10, 5)]
)
def test_at_most_half_is_ejected_and_at_least_one_of_two(size: int, out: int) -> None:
    outliers = pool(size, FakeClock(), panic=0.0)
    ejected = [fail(outliers, member) for member in range(size)]
    assert sum(ejected) == out == OutlierPolicy().ejectable(size)
    assert len(outliers.eligible()) == size - out


@given(size=st.integers(0, 200), share=st.floats(0, 1))
def test_never_all_are_ejectable(size: int, share: float) -> None:
    most = OutlierPolicy(max_ejected=share).ejectable(size)
    assert most == 0 if size < 2 else 1 <= most < size
    assert most <= max(1, size * share)


def test_who_could_not_be_ejected_is_as_soon_as_there_is_room() -> None:
    clock = FakeClock()
    outliers = pool(2, clock)
    fail(outliers, 0)
    assert not fail(outliers, 1, 20)
    clock.advance(30)
    assert outliers.record(1, GATE)
    assert outliers.eligible() == (0,)


def test_a_pool_that_shrinks_takes_the_ejected_back() -> None:
    clock = FakeClock()
    outliers = pool(6, clock)
    for member in (0, 1, 2):
        fail(outliers, member)
        clock.advance(1)
    outliers.keep([0, 1, 2, 3])
    assert outliers.eligible() == (0, 3)
    outliers.keep([0, 1, 2])
    assert outliers.eligible() == (0, 1)
    outliers.keep([2])
    assert outliers.eligible() == (2,)


def test_members_that_stay_keep_their_state_and_new_ones_begin_anew() -> None:
    outliers = pool(4, FakeClock())
    fail(outliers, 1)
    fail(outliers, 2, 4)
    outliers.keep([1, 2, 5, 6])
    assert outliers.eligible() == (2, 5, 6)
    assert outliers.record(2, GATE)
    outliers.keep([5, 6])
    outliers.keep([1, 2, 5, 6])
    assert outliers.eligible() == (1, 2, 5, 6)
    assert not outliers.record(77, GATE)


def test_health_checks_take_out_as_many_as_they_like_until_the_panic() -> None:
    outliers = pool(4, FakeClock())
    outliers.mark(0, healthy=False)
    outliers.mark(1, healthy=False)
    assert (outliers.eligible(), outliers.panicking) == ((2, 3), False)
    outliers.mark(2, healthy=False)
    assert (outliers.eligible(), outliers.panicking) == ((0, 1, 2, 3), True)
    outliers.mark(0, healthy=True)
    assert outliers.eligible() == (0, 3)


def test_the_panic_counts_both_causes_and_ends_with_an_ejection() -> None:
    clock = FakeClock()
    outliers = pool(4, clock)
    outliers.mark(3, healthy=False)
    fail(outliers, 0)
    assert outliers.eligible() == (1, 2)
    fail(outliers, 1)
    assert (outliers.eligible(), outliers.panicking) == ((0, 1, 2, 3), True)
    clock.advance(30)
    assert (outliers.eligible(), outliers.panicking) == ((0, 1, 2), False)


def test_a_single_instance_is_asked_even_if_it_is_ill() -> None:
    outliers = pool(1, FakeClock())
    outliers.mark(0, healthy=False)
    assert outliers.eligible() == (0,)


def test_the_eligible_are_the_same_object_while_nothing_changes() -> None:
    outliers = pool(5, FakeClock())
    fail(outliers, 0)
    assert outliers.eligible() is outliers.eligible()


class AnyHistory(RuleBasedStateMachine):
    @initialize(size=st.integers(0, 7))
    def begin(self, size: int) -> None:
        self.clock = FakeClock()
        self.outliers = pool(size, self.clock)
        self.members = list(range(size))
        self.ill: set[int] = set()

    @rule(members=st.sets(st.integers(0, 9)))
    def change(self, members: set[int]) -> None:
        self.ill &= set(self.members) & members
        self.members = sorted(members)
        self.outliers.keep(self.members)

    @rule(member=st.integers(0, 9), outcome=st.sampled_from(Outcome), times=st.integers(1, 6))
    def end(self, member: int, outcome: Outcome, times: int) -> None:
        fail(self.outliers, member, times, outcome)

    @rule(member=st.integers(0, 9), healthy=st.booleans())
    def check(self, member: int, healthy: bool) -> None:
        self.outliers.mark(member, healthy=healthy)
        if member in self.members:
            self.ill = self.ill - {member} if healthy else self.ill | {member}

    @rule(seconds=st.sampled_from([0.5, 29.5, 30.0, 100.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def somebody_is_left(self) -> None:
        if not hasattr(self, "members"):
            return
        seen = self.outliers.snapshot()
        out = {member for member, one in seen.items() if one.ejected_for > 0}
        size = len(self.members)
        assert len(out) <= (0 if size < 2 else max(1, size // 2))
        assert all(one.ejected_for <= 300 for one in seen.values())
        sound = [member for member in self.members if member not in out | self.ill]
        panic = 2 * len(sound) < size
        assert list(self.outliers.eligible()) == (self.members if panic else sound)
        assert self.outliers.panicking is panic
        assert bool(self.outliers.eligible()) is bool(self.members)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
