"""The arithmetic of throttling, and what counts as one address."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ai_services.auth.sign_in.throttle import (
    Attempts,
    ThrottlePolicy,
    account_subject,
    address_subject,
)

NOW = datetime(2024, 12, 4, 9, 30, tzinfo=UTC)
POLICY = ThrottlePolicy(free=3, base_s=2, cap_s=60, forget_s=600)


def after(failures: int) -> Attempts:
    attempts = Attempts(0, NOW)
    for _ in range(failures):
        attempts = attempts.charged(NOW, POLICY)
    return attempts


def test_waiting_starts_after_the_free_failures_and_doubles_to_the_cap() -> None:
    waits = [after(n).wait(NOW) for n in range(10)]
    assert waits == [0, 0, 0, 2, 4, 8, 16, 32, 60, 60]


def test_failures_are_forgotten_after_a_while() -> None:
    late = NOW + timedelta(seconds=601)
    assert after(9).charged(late, POLICY) == Attempts(1, late)
    assert after(9).charged(NOW + timedelta(seconds=599), POLICY).failures == 10


@given(st.integers(0, 2**31 - 2), st.integers(1, 100), st.floats(0, 10**6))
def test_the_wait_is_never_negative_nor_longer_than_the_cap(failures, free, later) -> None:
    policy = ThrottlePolicy(free=free)
    charged = Attempts(failures, NOW).charged(NOW, policy)
    assert 0 <= charged.wait(NOW) <= policy.cap_s
    assert charged.wait(NOW + timedelta(seconds=later)) <= charged.wait(NOW)


@given(st.text(max_size=400))
def test_any_text_is_an_account_and_no_text_crashes_the_address(text) -> None:
    assert len(account_subject(text)) == len("account:") + 64
    assert address_subject(text) is None or address_subject(text).startswith("address:")


def test_an_ipv6_client_counts_by_its_network_and_a_mapped_one_as_ipv4() -> None:
    assert address_subject("2001:db8::1") == address_subject("2001:db8::ffff:1")
    assert address_subject("2001:db8::1") != address_subject("2001:db8:0:1::1")
    assert address_subject("::ffff:192.0.2.1") == address_subject("192.0.2.1")
    assert address_subject("192.0.2.1") != address_subject("192.0.2.2")
    assert address_subject("") is None
