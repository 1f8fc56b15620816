"""The circuit of a provider and model."""

from __future__ import annotations

from ai_services.llm.providers.health import Health, HealthPolicy


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Health:
    health = Health(HealthPolicy(failures=3, open_s=5.0, longest_s=12.0), clock)
    for _ in range(3):
        health.failed("p", "m")
    return health


def test_failures_in_a_row_open_it_for_that_model_only() -> None:
    health = opened(Clock())
    assert health.open("p", "m")
    assert not health.admits("p", "m")
    assert health.admits("p", "other")


def test_a_success_between_two_failures_keeps_it_closed() -> None:
    health = Health(HealthPolicy(failures=2))
    for _ in range(10):
        health.failed("p", "m")
        health.succeeded("p", "m")
    assert health.admits("p", "m")


def test_after_its_time_one_request_is_let_through() -> None:
    clock = Clock()
    health = opened(clock)
    clock.now += 5.0
    assert health.admits("p", "m")
    assert not health.admits("p", "m")


def test_a_probe_that_succeeds_closes_it() -> None:
    clock = Clock()
    health = opened(clock)
    clock.now += 5.0
    health.admits("p", "m")
    health.succeeded("p", "m")
    assert health.admits("p", "m")
    assert health.admits("p", "m")


def test_each_failed_probe_doubles_the_time_up_to_the_longest() -> None:
    clock = Clock()
    health = opened(clock)
    times = []
    for wait in (5.0, 10.0, 12.0, 12.0):
        clock.now += wait - 0.01
        times.append(health.open("p", "m"))
        clock.now += 0.02
        times.append(not health.admits("p", "m"))
        health.failed("p", "m")
    assert times == [True, False] * 4


def test_a_probe_that_tells_nothing_or_is_lost_gives_its_place_back() -> None:
    clock = Clock()
    health = opened(clock)
    clock.now += 5.0
    health.admits("p", "m")
    health.said_nothing("p", "m")
    assert health.admits("p", "m")
    clock.now += HealthPolicy().probe_s
    assert health.admits("p", "m")
