"""How long a request may take: in all, for one try, and what its caller still waits for.

`X-Deadline-Ms` carries the milliseconds that are left, as a decimal number, so that no two clocks
have to agree. It can only shorten what the route allows, and goes on to the service with what is
left when a try begins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shared.errors import Detail, MalformedRequest

DEADLINE_HEADER: Final = "x-deadline-ms"
_NUMBER: Final = re.compile("[0-9]{1,9}")


def parse_deadline(value: str | None) -> float | None:
    """Seconds that are left by the header's value; None without one. MalformedRequest otherwise."""
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        shown = value if len(value) <= 20 else value[:20] + "…"
        problem, fix = f"{shown!r} is not a number of milliseconds", "Send digits, such as 2500."
        raise MalformedRequest(
            f"X-Deadline-Ms: {problem}. {fix}", details=(Detail("X-Deadline-Ms", problem, fix),)
        )
    return int(value) / 1000.0


def format_deadline(left: float) -> str:
    """The header's value for `left` seconds, rounded down: nobody works for a gone caller."""
    return str(min(max(0, int(left * 1000.0)), 999_999_999))


@dataclass(frozen=True, slots=True, order=True)
class Deadline:
    """A moment on the monotonic clock. The earlier of two is `min(a, b)`."""

    at: float

    @classmethod
    def after(cls, seconds: float, now: float) -> Deadline:
        return cls(now + seconds)

    def left(self, now: float) -> float:
        """Seconds, 0 if it has passed."""
        return max(0.0, self.at - now)

    def passed(self, now: float) -> bool:
        return now >= self.at


@dataclass(frozen=True, slots=True)
class TryTime:
    """What one try gets. If it was cut short, that it came too late is not the instance's fault."""

    seconds: float
    cut_short: bool


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Of a route, in seconds."""

    total: float
    per_try: float | None = None  # None: all that is left

    def begin(self, now: float, asked: float | None = None) -> Deadline:
        """The deadline of a request; `asked` is what its header says (seconds)."""
        return Deadline.after(self.total if asked is None else min(self.total, asked), now)

    def try_time(self, deadline: Deadline, now: float) -> TryTime:
        """0 seconds if the deadline has passed.

        A try that gets less than half of what the route alone would give a first one is
        `cut_short`: a caller who waits 1 ms must not open breakers.
        """
        whole = self.total if self.per_try is None else min(self.total, self.per_try)
        left = deadline.left(now)
        return TryTime(min(whole, left), cut_short=left < whole / 2)
