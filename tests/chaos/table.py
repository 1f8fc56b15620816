"""Outcomes as the table that docs/reliability.md carries."""

from __future__ import annotations

from collections.abc import Sequence

from tests.chaos.drill import Outcome
from tests.chaos.load import KINDS

_COLUMNS = (
    "fault", "lasts", "back", "write", "keyed write", "correction", "call", "list", "search", "portrait",
    "periods", "me", "sent again", "slowest", "acknowledged", "lost", "twice",
)  # fmt: skip


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: seconds of outage per kind of request, from the fault's beginning."""
    head = [f"| {' | '.join(_COLUMNS)} |", f"|{'---|' * len(_COLUMNS)}"]
    return "\n".join([*head, *(f"| {' | '.join(_row(one))} |" for one in outcomes)])


def _row(outcome: Outcome) -> list[str]:
    after = outcome.after
    return [
        outcome.drill.name,
        f"{outcome.lasted:.1f}",
        f"{outcome.back:.1f}",
        *(f"{outcome.outages[kind]:.1f}" if outcome.outages[kind] else "–" for kind in KINDS),
        f"{outcome.sent_again:.1f}" if outcome.sent_again else "–",
        f"{outcome.slowest:.1f}",
        f"{outcome.acknowledged}",
        f"{len(after.lost)}",
        f"{len(after.doubled)}",
    ]
