"""How far a job is, how fast, and when it will be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Progress:
    """`rate` is in units per second, `eta_s` in seconds from now; None where it can't be known."""

    done: int
    total: int | None
    rate: float | None
    eta_s: float | None


def progress_of(
    done: int, total: int | None, *, before: int, since: datetime | None, now: datetime
) -> Progress:
    """Progress of a job that had done `before` when it was claimed at `since` (None: isn't running).

    The rate is that of this claim: what was done before it, perhaps on another day, says nothing.
    """
    elapsed = (now - since).total_seconds() if since is not None else 0.0
    rate = (done - before) / elapsed if elapsed > 0 and done > before else None
    if total is None or since is None:
        eta = None
    elif done >= total:
        eta = 0.0
    else:
        eta = (total - done) / rate if rate else None
    return Progress(done, total, rate, eta)
