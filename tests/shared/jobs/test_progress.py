"""Rate and time left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.progress import progress_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def of(done: int, total: int | None, *, before: int = 0, seconds: float | None = 10.0):
    since = None if seconds is None else NOW - timedelta(seconds=seconds)
    return progress_of(done, total, before=before, since=since, now=NOW)


def test_the_time_left_is_what_is_left_by_the_rate():
    found = of(30, 100, before=10)
    assert (found.rate, found.eta_s) == (2.0, 35.0)


def test_what_was_done_before_the_claim_says_nothing_of_the_rate():
    assert of(1000, 2000, before=1000).rate is None


@pytest.mark.parametrize(
    ("done", "total", "seconds", "eta"),
    [
        (10, None, 10, None),
        (0, 10, 10, None),
        (10, 10, 10, 0.0),
        (5, 10, None, None),
        (5, 10, 0, None),
    ],
)
def test_what_cant_be_known_is_none(done, total, seconds, eta):
    assert of(done, total, seconds=seconds).eta_s == eta


@given(
    st.integers(0, 10**9),
    st.integers(0, 10**9) | st.none(),
    st.integers(0, 10**9),
    st.floats(-10, 10**6) | st.none(),
)
def test_rate_and_time_left_are_never_negative(done, total, before, seconds):
    found = of(done, total, before=before, seconds=seconds)
    assert found.rate is None or found.rate > 0
    assert found.eta_s is None or found.eta_s >= 0


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.floats(0.1, 10**5))
def test_who_goes_on_at_the_rate_is_done_in_time(done, left, seconds):
    found = of(done, done + left, seconds=seconds)
    assert found.rate is not None
    assert found.eta_s is not None
    assert found.eta_s * found.rate == pytest.approx(left)
