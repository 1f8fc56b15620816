"""The marks by which answers are kept, renewed once for all that a computation changes."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import DIMENSIONS, ORGANISATION
from ai_services.portrait.period import PeriodType
from shared.data_access.ports import Transaction

_LATER: Final = "SELECT set_config('looma.marks', 'later', true)"
# In the order in which single changes renew them, too.
_RENEW: Final = """
INSERT INTO portrait_mark AS m (org_id, dimension, period_type, slot)
SELECT $1, dimension, $2, slot
FROM unnest($3::text[]) AS of (dimension), generate_series(0, 63) AS slot
ORDER BY dimension, slot
ON CONFLICT (org_id, dimension, period_type, slot) DO UPDATE SET mark = gen_random_uuid()
"""


async def renew_later(tx: Transaction) -> None:
    """Let no change renew a mark in this transaction; `renew` does it before it is committed."""
    await tx.execute(_LATER)


async def renew(tx: Transaction, org_id: UUID, period_type: PeriodType) -> None:
    """Those of all portraits of a type, as the last that the transaction does: others wait for them."""
    names = [*(whose.name for whose in DIMENSIONS), ORGANISATION.name]
    await tx.execute(_RENEW, org_id, period_type, names)
