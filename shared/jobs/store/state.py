"""What a job can be, and how long a transaction may hold one."""

from __future__ import annotations

from typing import Literal

# Waiting: its time hasn't come. The last three are the end.
State = Literal["waiting", "queued", "running", "paused", "succeeded", "dead", "cancelled"]


def idle_limit(lease_s: float) -> str:
    """How long a transaction that holds a job may stand still, for PostgreSQL: a second at least."""
    return str(max(1000, round(lease_s * 1000)))
