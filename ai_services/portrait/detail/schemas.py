"""Wire types of what lies behind a portrait."""

import datetime as dt

from pydantic import BaseModel, ConfigDict, Field

from ai_services.portrait.detail.detail import Detail, funnel
from ai_services.portrait.figures import ratio
from ai_services.portrait.history.history import Past
from ai_services.portrait.schemas import PeriodOut


class Share(BaseModel):
    hour: int = Field(description="local: 14 is 14:00 to 14:59")
    calls: int
    connected: int
    answer_rate: float | None = Field(description="null without calls")


class Step(BaseModel):
    step: str = Field(examples=["connected", "B_or_higher"])
    calls: int
    of_step_before: float | None = Field(description="share of the step before; null over nothing")


class ToldOut(BaseModel):
    text: str
    calls: int
    examples: list[str] = Field(description="up to 3 call ids, newest first")


class FollowUpOut(BaseModel):
    callid: str
    customer_id: str | None
    user_id: str
    started_at: dt.datetime
    follow_up: str


class RiskOut(BaseModel):
    period_key: str
    connected_calls: int
    high_complaint_risk: int
    high_churn_risk: int
    high_complaint_rate: float | None
    high_churn_rate: float | None

    @classmethod
    def of(cls, past: Past) -> "RiskOut":
        f = past.figures
        return cls(
            period_key=past.period.key,
            connected_calls=f.connected_calls,
            high_complaint_risk=f.high_complaint_risk,
            high_churn_risk=f.high_churn_risk,
            high_complaint_rate=ratio(f.high_complaint_risk, f.complaint_judged_calls),
            high_churn_rate=ratio(f.high_churn_risk, f.churn_judged_calls),
        )


class HoursOut(BaseModel):
    calls: list[list[int]] = Field(description="7 rows, Monday first, of 24 local hours")
    connected: list[list[int]]


class RecencyOut(BaseModel):
    last_call_at: dt.datetime | None
    days_ago: float | None = Field(description="since the last call of the period")
    days_with_calls: int
    calls_per_day: float | None = Field(description="on days with calls")


class DetailOut(BaseModel):
    """Of a subject its id stands beside, by the name that it has in calls: `user_id`, `customer_id`."""

    model_config = ConfigDict(extra="allow")

    period: PeriodOut
    as_of: dt.datetime | None
    p50_duration: float | None = Field(description="seconds of connected calls: the median")
    p90_duration: float | None
    hours: HoursOut
    answer_rate_by_hour: list[Share]
    intention_funnel: list[Step]
    topics: list[ToldOut] = Field(description="up to 5, of the newest 5,000 connected calls")
    complaint_reasons: list[ToldOut] = Field(description="of calls with a high complaint risk")
    follow_ups: list[FollowUpOut] = Field(
        description="up to 20 of these calls, after which nobody spoke with the customer again"
    )
    risk_trend: list[RiskOut] = Field(description="the last 12 periods with calls, oldest first")
    recency: RecencyOut

    @classmethod
    def of(cls, found: Detail) -> "DetailOut":
        whose = {} if found.subject is None else {found.subject.dimension.column: found.subject.id}
        spread, figures = found.distribution, found.now.figures
        last = spread.last_call_at
        return cls(
            **whose,
            period=PeriodOut.of(found.period),
            as_of=found.now.as_of,
            p50_duration=spread.p50_duration,
            p90_duration=spread.p90_duration,
            hours=HoursOut(
                calls=[list(row) for row in spread.calls],
                connected=[list(row) for row in spread.connected],
            ),
            answer_rate_by_hour=[
                _share(hour, sum(row[hour] for row in spread.calls), sum(row[hour] for row in spread.connected))
                for hour in range(24)
            ],
            intention_funnel=_steps(funnel(figures)),
            topics=[ToldOut(text=one.text, calls=one.calls, examples=list(one.examples)) for one in found.topics],
            complaint_reasons=[
                ToldOut(text=one.text, calls=one.calls, examples=list(one.examples))
                for one in found.reasons
            ],
            follow_ups=[
                FollowUpOut(
                    callid=one.callid, customer_id=one.customer_id, user_id=one.user_id,
                    started_at=one.started_at, follow_up=one.follow_up,
                )
                for one in found.follow_ups
            ],
            risk_trend=[RiskOut.of(past) for past in found.past],
            recency=RecencyOut(
                last_call_at=last,
                days_ago=None if last is None else round((found.read_at - last).total_seconds() / 86_400, 2),
                days_with_calls=spread.days,
                calls_per_day=ratio(figures.total_calls, spread.days),
            ),
        )  # fmt: skip


def _share(hour: int, calls: int, connected: int) -> Share:
    return Share(hour=hour, calls=calls, connected=connected, answer_rate=ratio(connected, calls))


def _steps(steps: list[tuple[str, int]]) -> list[Step]:
    before = [None, *(calls for _, calls in steps)]
    return [
        Step(step=name, calls=calls, of_step_before=None if of is None else ratio(calls, of))
        for (name, calls), of in zip(steps, before, strict=False)
    ]
