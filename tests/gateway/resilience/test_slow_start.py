"""A new replica's share of its weight grows from a little to all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience.slow_start import SlowStart, SlowStartPolicy
from tests.gateway.fake_time import FakeClock

POLICIES = st.builds(
    SlowStartPolicy,
    window_s=st.floats(0, 600),
    least=st.floats(0.01, 1),
    aggression=st.floats(0.2, 5),
)


@given(policy=POLICIES, ages=st.lists(st.floats(-5, 700), min_size=2, max_size=20))
def test_the_factor_only_grows_and_ends_at_one(policy: SlowStartPolicy, ages: list[float]) -> None:
    factors = [policy.factor(age) for age in sorted(ages)]
    assert factors == sorted(factors)
    assert all(policy.least <= factor <= 1 for factor in factors)
    assert policy.factor(policy.window_s) == 1


def test_it_rises_in_a_straight_line_by_default() -> None:
    clock = FakeClock()
    ramp = SlowStart(clock=clock)
    seen = []
    for _ in range(5):
        seen.append(ramp.factor)
        clock.advance(7.5)
    assert seen == pytest.approx([0.1, 0.25, 0.5, 0.75, 1.0])


def test_aggression_bends_the_line() -> None:
    assert SlowStartPolicy(aggression=2).factor(7.5) == pytest.approx(0.5)
    assert SlowStartPolicy(aggression=0.5).factor(15) == pytest.approx(0.25)


def test_it_can_begin_again() -> None:
    clock = FakeClock()
    ramp = SlowStart(clock=clock)
    clock.advance(31)
    assert ramp.factor == 1
    clock.advance(-31)  # it is done: no clock is asked any more
    assert ramp.factor == 1
    ramp.begin()
    assert ramp.factor == pytest.approx(0.1)


def test_without_a_window_there_is_no_slow_start() -> None:
    assert SlowStart(SlowStartPolicy(window_s=0), FakeClock()).factor == 1
    assert SlowStartPolicy(window_s=0).factor(-1) == 1
