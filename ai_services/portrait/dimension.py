"""Whose portrait it is. The law and the figures are the same for each; only what calls are grouped by differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Dimension:
    """`column` is that of calls and of snapshots, `snapshots` the table of these."""

    name: str
    column: str
    snapshots: str


USER: Final = Dimension("user", "user_id", "user_portrait_snapshot")
CUSTOMER: Final = Dimension("customer", "customer_id", "customer_portrait_snapshot")
TASK: Final = Dimension("task", "task_id", "task_portrait_snapshot")
AGENT: Final = Dimension("agent", "agent_id", "agent_portrait_snapshot")
# Of all users together, in a table of its own form; its one subject is ''.
ORGANISATION: Final = Dimension("organisation", "org_id", "period_summary")
DIMENSIONS: Final = (USER, CUSTOMER, TASK, AGENT)


@dataclass(frozen=True, slots=True)
class Subject:
    """One user, customer, task or agent."""

    dimension: Dimension
    id: str
