"""Whose portrait it is. The law and the figures are the same for each; only what calls are grouped by differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.errors import InvalidInput
from shared.ids import one_spelling


@dataclass(frozen=True, slots=True)
class Dimension:
    """`column` is that of calls and of snapshots, `snapshots` the table of these."""

    name: str
    column: str
    snapshots: str

    @property
    def plural(self) -> str:
        """Its word in paths: users, customers."""
        return f"{self.name}s"


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


def subject_of(params: Mapping[str, str]) -> Subject:
    """Whom a path with {dimension} and {subject_id} names; InvalidInput as `dimension`."""
    return Subject(dimension(params["dimension"]), one_spelling(params["subject_id"]))


def dimension(plural: str) -> Dimension:
    """The dimension called so; InvalidInput that lists those there are for any other word."""
    for one in DIMENSIONS:
        if one.plural == plural:
            return one
    problem = f"there are no portraits of {plural[:60]!r}"
    fix = f"send one of {', '.join(one.plural for one in DIMENSIONS)}"
    raise InvalidInput.of("dimension", problem, fix)
