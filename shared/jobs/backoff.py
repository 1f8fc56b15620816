"""How long a job that failed waits until it is tried again."""

from __future__ import annotations

from dataclasses import dataclass

_SPREAD = 0.5  # so much of a pause is left to chance, lest what failed together comes back together


@dataclass(frozen=True, slots=True)
class Retry:
    """A job is dead at its `failures`-th failure. Pauses grow from `first_s` to `longest_s` seconds."""

    failures: int = 5
    first_s: float = 10.0
    longest_s: float = 3600.0

    def __post_init__(self) -> None:
        if self.failures < 1 or not 0 < self.first_s <= self.longest_s:
            raise ValueError(f"a retry needs failures >= 1 and 0 < first_s <= longest_s: {self}")


def pause_after(retry: Retry, failures: int, chance: float) -> float:
    """Seconds to wait after that many failures in all; `chance` is drawn from 0 to 1.

    Doubles with each failure up to the longest, less up to a half by chance.
    """
    full = min(retry.longest_s, retry.first_s * 2.0 ** min(failures - 1, 60))
    return full * (1 - _SPREAD * chance)
