"""The queries of budgets: setting, taking away, and what their windows hold now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from ai_services.llm.spend.ledger_store import BudgetPeriod, SubjectKind, announce
from shared.data_access.ports import Transaction

# Where nothing was reserved in this window yet there is no row of it. It starts empty, but for the
# windows up to that in which the budget was made.
_BUDGETS: Final = """
SELECT b.budget_id, b.subject_kind, b.subject, b.period, b.amount, b.hard, b.updated_at,
       now_in.first_day, llm_renews_at($1, b.period, now_in.first_day) AS renews_at,
       coalesce(w.spent, counted.spent, 0) AS spent,
       coalesce(w.reserved, counted.reserved, 0) AS reserved
FROM llm_budget b
CROSS JOIN LATERAL (SELECT llm_window_start(b.period, today) AS first_day
                    FROM llm_today($1) AS today) AS now_in
LEFT JOIN llm_budget_window w ON w.org_id = $1 AND w.budget_id = b.budget_id
                             AND w.first_day = now_in.first_day
LEFT JOIN LATERAL (SELECT sums.reserved, sums.spent
                   FROM llm_counted($1, b.subject_kind, b.subject, now_in.first_day,
                                    llm_window_end(b.period, now_in.first_day)) AS sums
                   WHERE w.budget_id IS NULL AND now_in.first_day <= b.since) AS counted ON true
WHERE b.org_id = $1 AND ($2::uuid IS NULL OR b.budget_id = $2)
ORDER BY b.subject_kind, b.subject, b.period
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget and its current window, which began on `first_day`; `renews_at` None: it never ends."""

    budget_id: UUID
    subject_kind: SubjectKind
    subject: str
    period: BudgetPeriod
    amount: Decimal
    hard: bool
    updated_at: datetime
    first_day: date
    renews_at: datetime | None
    spent: Decimal
    reserved: Decimal

    @property
    def left(self) -> Decimal:
        """What neither is spent nor reserved; less than nothing where it was overrun."""
        return self.amount - self.spent - self.reserved


async def set_budget(
    tx: Transaction,
    org_id: UUID,
    subject_kind: SubjectKind,
    subject: str,
    period: BudgetPeriod,
    amount: Decimal,
    *,
    hard: bool,
) -> UUID:
    """Set the budget of a subject (of the organisation: '') and period; returns its id.

    What was spent and reserved in its window before is counted, thresholds it has passed announced.
    """
    rows = await tx.fetch(
        "SELECT crossing FROM llm_set_budget($1, $2, $3, $4, $5, $6) AS crossing",
        org_id,
        subject_kind,
        subject,
        period,
        amount,
        hard,
    )
    await announce(tx, org_id, (row["crossing"] for row in rows))
    budget_id: UUID = await tx.fetchval(
        """
        SELECT budget_id FROM llm_budget
        WHERE org_id = $1 AND subject_kind = $2 AND subject = $3 AND period = $4
        """,
        org_id,
        subject_kind,
        subject,
        period,
    )
    return budget_id


async def delete_budget(tx: Transaction, org_id: UUID, budget_id: UUID) -> bool:
    """Take a budget away with its windows; whether it was there."""
    await tx.execute("SELECT pg_advisory_xact_lock(llm_ledger_key($1))", org_id)
    deleted = await tx.execute(
        "DELETE FROM llm_budget WHERE org_id = $1 AND budget_id = $2", org_id, budget_id
    )
    return deleted == 1


async def budgets(tx: Transaction, org_id: UUID, budget_id: UUID | None = None) -> list[Budget]:
    """All budgets of an organisation by subject and period, or the one."""
    return [Budget(**row) for row in await tx.fetch(_BUDGETS, org_id, budget_id)]


async def count(tx: Transaction, org_id: UUID) -> int:
    """How many budgets an organisation has."""
    return int(await tx.fetchval("SELECT count(*) FROM llm_budget WHERE org_id = $1", org_id))
