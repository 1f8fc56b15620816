"""What a model is asked for of each call, as the types that its answer is checked with."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.calls import Risk, Sentiment

Resolution = Literal["resolved", "partly", "unresolved", "no_request"]
OTHER_TOPIC: Final = "other"
MOST_QUOTES: Final = 20  # of an answer about one transcript, and so of all its windows
_MOST_DAYS: Final = 1 << 31  # what is more fits no number of a database
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """With a blank for each character that no database takes: NUL, and halves of characters."""
    return _UNSTORABLE.sub(" ", text)


def _distinct(quotes: list[str]) -> list[str]:
    return list(dict.fromkeys(quotes))[:MOST_QUOTES]


def _few(promises: list[Promise]) -> list[Promise]:
    return promises[:MOST_QUOTES]


def _small(number: int | None) -> int | None:
    return number if number is not None and abs(number) < _MOST_DAYS else None


Text = Annotated[str, AfterValidator(storable)]
Number = Annotated[int | None, AfterValidator(_small)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Promise(_Strict):
    """A call back that was promised: the words, and when, as far as they say."""

    said: Text
    date: Text | None = None  # YYYY-MM-DD, where a date was said
    days: Number = None  # from the call
    weekday: Number = None  # 1 Monday to 7 Sunday
    time: Text | None = None  # HH:MM


class Verdict(_Strict):
    """On one transcript, or a window of it."""

    id: Text
    sentiment: Sentiment
    sentiment_score: float = Field(ge=0, le=1)
    complaint_risk: Risk
    churn_risk: Risk
    reason: Text
    confidence: float = Field(ge=0, le=1)
    evidence: Annotated[list[Text], AfterValidator(_distinct)]
    summary: Text
    topic: Text
    follow_up: Text | None
    callbacks: Annotated[list[Promise], AfterValidator(_few)]
    resolution: Resolution
    agent_quality: int | None = Field(ge=1, le=5)
    agent_quality_reason: Text | None


class Verdicts(_Strict):
    """The whole answer."""

    calls: list[Verdict]
