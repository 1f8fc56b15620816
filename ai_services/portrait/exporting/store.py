"""All snapshots of a period, in the order of their subjects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import DIMENSIONS, Dimension
from ai_services.portrait.exporting.columns import COLUMNS
from ai_services.portrait.period import Period
from shared.data_access.ports import Row, Transaction

_COLUMNS: Final = ", ".join(COLUMNS)
_ALL: Final = {
    whose: f"""
        SELECT {whose.column}, {_COLUMNS} FROM {whose.snapshots}
        WHERE org_id = $1 AND period_type = $2 AND period_key = $3 ORDER BY {whose.column}
        """  # noqa: S608 - constants only
    for whose in DIMENSIONS
}


def snapshots(
    tx: Transaction, org_id: UUID, dimension: Dimension, period: Period, batch: int
) -> AsyncIterator[list[Row]]:
    """By a cursor: `batch` rows at a time are in memory."""
    return tx.stream(_ALL[dimension], org_id, period.type, period.key, batch=batch)
