"""When a process that has ended is started again: at once, and later each time if that recurs."""

from __future__ import annotations

from typing import Final

FIRST_PAUSE_S: Final = 0.5
_LONGEST_S: Final = 30.0
_STEADY_S: Final = 10.0  # a run of this length makes earlier crashes forgotten


def crashes_in_a_row(before: int, ran_s: float) -> int:
    """How many that makes: a run that was long enough begins the count anew."""
    return 1 if ran_s > _STEADY_S else before + 1


def restart_pause(crashes: int, first_s: float = FIRST_PAUSE_S) -> float:
    """Seconds to wait: none for what has just crashed once, then `first_s`, doubled each time."""
    return 0.0 if crashes <= 1 else min(first_s * 2.0 ** min(crashes - 2, 16), _LONGEST_S)
