"""Wire types of the portrait service."""

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ai_services.portrait.computing.computation import Computed
from ai_services.portrait.computing.jobs import computed_of
from ai_services.portrait.dimension import USER, Subject
from ai_services.portrait.figures import Figures, ratio, seconds
from ai_services.portrait.history.comparison import MEANS, Change, TestName, changes
from ai_services.portrait.metrics import METRICS, RATES
from ai_services.portrait.period import Period, PeriodType, Status
from ai_services.portrait.service import Point, Portrait, Summary
from shared.ids import one_spelling
from shared.instant import Day
from shared.jobs.store.jobs import Job

PeriodKey = Annotated[
    str,
    Field(max_length=40, description="2024-W49, 2024-11 or 2024-Q4", examples=["2024-W49"]),
]
Limit = Annotated[int, Field(ge=1, le=520, description="at most this many periods")]


# Of which a portrait tells how they have changed; comparisons tell it of all.
CHANGES_SHOWN: Final = frozenset({"total_calls", "connected_calls", *RATES, *MEANS})


def _one_spelling(user_id: str | None) -> str | None:
    return None if user_id is None else one_spelling(user_id)


class In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PeriodsQuery(In):
    type: PeriodType = "week"
    limit: Limit = 12


class PortraitQuery(In):
    period_type: PeriodType = "week"
    period_key: PeriodKey | None = Field(None, description="unset = the newest with calls")


class SubjectTrendQuery(In):
    period_type: PeriodType = "week"
    limit: Limit = 12
    metric: str = Field(max_length=100, json_schema_extra={"enum": list(METRICS)})


class TrendQuery(SubjectTrendQuery):
    user_id: Annotated[str | None, AfterValidator(_one_spelling)] = Field(
        None, description="unset = all users together"
    )

    @property
    def subject(self) -> Subject | None:
        return None if self.user_id is None else Subject(USER, self.user_id)


class ComputeIn(In):
    """What to compute: everything, one period, or the periods that touch a range of dates."""

    period_type: Literal[PeriodType, "all"] = "all"
    period_key: PeriodKey | None = Field(None, description="one period; not with from or to")
    from_: Day | None = Field(None, alias="from", description="unset = from the first call")
    to: Day | None = Field(None, description="inclusive; unset = to the last call")


class PeriodItem(BaseModel):
    key: str
    label: str = Field(examples=["2024年第49周"])
    start: dt.date
    end: dt.date = Field(description="inclusive")
    status: Status = Field(description="completed: computed after its end")


class PeriodsOut(BaseModel):
    type: PeriodType
    periods: list[PeriodItem]

    @classmethod
    def of(cls, period_type: PeriodType, found: Sequence[tuple[Period, Status]]) -> "PeriodsOut":
        return cls(
            type=period_type,
            periods=[
                PeriodItem(
                    key=period.key,
                    label=period.label,
                    start=period.start,
                    end=period.end,
                    status=status,
                )
                for period, status in found
            ],
        )


class PeriodOut(BaseModel):
    type: PeriodType
    key: str
    start: dt.date
    end: dt.date = Field(description="inclusive")

    @classmethod
    def of(cls, period: Period) -> "PeriodOut":
        return cls(type=period.type, key=period.key, start=period.start, end=period.end)


class CallStats(BaseModel):
    total_calls: int
    connected_calls: int
    connect_rate: float | None = Field(description="null over nothing")
    total_duration: int | float = Field(description="seconds of connected calls, exact")
    avg_duration: float | None = Field(description="seconds per connected call")
    total_rounds: int
    avg_rounds: float | None


class IntentionDist(BaseModel):
    A: int
    B: int
    C: int
    D: int
    E: int
    F: int


class HangupDist(BaseModel):
    robot: int
    user: int


class SentimentAnalysis(BaseModel):
    positive: int
    neutral: int
    negative: int
    avg_score: float | None = Field(description="0 to 1, over connected calls that have a score")


class Risk(BaseModel):
    high: int
    medium: int
    low: int


class RiskAnalysis(BaseModel):
    complaint_risk: Risk
    churn_risk: Risk


class FiguresOut(BaseModel):
    """The groups of figures that portraits and summaries share."""

    call_stats: CallStats
    intention_dist: IntentionDist
    hangup_dist: HangupDist
    fail_reason_dist: dict[str, int] = Field(description="reasons that occurred")
    sentiment_analysis: SentimentAnalysis
    risk_analysis: RiskAnalysis


class MetricChange(BaseModel):
    before: int | float | None
    difference: int | float | None = Field(description="now minus before; null if either is")
    test: TestName | None = Field(description="null where there are too few calls for one")
    p_value: float | None = Field(description="two-sided: below 0.05 is usually called significant")

    @classmethod
    def of(cls, change: Change) -> "MetricChange":
        return cls(
            before=change.before,
            difference=change.difference,
            test=change.test,
            p_value=change.p_value,
        )


class ChangeOut(BaseModel):
    against: str = Field(description="key of the period before")
    metrics: dict[str, MetricChange]


class _Current(FiguresOut):
    """Figures of one period, how fresh they are, and what has changed since the period before."""

    period: PeriodOut
    as_of: dt.datetime | None = Field(description="when the figures last changed; null: no calls")
    share_analysed: float | None = Field(
        description="of connected calls, those that an analyser has seen; null over nothing"
    )
    share_degraded: float | None = Field(
        description="of these, those that a model was to judge and hasn't; null over nothing"
    )
    change: ChangeOut | None = Field(description="null: no calls in the period before")

    @classmethod
    def _current(cls, found: Portrait | Summary) -> dict[str, Any]:
        return {
            "period": PeriodOut.of(found.period),
            "as_of": found.as_of,
            "share_analysed": ratio(found.analysed, found.figures.connected_calls),
            "share_degraded": ratio(found.degraded, found.analysed),
            "change": _change(found),
            **groups(found.figures).__dict__,
        }


def _change(found: Portrait | Summary) -> ChangeOut | None:
    if found.before is None:
        return None
    return ChangeOut(
        against=found.period.back(1).key,
        metrics={
            change.metric: MetricChange.of(change)
            for change in changes(found.figures, found.before)
            if change.metric in CHANGES_SHOWN
        },
    )


class SubjectPortraitOut(_Current):
    """The subject's id stands beside, by the name that it has in calls: `customer_id`, `task_id`."""

    model_config = ConfigDict(extra="allow")

    @classmethod
    def of(cls, portrait: Portrait) -> "SubjectPortraitOut":
        whose: dict[str, Any] = {portrait.subject.dimension.column: portrait.subject.id}
        return cls(**whose, **cls._current(portrait))


class PortraitOut(_Current):
    user_id: str

    @classmethod
    def of(cls, portrait: Portrait) -> "PortraitOut":
        return cls(user_id=portrait.subject.id, **cls._current(portrait))


class SummaryOut(_Current):
    users: int = Field(description="users with calls in the period")

    @classmethod
    def of(cls, summary: Summary) -> "SummaryOut":
        return cls(users=summary.users, **cls._current(summary))


def groups(f: Figures) -> FiguresOut:
    return FiguresOut(
        call_stats=CallStats(
            total_calls=f.total_calls,
            connected_calls=f.connected_calls,
            connect_rate=f.connect_rate,
            total_duration=seconds(f.total_duration),
            avg_duration=f.avg_duration,
            total_rounds=f.total_rounds,
            avg_rounds=f.avg_rounds,
        ),
        intention_dist=IntentionDist(
            A=f.level_a_count,
            B=f.level_b_count,
            C=f.level_c_count,
            D=f.level_d_count,
            E=f.level_e_count,
            F=f.level_f_count,
        ),
        hangup_dist=HangupDist(robot=f.robot_hangup_count, user=f.user_hangup_count),
        fail_reason_dist=dict(f.fail_reason_dist),
        sentiment_analysis=SentimentAnalysis(
            positive=f.positive_count,
            neutral=f.neutral_count,
            negative=f.negative_count,
            avg_score=f.avg_sentiment_score,
        ),
        risk_analysis=RiskAnalysis(
            complaint_risk=Risk(
                high=f.high_complaint_risk, medium=f.medium_complaint_risk, low=f.low_complaint_risk
            ),
            churn_risk=Risk(
                high=f.high_churn_risk, medium=f.medium_churn_risk, low=f.low_churn_risk
            ),
        ),
    )


class TrendPoint(BaseModel):
    period_key: str
    value: int | float | None = Field(description="null where there were no calls")
    label: str = Field(
        description="with the year where the series spans several", examples=["第38周"]
    )


class TrendOut(BaseModel):
    metric: str
    period_type: PeriodType
    series: list[TrendPoint] = Field(description="oldest first, no period left out")

    @classmethod
    def of(cls, metric: str, period_type: PeriodType, points: Sequence[Point]) -> "TrendOut":
        one_year = len({point.period.year for point in points}) <= 1
        return cls(
            metric=metric,
            period_type=period_type,
            series=[
                TrendPoint(
                    period_key=point.period.key,
                    value=point.value,
                    label=point.period.short_label if one_year else point.period.label,
                )
                for point in points
            ],
        )


class ComputedOut(BaseModel):
    period_type: PeriodType
    periods: int
    first: str | None = Field(description="key of the first period computed")
    last: str | None
    snapshots: int = Field(description="snapshots of these periods now")
    changed: int = Field(description="of those, new ones and ones that differ from before")
    removed: int = Field(description="snapshots deleted because their calls are gone")
    seconds: float


class ComputeOut(BaseModel):
    computed: list[ComputedOut]
    seconds: float

    @classmethod
    def of(cls, computed: Sequence[Computed]) -> "ComputeOut":
        return cls(
            computed=[
                ComputedOut(
                    period_type=item.period_type,
                    periods=item.periods,
                    first=item.first,
                    last=item.last,
                    snapshots=item.snapshots,
                    changed=item.changed,
                    removed=item.removed,
                    seconds=round(item.seconds, 3),
                )
                for item in computed
            ],
            seconds=round(sum(item.seconds for item in computed), 3),
        )

    @classmethod
    def of_job(cls, job: Job) -> "ComputeOut":
        """What a job did that succeeded."""
        return cls.of(computed_of(job.result or {}))
