"""What is one organisation's: its events that wait, its jobs, its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from pydantic import BaseModel

from ai_services.monitor.jobs import service
from ai_services.monitor.jobs.service import Scheduled
from ai_services.monitor.status.report import BudgetReport
from shared.data_access.outbox import store as outbox
from shared.data_access.outbox.relay import Depth
from shared.data_access.ports import Relational
from shared.jobs.store import jobs
from shared.jobs.store.jobs import Totals
from shared.security import Principal
from shared.services import SERVICES
from shared.serving.peers import Peers

_NEXT: Final = 10  # runs that are shown
_MOST_BUDGETS: Final = 50
_LAST: Final = datetime.max.replace(tzinfo=UTC)
_PROJECTIONS: Final = tuple(one.name for service in SERVICES for one in service.projections)


class _Budget(BaseModel):
    """What is read here of the llm service's answer."""

    subject_kind: str
    subject: str
    period: str
    hard: bool
    amount: Decimal
    spent: Decimal
    reserved: Decimal
    renews_at: datetime | None


class _Budgets(BaseModel):
    budgets: list[_Budget]


async def projections(db: Relational, org_id: UUID) -> Mapping[str, Depth]:
    """What the organisation's events wait for: every projection of the platform, by name."""
    async with db.tenant(org_id, readonly=True) as tx:
        return dict.fromkeys(_PROJECTIONS, Depth()) | await outbox.depth(tx)


async def job_totals(db: Relational, org_id: UUID) -> Totals:
    async with db.tenant(org_id, readonly=True) as tx:
        return await jobs.totals(tx)


async def next_runs(db: Relational, org_id: UUID) -> list[Scheduled]:
    """The schedules that run next, the soonest first; ten at most."""
    found = await service.list_schedules(db, org_id)
    running = [one for one in found if one.schedule.next_at and not one.paused]
    return sorted(running, key=lambda one: one.schedule.next_at or _LAST)[:_NEXT]


async def budgets(peers: Peers, principal: Principal) -> list[BudgetReport]:
    """The fifty of which the largest share is used, by that. Raises what the llm service raises."""
    answer = await peers.ask("llm", "GET", "/api/v1/budgets", principal, answer=_Budgets)
    found = [
        BudgetReport(
            subject=f"{one.subject_kind}:{one.subject}".rstrip(":"),
            period=one.period,
            hard=one.hard,
            amount=one.amount,
            spent=one.spent,
            reserved=one.reserved,
            renews_at=one.renews_at,
        )
        for one in answer.budgets
    ]
    return sorted(found, key=lambda one: -one.used)[:_MOST_BUDGETS]
