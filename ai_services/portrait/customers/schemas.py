"""Wire types of lists of customers and of a customer's page."""

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, Field

from ai_services.portrait.customers.best_time import BestTime
from ai_services.portrait.customers.customers import Facts
from ai_services.portrait.customers.promises import Promise
from ai_services.portrait.customers.store import CustomerCall, Listed, Wanted
from ai_services.portrait.metrics import METRICS
from ai_services.portrait.period import Period, PeriodType, parse
from ai_services.portrait.schemas import In, PeriodKey, PeriodOut, SubjectPortraitOut
from ai_services.portrait.store import Snapshot
from shared.cursor import Cursor, Page
from shared.ids import Id


class CustomersQuery(In):
    id: Id | None = Field(None, description="this customer, or whom they were merged into")
    number: str | None = Field(
        None,
        min_length=3,
        max_length=40,
        description="whoever has this phone number, however written",
    )
    period_type: PeriodType = "quarter"
    period_key: PeriodKey | None = Field(
        None, description="unset = the newest with calls, of the organisation or of `id`, `number`"
    )
    min_total_calls: int | None = Field(None, ge=1, le=10**9)
    max_connect_rate: float | None = Field(None, ge=0, le=1)
    negative: bool | None = Field(None, description="with negative calls, or without any")
    high_complaint_risk: bool | None = Field(None, description="with such calls, or without any")
    high_churn_risk: bool | None = Field(None, description="with such calls, or without any")
    limit: int = Field(50, ge=1, le=200)
    cursor: Cursor | None = None

    def wanted(self, customer_id: str | None) -> Wanted:
        return Wanted(
            customer_id, self.min_total_calls, self.max_connect_rate, self.negative,
            self.high_complaint_risk, self.high_churn_risk,
        )  # fmt: skip


class CustomerItem(BaseModel):
    customer_id: str
    period: PeriodOut
    total_calls: int
    connected_calls: int
    connect_rate: float | None
    avg_duration: float | None = Field(description="seconds per connected call")
    negative_rate: float | None
    high_complaint_risk: int = Field(description="calls of this risk")
    high_churn_risk: int
    as_of: dt.datetime = Field(description="when the figures last changed")

    @classmethod
    def of(cls, period_type: PeriodType, one: Listed) -> "CustomerItem":
        f = one.figures
        return cls(
            customer_id=one.customer_id,
            period=PeriodOut.of(parse(period_type, one.period_key)),
            total_calls=f.total_calls,
            connected_calls=f.connected_calls,
            connect_rate=f.connect_rate,
            avg_duration=f.avg_duration,
            negative_rate=METRICS["negative_rate"](f),
            high_complaint_risk=f.high_complaint_risk,
            high_churn_risk=f.high_churn_risk,
            as_of=one.as_of,
        )


class CustomersOut(BaseModel):
    items: list[CustomerItem] = Field(description="by id")
    next_cursor: str | None

    @classmethod
    def of(cls, period_type: PeriodType, page: Page[Listed]) -> "CustomersOut":
        return cls(
            items=[CustomerItem.of(period_type, one) for one in page.items],
            next_cursor=page.next_cursor,
        )


class Quote(BaseModel):
    turn: int | None = Field(description="of the transcript, from 0")
    text: str


def _quotes(evidence: Any) -> list[Any]:
    """What stands in the transcript; whatever else an older analyser left is passed over."""
    return [
        {"turn": one.get("turn"), "text": one["text"]}
        for one in evidence
        if isinstance(one, dict) and isinstance(one.get("text"), str)
    ]


class CustomerCallOut(BaseModel):
    callid: str
    started_at: dt.datetime
    user_id: str
    call_status: str
    duration: float = Field(description="seconds")
    level_name: str | None
    sentiment: str | None
    complaint_risk: str | None
    churn_risk: str | None
    reason: str | None = Field(description="why the analyser says so")
    analyzer: str | None
    summary: str | None
    topic: str | None
    resolution: str | None
    evidence: list[Quote] = Field(description="quotes that stand in the transcript")

    @classmethod
    def of(cls, call: CustomerCall) -> "CustomerCallOut":
        same = {name: getattr(call, name) for name in cls.model_fields if hasattr(call, name)}
        return cls.model_validate(
            {**same, "duration": call.duration_ms / 1000, "evidence": _quotes(call.evidence)}
        )


class RiskPoint(BaseModel):
    period_key: str
    total_calls: int
    high_complaint_risk: int
    medium_complaint_risk: int
    high_churn_risk: int
    medium_churn_risk: int
    negative: int

    @classmethod
    def of(cls, period: Period, snapshot: Snapshot) -> "RiskPoint":
        f = snapshot.figures
        return cls(
            period_key=period.key,
            total_calls=f.total_calls,
            high_complaint_risk=f.high_complaint_risk,
            medium_complaint_risk=f.medium_complaint_risk,
            high_churn_risk=f.high_churn_risk,
            medium_churn_risk=f.medium_churn_risk,
            negative=f.negative_count,
        )


class PromiseOut(BaseModel):
    kind: Literal["callback", "follow_up"]
    callid: str = Field(description="the call in which it was made")
    made_at: dt.datetime
    text: str
    due: dt.date | None = Field(description="the day that was named, local; null: none was")
    time: str | None = Field(description="the time of day that was named")
    overdue: bool

    @classmethod
    def of(cls, promise: Promise, today: dt.date) -> "PromiseOut":
        return cls(
            kind=promise.kind,
            callid=promise.callid,
            made_at=promise.made_at,
            text=promise.text,
            due=promise.due,
            time=promise.time,
            overdue=promise.due is not None and promise.due < today,
        )


class BestTimeOut(BaseModel):
    hour: int = Field(description="local: 14 is 14:00 to 14:59")
    calls: int
    answered: int
    rate: float
    at_least: float = Field(description="lower bound of Wilson's 95 % interval for the rate")

    @classmethod
    def of(cls, best: BestTime) -> "BestTimeOut":
        return cls(
            hour=best.hour,
            calls=best.calls,
            answered=best.answered,
            rate=best.rate,
            at_least=best.at_least,
        )


class PortraitsOut(BaseModel):
    week: SubjectPortraitOut | None = Field(description="of the newest with calls; null: none yet")
    month: SubjectPortraitOut | None
    quarter: SubjectPortraitOut | None


class FreshnessOut(BaseModel):
    as_of: dt.datetime | None = Field(description="when a figure of the portraits last changed")
    last_call_at: dt.datetime
    changed_at: dt.datetime = Field(description="when a call last changed; portraits follow")


class CustomerOut(BaseModel):
    customer_id: str = Field(description="whose calls these are: of one who was merged, the other")
    one_with: list[str] = Field(description="customers who were merged into this one, up to 100")
    portraits: PortraitsOut
    last_calls: list[CustomerCallOut] = Field(description="up to 10, newest first")
    risk_trend: list[RiskPoint] = Field(description="the last 12 months with calls, oldest first")
    promises: list[PromiseOut] = Field(description="open ones of the last 200 calls, newest first")
    best_time: BestTimeOut | None = Field(description="of the last 200 calls; null: too few")
    freshness: FreshnessOut

    @classmethod
    def of(cls, facts: Facts) -> "CustomerOut":
        shown = {
            period_type: None if one is None else SubjectPortraitOut.of(one)
            for period_type, one in facts.portraits.items()
        }
        best = facts.best_time
        return cls(
            customer_id=facts.customer_id,
            one_with=list(facts.one_with),
            portraits=PortraitsOut(**shown),
            last_calls=[CustomerCallOut.of(call) for call in facts.last_calls],
            risk_trend=[RiskPoint.of(*one) for one in facts.months],
            promises=[PromiseOut.of(one, facts.today) for one in facts.promises],
            best_time=None if best is None else BestTimeOut.of(best),
            freshness=FreshnessOut(
                as_of=facts.as_of,
                last_call_at=facts.calls[0].started_at,
                changed_at=facts.changed_at,
            ),
        )
