"""Restarts: at once, then with growing pauses, however often it goes on."""

from shared.serving.restarts import crashes_in_a_row, restart_pause


def test_what_crashed_once_is_started_at_once_and_what_keeps_crashing_waits() -> None:
    assert [restart_pause(crashes) for crashes in range(1, 10)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert restart_pause(100_000) == 30
    assert crashes_in_a_row(6, ran_s=9) == 7
    assert crashes_in_a_row(6, ran_s=11) == 1
