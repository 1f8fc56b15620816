"""Wire types about jobs and schedules."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ai_services.monitor.jobs.service import Scheduled
from shared.cursor import Cursor
from shared.jobs.answer import JobOut
from shared.jobs.store.state import State

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", examples=["compute_week_snapshot"])]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class JobsQuery(_In):
    name: Name | None = Field(None, description="jobs of this name only")
    state: State | None = Field(None, description="jobs in this state only")
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Cursor | None = None


class JobsOut(BaseModel):
    jobs: list[JobOut]
    next_cursor: str | None


class ScheduleIn(_In):
    """What the organisation chooses; what isn't sent is as the service declares it."""

    cron: Annotated[str, Field(max_length=100, examples=["30 2 * * *"])] | None = Field(
        None,
        description="minute, hour, day of month, month, weekday, in the organisation's time zone; "
        "null: the declared time, which holds again within a minute",
    )
    paused: bool = Field(False, strict=True)


class ScheduleOut(BaseModel):
    name: str
    summary: str
    cron: str
    timezone: str
    chosen: bool = Field(description="the organisation chose the time; else it is the declared one")
    declared_cron: str | None
    paused: bool
    next_at: datetime | None = Field(description="null: it has no further time")
    last_at: datetime | None = Field(description="the time for which it ran last")
    time_limit_seconds: float

    @classmethod
    def of(cls, scheduled: Scheduled) -> ScheduleOut:
        one, kind = scheduled.schedule, scheduled.kind
        return cls(
            name=one.name,
            summary=kind.summary,
            cron=one.cron,
            timezone=one.zone,
            chosen=one.own,
            declared_cron=kind.cron,
            paused=scheduled.paused,
            next_at=one.next_at,
            last_at=one.last_at,
            time_limit_seconds=kind.time_limit.total_seconds(),
        )


class SchedulesOut(BaseModel):
    schedules: list[ScheduleOut] = Field(description="by name")
