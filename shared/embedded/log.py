"""The log of a server: kept small, and read for the reason of a failed start."""

from __future__ import annotations

from pathlib import Path

_ROTATE_BYTES = 10 * 1024 * 1024
_TAIL_BYTES = 16 * 1024
_TAIL_LINES = 4
_KNOWN = (
    ("No space left on device", "the disk is full: free some space"),
    ("Read-only file system", "the disk is read-only: choose another home (LOOMA_HOME)"),
    ("Permission denied", "permission denied: the home must belong to the user that runs looma"),
    ("Address already in use", "its port is taken: end the program that listens on it"),
    ("Cannot allocate memory", "memory is exhausted: end some programs"),
    ("insufficient memory", "memory is exhausted: end some programs"),
)


def rotate(log: Path) -> None:
    """Put a log that has grown aside, replacing the one put aside before."""
    if log_size(log) > _ROTATE_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def log_size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def failure(log: Path, offset: int, timed_out_s: float | None) -> str:
    """Why a server did not start, in one line, from what it logged after `offset`."""
    tail = log_tail(log, offset)
    explained = explain(tail)
    if explained != tail:
        return explained
    if timed_out_s is not None:
        return f"no answer within {timed_out_s:.0f} s; its last words: {tail}"
    return f"it ended; its last words: {tail}"


def explain(text: str) -> str:
    """Put the meaning and the fix before a message whose cause is known."""
    for symptom, meaning in _KNOWN:
        if symptom in text:
            return f"{meaning} [{text}]"
    return text


def log_tail(log: Path, offset: int) -> str:
    """The last lines that were logged after `offset`, joined into one."""
    if not log.exists():
        return "none"
    with log.open("rb") as file:
        file.seek(max(offset, log_size(log) - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    told = [line.strip() for line in lines if line.strip() and not line.startswith("\tat ")]
    return " | ".join(told[-_TAIL_LINES:]) or "none"
