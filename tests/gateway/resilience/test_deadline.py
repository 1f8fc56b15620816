"""What the deadline header may say, and how long a request and its tries may take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience.deadline import TimeLimits, format_deadline, parse_deadline
from gateway.upstream.hedging import HedgePolicy
from shared.errors import MalformedRequest


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("1", 0.001),
        ("2500", 2.5),
        ("007", 0.007),
        ("999999999", 999999.999),
    ],
)
def test_milliseconds_are_read(value: str | None, seconds: float | None) -> None:
    assert parse_deadline(value) == seconds


@pytest.mark.parametrize(
    "value",
    ["", " 5", "5 ", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "٣", "5\n", "1" * 10, "x" * 99],
)
def test_anything_else_is_refused_with_its_name_and_a_fix(value: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_deadline(value)
    assert caught.value.status == 400
    assert "X-Deadline-Ms" in caught.value.message
    assert "such as 2500" in caught.value.message
    assert len(caught.value.message) < 150
    assert caught.value.details[0].field == "X-Deadline-Ms"


@given(milliseconds=st.integers(0, 999_999_999))
def test_what_is_written_is_what_is_read_less_a_millisecond_at_most(milliseconds: int) -> None:
    seconds = parse_deadline(str(milliseconds))
    assert seconds is not None
    assert milliseconds - 1 <= int(format_deadline(seconds)) <= milliseconds


@given(left=st.floats(-1e9, 1e12))
def test_any_rest_can_be_written_and_never_grows(left: float) -> None:
    again = parse_deadline(format_deadline(left))
    assert again is not None
    assert again <= max(left, 0) + 1e-9


@given(
    total=st.floats(0.001, 3600),
    per_try=st.none() | st.floats(0.001, 3600),
    asked=st.none() | st.floats(0, 1e6),
    now=st.floats(0, 1e7),
    spent=st.floats(0, 4000),
)
def test_no_try_outlasts_any_of_its_limits(
    total: float, per_try: float | None, asked: float | None, now: float, spent: float
) -> None:
    limits = TimeLimits(total, per_try)
    deadline = limits.begin(now, asked)
    later = now + spent
    one = limits.try_time(deadline, later)
    most = min(limit for limit in (total, per_try, asked) if limit is not None)
    assert 0 <= one.seconds <= most + 1e-6
    assert later + one.seconds <= max(deadline, later) + 1e-6
    assert (one.seconds == 0) is (later >= deadline)


def test_a_client_can_only_shorten() -> None:
    limits = TimeLimits(15.0)
    assert limits.begin(100.0) == 115.0
    assert limits.begin(100.0, 3.0) == 103.0
    assert limits.begin(100.0, 3000.0) == 115.0


def test_a_try_that_was_cut_short_is_not_held_against_the_instance() -> None:
    limits = TimeLimits(15.0, 5.0)
    deadline = limits.begin(0.0)
    assert not limits.try_time(deadline, 0.001).cut_short
    assert not limits.try_time(deadline, 10.0).cut_short
    assert limits.try_time(deadline, 14.0).cut_short
    assert limits.try_time(limits.begin(0.0, 0.001), 0.0).cut_short
    # Reading the body and picking take their time: that alone doesn't cut a try short.
    assert not TimeLimits(15.0).try_time(TimeLimits(15.0).begin(0.0), 0.2).cut_short


# Hedging.


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_gets_are_hedged(method: str) -> None:
    policy = HedgePolicy(0.2)
    assert policy.wait("GET", has_body=False, hedges=0) == 0.2
    assert policy.wait(method, has_body=False, hedges=0) is None
    assert policy.wait("GET", has_body=True, hedges=0) is None


def test_hedges_are_counted() -> None:
    assert HedgePolicy(0.2).wait("GET", has_body=False, hedges=1) is None
    assert HedgePolicy(0.2, most=0).wait("GET", has_body=False, hedges=0) is None
    assert [HedgePolicy(0.2, most=2).wait("GET", has_body=False, hedges=n) for n in range(4)] == [
        0.2, 0.2, None, None,
    ]  # fmt: skip
