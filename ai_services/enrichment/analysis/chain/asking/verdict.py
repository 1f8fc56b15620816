"""What a model is asked for of each call, as the types that its answer is checked with."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.calls import Risk, Sentiment

Resolution = Literal["resolved", "partly", "unresolved", "no_request"]
OTHER_TOPIC: Final = "other"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Promise(_Strict):
    """A call back that was promised: the words, and when, as far as they say."""

    said: str
    date: str | None = None  # YYYY-MM-DD, where a date was said
    days: int | None = None  # from the call
    weekday: int | None = None  # 1 Monday to 7 Sunday
    time: str | None = None  # HH:MM


class Verdict(_Strict):
    """On one transcript, or a window of it."""

    id: str
    sentiment: Sentiment
    sentiment_score: float = Field(ge=0, le=1)
    complaint_risk: Risk
    churn_risk: Risk
    reason: str
    confidence: float = Field(ge=0, le=1)
    evidence: list[str]
    summary: str
    topic: str
    follow_up: str | None
    callbacks: list[Promise]
    resolution: Resolution
    agent_quality: int | None = Field(ge=1, le=5)
    agent_quality_reason: str | None


class Verdicts(_Strict):
    """The whole answer."""

    calls: list[Verdict]
