"""The arithmetic of limits against a token bucket in exact fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.limits.gcra import NEVER, Bucket, Rule
from gateway.limits.limit import Limit
from tests.token_bucket import TokenBucket

limits = st.builds(
    lambda rate, per, burst: Limit("principal", "principal", rate, per, burst),
    st.integers(1, 5000),
    st.sampled_from([1, 10, 60, 3600]),
    st.integers(1, 5000),
)
# Steps in quarters of the limit's interval: requests come exactly when they become allowed, too.
steps = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), min_size=1, max_size=60)


@example(Limit("principal", "principal", 2297, 10, 1), 1, [(3, 5), (20, 2)])  # off by 1e-13 s
@given(limits, st.integers(1, 8), steps)
def test_a_process_alone_gives_out_its_part_exactly(
    limit: Limit, share: int, steps: list[tuple[int, int]]
) -> None:
    rate = Fraction(limit.rate, limit.per_seconds * share)
    reference = TokenBucket(rate, max(Fraction(limit.burst, share), Fraction(1)))
    bucket = Bucket(Rule(limit, "r", share), "key")
    at = Fraction(1000)
    for quarters, cost in steps:
        at += Fraction(quarters, 4) / rate
        now = float(at)
        wait = bucket.wait_alone(now, cost)
        if wait == 0:
            bucket.spend_alone(now, cost)
        assert reference.take(at, cost) == (wait == 0)
        if wait:
            assert abs(wait - float(reference.wait(cost))) < 1e-6 * max(1, wait)


@given(limits, st.floats(0, 1), st.floats(0, 2), st.integers(1, 50))
def test_what_is_known_of_the_shared_count_never_refuses_too_much(
    limit: Limit, spent: float, later: float, cost: int
) -> None:
    """Learnt from an answer that took its time, the wait is never longer than the true one."""
    bucket = Bucket(Rule(limit, "r", 200), "key")  # no lease, hence no sleep
    cost = min(cost, limit.burst)
    ahead = spent * limit.tolerance
    sent, trip = 1000.0, 0.02
    bucket.learn(sent, ahead, 0)
    now = sent + trip + later * limit.tolerance
    true_wait = sent + trip + ahead + cost * limit.interval - now - limit.tolerance
    assert bucket.refusing(now, cost) <= max(0.0, true_wait) + 1e-6
    assert bucket.available(now) <= limit.burst


def test_nothing_is_known_of_a_new_key() -> None:
    bucket = Bucket(Rule(Limit("route", "route", 5, 1, 7), "r", 1), "key")
    assert bucket.tat == NEVER
    assert (bucket.available(0.0), bucket.refusing(0.0, 7), bucket.wait_alone(0.0, 7)) == (7, 0, 0)


@given(limits, st.integers(1, 16))
def test_leases_are_a_hundredth_of_the_burst_in_all(limit: Limit, share: int) -> None:
    assert Rule(limit, "r", share).lease * share <= limit.burst / 100


def test_an_empty_bucket_is_asked_again_when_a_lease_has_come_together() -> None:
    limit = Limit("route", "route", 10_000, 1, 1000)
    bucket = Bucket(Rule(limit, "r", 1), "key")
    bucket.learn(50.0, limit.tolerance, 0)  # nothing left; a lease is 10 units: 1 ms
    assert bucket.refusing(50.0005, 1) > 0
    assert bucket.refusing(50.00101, 1) == 0
    bucket.learn(50.0, limit.tolerance, 3)  # nothing left there, three here
    assert bucket.refusing(50.00002, 1) == 0
    assert bucket.available(50.0) == 3


def test_a_request_may_cost_more_than_a_process_has_alone() -> None:
    bucket = Bucket(Rule(Limit("route", "route", 8, 1, 8), "r", 4), "key")  # alone: 2 at once, 2/s
    assert bucket.wait_alone(100.0, 6) == 0
    bucket.spend_alone(100.0, 6)
    assert abs(bucket.wait_alone(100.0, 1) - 2.5) < 1e-6  # the debt of 4, then one more
