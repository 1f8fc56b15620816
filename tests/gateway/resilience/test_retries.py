"""What may be repeated, after which pause, and that retries never multiply an outage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.resilience.retries import (
    BudgetPolicy,
    Repeat,
    Retries,
    RetryBudget,
    RetryPolicy,
    retryable,
)
from shared.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tests.gateway.fake_time import FakeClock, never

NOT_SENT, LATE, BROKEN = UpstreamUnavailable("x"), UpstreamTimeout("x"), UpstreamError("x")
SENT_FAILURES: list[UpstreamError | int] = [502, 503, 504, LATE, BROKEN]
FAILURES = st.sampled_from([NOT_SENT, *SENT_FAILURES])


def repeat(method: str = "GET", **facts: bool) -> Repeat:
    return Repeat(method, **{"keyed": False, "replayable": True, **facts})


# What may be repeated.


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_idempotent_methods_are_repeated(method: str) -> None:
    assert all(retryable(RetryPolicy(), failure, repeat(method)) for failure in SENT_FAILURES)


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_others_are_repeated_only_with_an_idempotency_key(method: str) -> None:
    for failure in SENT_FAILURES:
        assert not retryable(RetryPolicy(), failure, repeat(method))
        assert retryable(RetryPolicy(), failure, repeat(method, keyed=True))


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_what_reached_nobody_is_repeated_whatever_it_is(method: str) -> None:
    assert retryable(RetryPolicy(), NOT_SENT, repeat(method))
    assert not retryable(RetryPolicy(unconnected=False), NOT_SENT, repeat(method))


@given(
    method=st.sampled_from(["GET", "PUT", "POST"]),
    keyed=st.booleans(),
    failure=FAILURES,
)
def test_nothing_is_repeated_once_the_body_is_gone(
    method: str, keyed: bool, failure: UpstreamError | int
) -> None:
    gone = repeat(method, keyed=keyed, replayable=False)
    assert not retryable(RetryPolicy(), failure, gone)


@pytest.mark.parametrize("status", [200, 400, 404, 408, 429, 500, 501])
def test_other_answers_are_passed_on(status: int) -> None:
    assert not retryable(RetryPolicy(), status, repeat())


def test_which_statuses_are_repeated_is_policy() -> None:
    policy = RetryPolicy(statuses=frozenset({500, 503}))
    assert [s for s in (500, 502, 503, 504) if retryable(policy, s, repeat())] == [500, 503]
    assert not retryable(policy, LATE, repeat())
    assert retryable(policy, NOT_SENT, repeat("POST"))


# When.


@given(tries=st.integers(1, 60), chance=st.floats(0, 1, exclude_max=True))
def test_the_pause_is_full_jitter_under_a_doubling_cap(tries: int, chance: float) -> None:
    cap = min(0.025 * 2 ** (tries - 1), 0.25)
    assert RetryPolicy().backoff(tries, chance) == pytest.approx(chance * cap)
    assert 0 <= RetryPolicy().backoff(tries, chance) < 0.25


def test_pauses_reach_from_25_to_250_ms() -> None:
    assert [round(RetryPolicy().backoff(tries, 1.0), 3) for tries in range(1, 7)] == [
        0.025, 0.05, 0.1, 0.2, 0.25, 0.25,
    ]  # fmt: skip


def test_one_retry_is_given_and_no_second() -> None:
    retries = Retries(chance=never)
    assert retries.again(503, repeat(), tries=1, left=1) == 0
    assert retries.again(503, repeat(), tries=2, left=1) is None
    assert Retries(RetryPolicy(retries=0)).again(503, repeat(), tries=1, left=1) is None


def test_there_is_no_retry_that_would_begin_after_the_deadline_nor_does_it_cost() -> None:
    retries = Retries(chance=lambda: 0.8)
    for _ in range(50):
        assert retries.again(503, repeat(), tries=1, left=0.02) is None
        assert retries.again(503, repeat("POST"), tries=1, left=9) is None
        assert retries.again(404, repeat(), tries=1, left=9) is None
        assert retries.again(503, repeat(), tries=2, left=9) is None
    assert [retries.again(503, repeat(), tries=1, left=0.021) for _ in range(4)] == [
        *[pytest.approx(0.02)] * 3,
        None,
    ]


# The budget.


def test_three_retries_are_allowed_however_few_the_requests() -> None:
    budget = RetryBudget(clock=FakeClock())
    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("requests", "retries"), [(0, 3), (14, 3), (19, 3), (20, 4), (24, 4), (60, 12), (100, 20)]
)
def test_a_fifth_of_the_requests_in_the_window(requests: int, retries: int) -> None:
    budget = RetryBudget(clock=FakeClock())
    for _ in range(requests):
        budget.began()
    assert sum(budget.take() for _ in range(200)) == retries


def test_requests_and_retries_of_an_earlier_window_are_forgotten() -> None:
    clock = FakeClock()
    budget = RetryBudget(clock=clock)
    for _ in range(50):
        budget.began()
    assert sum(budget.take() for _ in range(99)) == 10
    clock.advance(10)
    assert sum(budget.take() for _ in range(99)) == 3


def test_an_outage_uses_up_the_reserve_and_answers_earn_it_again() -> None:
    clock = FakeClock()
    budget = RetryBudget(clock=clock)
    for _ in range(1000):
        budget.began()
    assert sum(budget.take() for _ in range(1000)) == 20
    clock.advance(60)
    for _ in range(1000):
        budget.began()
    assert not budget.take()
    for _ in range(51):
        budget.answered()
    assert sum(budget.take() for _ in range(100)) == 10
    for _ in range(100_000):
        budget.answered()
    assert sum(budget.take() for _ in range(100)) == 20


class Outage:
    """A service whose every try fails, and a gateway in front of it that may retry."""

    def __init__(self, retries: int) -> None:
        self.clock = FakeClock()
        self.retries = Retries(RetryPolicy(retries=retries), RetryBudget(clock=self.clock), never)
        self.tries = 0

    def request(self) -> None:
        self.retries.budget.began()
        tries = 1
        while self.retries.again(503, repeat(), tries=tries, left=9) is not None:
            tries += 1
        self.tries += tries

    def good_request(self) -> None:
        self.retries.budget.began()
        self.retries.budget.answered()


@settings(deadline=None)
@given(
    healthy=st.integers(0, 3000),
    rush=st.floats(0, 0.2),
    pauses=st.lists(st.sampled_from([0.0, 0.001, 0.05, 0.9, 11.0]), min_size=1, max_size=20),
    retries=st.integers(1, 5),
)
def test_a_full_outage_is_never_multiplied_by_more_than_a_fifth(
    healthy: int, rush: float, pauses: list[float], retries: int
) -> None:
    outage = Outage(retries)
    for _ in range(healthy):
        outage.good_request()
        outage.clock.advance(rush)
    for number in range(1, 400):
        outage.request()
        outage.clock.advance(pauses[number % len(pauses)])
        if number >= 100:
            assert outage.tries <= 1.2 * number


@settings(deadline=None)
@given(ends=st.lists(st.booleans(), min_size=50, max_size=400), pause=st.floats(0, 1))
def test_no_retry_is_given_that_exceeds_a_fifth_of_the_windows_requests(
    ends: list[bool], pause: float
) -> None:
    outage = Outage(3)
    requests: list[float] = []
    given_out: list[float] = []
    for good in ends:
        requests.append(outage.clock.now)
        before = outage.tries
        outage.good_request() if good else outage.request()
        if outage.tries > before + 1:
            given_out += [outage.clock.now] * (outage.tries - before - 1)
            newest = int(outage.clock.now)
            recent = [sum(int(at) > newest - 10 for at in what) for what in (requests, given_out)]
            assert recent[1] <= max(3, 0.2 * recent[0])
        outage.clock.advance(pause)
    assert len(given_out) <= 20 + 0.2 * sum(ends)


def test_one_failing_instance_of_four_is_covered() -> None:
    """A replica dies at 500 requests/s; its breaker opens after five failures."""
    outage = Outage(1)
    for _ in range(5000):
        outage.good_request()
        outage.clock.advance(0.002)
    failed = [outage.retries.again(NOT_SENT, repeat("POST"), tries=1, left=9) for _ in range(15)]
    assert None not in failed


def test_policies_hold_for_other_numbers() -> None:
    budget = RetryBudget(BudgetPolicy(ratio=0.5, least=1, window_s=1, reserve=5), FakeClock())
    assert [budget.take(), budget.take()] == [True, False]
    for _ in range(100):
        budget.began()
    assert sum(budget.take() for _ in range(100)) == 4
