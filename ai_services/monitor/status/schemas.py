"""Wire types of the status."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from ai_services.monitor.jobs.service import Scheduled
from ai_services.monitor.status.report import Health, Report, StoreName

Money = Annotated[Decimal, PlainSerializer(lambda amount: f"{amount:.8f}", return_type=str)]


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class InstanceOut(_Out):
    address: str = Field(description="host and port, inside of the platform")
    version: str
    ready: bool
    latency_ms: float = Field(description="of its answer, or until it was given up")
    wrong: list[str] = Field(description="what it misses, in spite of which it may be ready")


class ServiceOut(_Out):
    name: str
    status: Health = Field(
        validation_alias="health", description="degraded: not every instance is ready"
    )
    instances: list[InstanceOut]


class StoreOut(_Out):
    name: StoreName
    up: bool
    latency_ms: float = Field(description="of a ping, or until it was given up")
    reason: str | None = Field(description="why it isn't up")
    within: StoreName | None = Field(description="the store whose server this one lives in")


class ProjectionOut(BaseModel):
    name: str
    waiting: int = Field(description="events of the organisation that aren't applied yet")
    lag_seconds: float = Field(description="age of the oldest of them")
    dead: int = Field(description="events that were given up")


class NextRunOut(BaseModel):
    name: str
    next_at: datetime | None

    @classmethod
    def of(cls, one: Scheduled) -> Self:
        return cls(name=one.schedule.name, next_at=one.schedule.next_at)


class JobTotalsOut(_Out):
    waiting: int = Field(description="for their time")
    queued: int
    running: int
    dead: int = Field(description="within 24 hours, those retried not counted")
    oldest_queued_seconds: float | None = Field(validation_alias="oldest_s")


class BudgetOut(_Out):
    subject: str = Field(description="organisation, key:ID, user:ID or purpose:NAME")
    period: str
    hard: bool
    amount: Money
    spent: Money = Field(description="in the current window")
    reserved: Money = Field(description="by requests under way")
    used: float = Field(description="the share that is spent or reserved")
    renews_at: datetime | None


class StatusOut(BaseModel):
    """Null is what could not be found out; `unknown` says why."""

    status: Health
    reasons: list[str] = Field(description="why it isn't up, the gravest first")
    at: datetime
    services: list[ServiceOut] | None
    stores: list[StoreOut]
    projections: list[ProjectionOut] | None = Field(description="the organisation's own events")
    jobs: JobTotalsOut | None = Field(description="the organisation's own")
    next_runs: list[NextRunOut] | None = Field(description="the soonest first, ten at most")
    budgets: list[BudgetOut] | None = Field(
        description="the organisation's own, fifty at most, the most used first"
    )
    unknown: dict[str, str]

    @classmethod
    def of(cls, found: Report) -> Self:
        services, depths, runs, budgets = (
            found.services, found.projections, found.next_runs, found.budgets,
        )  # fmt: skip
        return cls(
            status=found.health,
            reasons=found.reasons,
            at=found.at,
            services=None
            if services is None
            else [ServiceOut.model_validate(one) for one in services],
            stores=[
                StoreOut(
                    name=one.name,
                    up=one.up,
                    latency_ms=one.latency_ms,
                    reason=one.reason or None,
                    within=one.within,
                )
                for one in found.stores
            ],
            projections=None
            if depths is None
            else [
                ProjectionOut(
                    name=name, waiting=one.waiting, lag_seconds=one.lag_seconds, dead=one.dead
                )
                for name, one in depths.items()
            ],
            jobs=None if found.jobs is None else JobTotalsOut.model_validate(found.jobs),
            next_runs=None if runs is None else [NextRunOut.of(one) for one in runs],
            budgets=None if budgets is None else [BudgetOut.model_validate(one) for one in budgets],
            unknown=dict(found.unknown),
        )
