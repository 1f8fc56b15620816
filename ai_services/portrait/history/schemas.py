"""Wire types of histories and comparisons."""

import datetime as dt

from pydantic import BaseModel, ConfigDict, Field

from ai_services.portrait.history.history import Comparison, Past
from ai_services.portrait.period import PeriodType
from ai_services.portrait.schemas import (
    FiguresOut,
    In,
    MetricChange,
    PeriodKey,
    PeriodOut,
    groups,
)
from shared.cursor import Cursor, Page


class HistoryQuery(In):
    period_type: PeriodType = "week"
    limit: int = Field(12, ge=1, le=100)
    cursor: Cursor | None = None


class PastOut(FiguresOut):
    period: PeriodOut
    as_of: dt.datetime | None = Field(description="when the figures last changed")

    @classmethod
    def of(cls, past: Past) -> "PastOut":
        return cls(
            period=PeriodOut.of(past.period), as_of=past.as_of, **groups(past.figures).__dict__
        )


class HistoryOut(BaseModel):
    period_type: PeriodType
    periods: list[PastOut] = Field(description="those with calls, newest first")
    next_cursor: str | None

    @classmethod
    def of(cls, period_type: PeriodType, page: Page[Past]) -> "HistoryOut":
        return cls(
            period_type=period_type,
            periods=[PastOut.of(past) for past in page.items],
            next_cursor=page.next_cursor,
        )


class CompareQuery(In):
    period_type: PeriodType = "week"
    period_key: PeriodKey | None = Field(None, description="unset = the newest with calls")
    with_: PeriodKey | None = Field(None, alias="with", description="unset = the period before")


class MetricCompared(MetricChange):
    value: int | float | None


class ComparisonOut(BaseModel):
    """Of a subject its id stands beside, by the name that it has in calls: `user_id`, `customer_id`."""

    model_config = ConfigDict(extra="allow")

    period: PastOut
    other: PastOut = Field(description="what it is compared with")
    metrics: dict[str, MetricCompared] = Field(description="each with its change from the other")

    @classmethod
    def of(cls, found: Comparison) -> "ComparisonOut":
        whose = {} if found.subject is None else {found.subject.dimension.column: found.subject.id}
        return cls(
            **whose,
            period=PastOut.of(found.period),
            other=PastOut.of(found.other),
            metrics={
                change.metric: MetricCompared(
                    value=change.value, **MetricChange.of(change).__dict__
                )
                for change in found.changes
            },
        )
