"""Rolling counts are what a list of all events would say."""

from __future__ import annotations

from math import floor

from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience.rolling_window import RollingCounts

_EVENTS = st.lists(
    st.tuples(st.floats(0, 7, allow_nan=False), st.integers(0, 1), st.booleans()), max_size=80
)


@given(events=_EVENTS, start=st.floats(-50, 1e6), buckets=st.integers(1, 12))
def test_totals_equal_a_count_of_all_events(
    events: list[tuple[float, int, bool]], start: float, buckets: int
) -> None:
    counts = RollingCounts(2, 10.0, buckets)
    width, now = 10.0 / buckets, max(0.0, start)
    seen: list[tuple[float, int]] = []
    for pause, kind, clear in events:
        now += pause
        if clear:
            counts.clear()
            seen.clear()
        counts.add(kind, now)
        seen.append((now, kind))
        newest = floor(now / width)
        alive = [what for at, what in seen if floor(at / width) > newest - buckets]
        assert counts.totals == [alive.count(0), alive.count(1)]
        # Nothing younger than the window less one bucket is missing, nothing older counts.
        young = sum(now - at < 10.0 - width - 1e-6 for at, _ in seen)
        assert young <= len(alive) <= sum(now - at < 10.0 + 1e-6 for at, _ in seen)


def test_a_long_pause_forgets_everything() -> None:
    counts = RollingCounts(1, 10.0)
    for second in range(10):
        counts.add(0, float(second))
    assert counts.totals == [10]
    counts.advance(1e9)
    assert counts.totals == [0]


def test_a_clock_that_goes_back_counts_into_the_newest_bucket() -> None:
    counts = RollingCounts(1, 10.0)
    counts.add(0, 100.0)
    counts.add(0, 50.0)
    assert counts.totals == [2]
    counts.advance(109.9)
    assert counts.totals == [2]
    counts.advance(110.0)
    assert counts.totals == [0]
