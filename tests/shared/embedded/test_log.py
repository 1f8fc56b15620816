from __future__ import annotations

from pathlib import Path

import pytest

from shared.embedded.log import failure, log_size, rotate


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("FATAL:  could not write to file: No space left on device", "the disk is full"),
        ('could not open "data": Permission denied', "permission denied: the home must belong"),
        ("bind: Address already in use", "its port is taken"),
        ("mmap failed: Cannot allocate memory", "memory is exhausted"),
    ],
)
def test_a_known_cause_comes_with_its_fix(tmp_path: Path, line: str, meaning: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"starting\n{line}\n")
    reason = failure(log, 0, None)
    assert reason.startswith(meaning)
    assert line in reason
    assert "\n" not in reason


def test_only_this_start_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("No space left on device\n")
    offset = log_size(log)
    with log.open("a") as file:
        file.write("one\ntwo\n\nthree\nfour\n\tat com.example.Main\nfive\n")
    assert failure(log, offset, 120) == (
        "no answer within 120 s; its last words: two | three | four | five"
    )
    assert failure(log, offset, None).startswith("it ended;")


def test_a_server_that_said_nothing_has_no_last_words(tmp_path: Path) -> None:
    assert failure(tmp_path / "log", 0, None) == "it ended; its last words: none"


def test_a_log_that_has_grown_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("small")
    rotate(log)
    assert log.exists()
    log.write_bytes(b"x" * (11 * 1024 * 1024))
    rotate(log)
    assert log_size(log) == 0
    assert log_size(tmp_path / "log.1") == 11 * 1024 * 1024
