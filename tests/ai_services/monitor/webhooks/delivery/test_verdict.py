import pytest

from ai_services.monitor.webhooks.delivery.verdict import PAUSES, Answer, Verdict, verdict


def failed(status: int | None = 500, retry_after_s: float | None = None) -> Answer:
    return Answer(status, "It failed.", retry_after_s)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    assert verdict(Answer(status), 1, PAUSES, 0.0) == Verdict("delivered")


@pytest.mark.parametrize("attempts", range(1, len(PAUSES) + 1))
def test_a_failure_waits_for_the_pause_of_its_attempt_and_a_tenth_at_most(attempts: int) -> None:
    pause = PAUSES[attempts - 1]
    assert verdict(failed(), attempts, PAUSES, 0.0) == Verdict("waiting", pause)
    assert verdict(failed(None), attempts, PAUSES, 1.0) == Verdict("waiting", pause * 1.1)


def test_the_last_failure_is_the_end() -> None:
    assert verdict(failed(), len(PAUSES) + 1, PAUSES, 0.0) == Verdict("dead")
    assert verdict(failed(retry_after_s=5.0), 1, (), 0.0) == Verdict("dead")


def test_gone_is_the_end_at_once_and_for_the_webhook() -> None:
    assert verdict(failed(410, 60.0), 1, PAUSES, 0.0) == Verdict("dead", gone=True)


@pytest.mark.parametrize(("asked", "after"), [(1.0, 300.0), (900.0, 900.0), (10.0**9, 86_400.0)])
def test_retry_after_lengthens_a_pause_up_to_a_day_and_never_shortens_it(
    asked: float, after: float
) -> None:
    assert verdict(failed(429, asked), 2, PAUSES, 0.0).after_s == after
