"""The use cases of budgets: what there are and what is left of them, setting and taking away."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog

from ai_services.llm.spend import budget_store
from ai_services.llm.spend.budget_store import Budget
from ai_services.llm.spend.ledger_store import BudgetPeriod, SubjectKind
from shared.data_access.ports import Relational
from shared.errors import InvalidInput, NotFound

MOST: Final = 1_000  # budgets of an organisation
_SUBJECTS: Final[dict[SubjectKind, tuple[re.Pattern[str], str]]] = {
    "organisation": (re.compile(r""), "leave it out: the budget is that of your organisation"),
    "key": (re.compile(r"[0-9a-f-]{36}"), "send the id of an API key"),
    "user": (
        re.compile(r"[0-9a-f-]{36}|external:[!-~]{1,200}"),
        "send the id of a user, or external:PREFIX:SUB of one who signs in elsewhere",
    ),
    "purpose": (
        re.compile(r"[a-z0-9][a-z0-9._-]{0,63}"),
        "send 1 to 64 lower-case letters, digits, dots, dashes or underscores",
    ),
}
_log = structlog.get_logger()


async def list_budgets(relational: Relational, org_id: UUID) -> list[Budget]:
    """All budgets of an organisation with their current windows, by subject and period."""
    async with relational.tenant(org_id, readonly=True) as tx:
        return await budget_store.budgets(tx, org_id)


async def set_budget(
    relational: Relational,
    org_id: UUID,
    subject_kind: SubjectKind,
    subject: str,
    period: BudgetPeriod,
    amount: Decimal,
    *,
    hard: bool,
) -> Budget:
    """Set the one budget of this subject and period, new or changed; the same again changes nothing.

    It holds for attempts from now on; what its current window has seen counts. Raises InvalidInput.
    """
    form, fix = _SUBJECTS[subject_kind]
    if not form.fullmatch(subject):
        problem = f"{subject[:100]!r} is no subject of the kind {subject_kind}"
        raise InvalidInput.of("subject", problem, fix)
    async with relational.tenant(org_id) as tx:
        budget_id = await budget_store.set_budget(
            tx, org_id, subject_kind, subject, period, amount, hard=hard
        )
        if await budget_store.count(tx, org_id) > MOST:
            problem = f"your organisation has {MOST} budgets, which is the most there can be"
            raise InvalidInput.of("subject", problem, "delete one that is not needed")
        (budget,) = await budget_store.budgets(tx, org_id, budget_id)
    _log.info(
        "budget set",
        budget_id=str(budget_id),
        subject_kind=subject_kind,
        period=period,
        amount=str(amount),
        hard=hard,
    )
    return budget


async def delete_budget(relational: Relational, org_id: UUID, budget_id: UUID) -> None:
    """Attempts from now on are not bound by it; NotFound where there is none."""
    async with relational.tenant(org_id) as tx:
        if not await budget_store.delete_budget(tx, org_id, budget_id):
            raise NotFound("There is no such budget. GET /api/v1/budgets lists those there are.")
    _log.info("budget deleted", budget_id=str(budget_id))
