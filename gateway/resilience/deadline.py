"""Deadlines: how long a request and each of its attempts may take (`X-Deadline-Ms`).

The header (shared/wire.py) can only shorten what the route allows, and goes on to the service with
what is left when an attempt begins.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.wire import deadline_ms


def parse_deadline(value: str | None) -> float | None:
    """Seconds that are left by the header's value; None without one. MalformedRequest otherwise."""
    if value is None:
        return None
    return deadline_ms(value) / 1000.0


def format_deadline(left: float) -> str:
    """The header's value for `left` seconds, rounded down: nobody works for a gone caller."""
    return str(min(max(0, int(left * 1000.0)), 999_999_999))


class TryTime:
    """What one try gets. If it was cut short, that it came too late is not the instance's fault."""

    def __init__(self, seconds: float, cut_short: bool) -> None:
        self.seconds = seconds
        self.cut_short = cut_short


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Of a route, in seconds. A deadline is a moment on the monotonic clock."""

    total: float
    per_try: float | None = None  # None: all that is left

    @property
    def longest_try(self) -> float:
        return self.total if self.per_try is None else min(self.total, self.per_try)

    def begin(self, now: float, asked: float | None = None) -> float:
        """The deadline of a request; `asked` is what its header says (seconds)."""
        return now + (self.total if asked is None or asked > self.total else asked)

    def try_time(self, deadline: float, now: float) -> TryTime:
        """0 seconds if the deadline has passed.

        A try that gets less than half of what the route alone would give a first one is
        `cut_short`: a caller who waits 1 ms must not open breakers.
        """
        longest, left = self.longest_try, deadline - now
        if left >= longest:
            return TryTime(longest, cut_short=False)
        return TryTime(max(0.0, left), cut_short=left < longest / 2)
