"""Buckets: whatever is given and put back, no unit is made or lost, and no more is held than a lease."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_services.llm.asking.buckets import Bucket, Buckets
from ai_services.llm.asking.rate import Rate

STEPS = st.lists(st.tuples(st.sampled_from(["give", "put"]), st.integers(-5000, 5000)))


@given(STEPS, st.integers(1, 4))
def test_units_are_held_told_or_given(steps: list[tuple[str, int]], replicas: int) -> None:
    bucket = Bucket(Rate("organisation", "org", "tokens", 100_000))
    bucket.held = float(bucket.shared(replicas).lease)
    began, given_out, put, told = bucket.held, 0.0, 0.0, 0.0
    for step, units in steps:
        if step == "give":
            given_out += bucket.give(abs(units))
        else:
            put += units
            told += bucket.put(units, replicas)
        assert 0 <= bucket.held <= 100_000 // (100 * replicas)
    assert began + put == given_out + told + bucket.held


def test_of_a_small_limit_nothing_is_held() -> None:
    bucket = Bucket(Rate("key", "key:1", "requests", 99))
    assert bucket.shared(1).lease == 0
    assert bucket.put(5, 1) == 5
    assert bucket.held == 0


def test_a_rate_that_changes_is_another_bucket_of_the_same_count() -> None:
    buckets = Buckets()
    before, after = buckets.of(
        [Rate("key", "key:1", "requests", 600), Rate("key", "key:1", "requests", 60)]
    )
    assert before is not after
    assert before.name == after.name
    before.held = 3.0
    buckets.forget()
    assert before.held == 0
