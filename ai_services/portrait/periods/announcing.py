"""What the outbox is told of periods whose portraits have changed (topic `portraits`).

One event per period: what every metric is over all users now (without any, `metrics` is empty), whose
snapshots went away, and, where few have changed, whose (`changed`; null: look at all).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from ai_services.portrait import store
from ai_services.portrait.metrics import METRICS, Value
from ai_services.portrait.period import Period
from shared.data_access.ports import Transaction


@dataclass(frozen=True, slots=True)
class Changed:
    """A period, the users who have another snapshot now (None: perhaps all), and who have none any more."""

    period: Period
    users: Sequence[str] | None
    removed: Sequence[str]


async def announce(tx: Transaction, org_id: UUID, changes: Sequence[Changed]) -> None:
    """In the order of types; of one type oldest first."""
    events = []
    for _, group in groupby(changes, key=lambda one: one.period.type):
        some = list(group)
        first, last = some[0].period, some[-1].period
        sums = await store.summaries(tx, org_id, first.type, first.key, last.key)
        events += [
            (
                one.period.key,
                {
                    "period_type": one.period.type,
                    "period_key": one.period.key,
                    "period_end": one.period.end.isoformat(),
                    "changed": one.users,
                    "removed": one.removed,
                    "metrics": _metrics(sums.get(one.period.key)),
                },
            )
            for one in some
        ]
    await tx.emit_many(org_id, "portraits", events)


def _metrics(sums: store.Sums | None) -> dict[str, Value]:
    return {} if sums is None else {name: of(sums.figures) for name, of in METRICS.items()}
