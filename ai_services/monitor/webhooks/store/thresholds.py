"""Thresholds of an organisation, and in which periods they are reached."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from shared.data_access.ports import Transaction

PeriodType = Literal["week", "month", "quarter"]
Op = Literal[">", ">=", "<", "<="]

_COLUMNS: Final = "threshold_id, name, metric, period_type, op, value, created_at"
_LIST: Final = f"""
SELECT {_COLUMNS} FROM webhook_threshold WHERE org_id = $1 AND ($2::text IS NULL OR period_type = $2)
ORDER BY created_at, threshold_id
"""  # noqa: S608 - constants only
_INSERT: Final = f"""
INSERT INTO webhook_threshold (org_id, name, metric, period_type, op, value)
VALUES ($1, $2, $3, $4, $5, $6) RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_DELETE: Final = "DELETE FROM webhook_threshold WHERE org_id = $1 AND threshold_id = $2"
_REACHED: Final = """
INSERT INTO webhook_threshold_reached (org_id, threshold_id, period_key) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
"""
_LEFT: Final = """
DELETE FROM webhook_threshold_reached
WHERE org_id = $1 AND threshold_id = $2 AND period_key = $3
"""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Reached where `metric` in a period of this type is `op` `value`: of all users, or of a segment."""

    threshold_id: UUID
    name: str
    metric: str
    period_type: PeriodType
    op: Op
    value: float
    created_at: datetime


async def list_thresholds(
    tx: Transaction, org_id: UUID, period_type: str | None = None
) -> list[Threshold]:
    """Oldest first; of one type of period or of all."""
    return [Threshold(**row) for row in await tx.fetch(_LIST, org_id, period_type)]


async def insert(
    tx: Transaction,
    org_id: UUID,
    *,
    name: str,
    metric: str,
    period_type: PeriodType,
    op: Op,
    value: float,
) -> Threshold:
    row = await tx.fetchrow(_INSERT, org_id, name, metric, period_type, op, value)
    assert row is not None  # an insert without a conflict clause returns its row
    return Threshold(**row)


async def delete(tx: Transaction, org_id: UUID, threshold_id: UUID) -> bool:
    """Whether it was there."""
    return await tx.execute(_DELETE, org_id, threshold_id) == 1


async def note(
    tx: Transaction, org_id: UUID, threshold_id: UUID, period_key: str, *, reached: bool
) -> bool:
    """Whether it is reached and was not before, in this period."""
    changed = await tx.execute(_REACHED if reached else _LEFT, org_id, threshold_id, period_key)
    return reached and changed == 1
