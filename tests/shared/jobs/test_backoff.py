"""Pauses between attempts: growing, bounded, spread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.backoff import Retry, pause_after

chances = st.floats(0, 1)
failures = st.integers(1, 10_000)
retries = st.builds(
    Retry, failures=st.integers(1, 50), first_s=st.floats(0.01, 60), longest_s=st.floats(60, 1e5)
)


@given(retries, failures, chances)
def test_a_pause_is_bounded(retry, count, chance):
    pause = pause_after(retry, count, chance)
    assert retry.first_s / 2 <= pause <= retry.longest_s


@given(retries, failures, chances)
def test_pauses_never_shrink_for_the_same_chance(retry, count, chance):
    assert pause_after(retry, count + 1, chance) >= pause_after(retry, count, chance)


@given(retries, failures)
def test_chance_takes_half_of_it_at_most(retry, count):
    longest, shortest = pause_after(retry, count, 0.0), pause_after(retry, count, 1.0)
    assert shortest == pytest.approx(longest / 2)


def test_a_pause_doubles_until_it_is_the_longest():
    retry = Retry(first_s=1, longest_s=10)
    assert [pause_after(retry, count, 0.0) for count in (1, 2, 3, 4, 5, 99)] == [1, 2, 4, 8, 10, 10]


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"first_s": 0}, {"first_s": 5, "longest_s": 4}])
def test_a_retry_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="retry needs"):
        Retry(**wrong)
