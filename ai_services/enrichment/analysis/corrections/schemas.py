"""Wire types of corrections."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from ai_services.enrichment.analysis.chain.asking.verdict import Resolution
from ai_services.enrichment.analysis.corrections.correcting import Wish
from ai_services.enrichment.analysis.corrections.store import Correction, Entry, Kind
from ai_services.enrichment.analysis_schemas import Topic, masked, visible_line
from shared.calls import Risk, Sentiment
from shared.cursor import Cursor, Page

MAX_CALLBACKS = 5

Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(visible_line)]
Why = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(visible_line)]
Fact = Literal[
    "sentiment", "sentiment_score", "complaint_risk", "churn_risk", "reason", "summary", "topic",
    "follow_up", "callbacks", "resolution", "agent_quality", "agent_quality_reason",
]  # fmt: skip


def _day(text: str) -> str:
    try:
        return dt.date.fromisoformat(text).isoformat()
    except ValueError:
        raise PydanticCustomError(
            "day", "is no day", {"fix": "send a date that exists, as YYYY-MM-DD"}
        ) from None


class CallbackIn(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    said: Line
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$"), AfterValidator(_day)] | None = None
    time: str | None = Field(None, pattern=r"^([01]\d|2[0-3]):[0-5]\d$")


class CorrectionIn(BaseModel):
    """The facts that are to hold; what is left out stays as it is. Not null unless it says so."""

    model_config = ConfigDict(extra="forbid", strict=True)
    sentiment: Sentiment = Field(
        "neutral", description="its score follows it, unless that is sent too or fits already"
    )
    sentiment_score: float = Field(
        0.5, ge=0, le=1, description="0.6 or more is positive, 0.4 or less negative"
    )
    complaint_risk: Risk = "low"
    churn_risk: Risk = "low"
    summary: Line = ""
    topic: Topic = Field("", description="one of the organisation's own, if it has any, or 'other'")
    follow_up: Line | None = Field(None, description="null: nothing is to be done")
    callbacks: list[CallbackIn] = Field([], max_length=MAX_CALLBACKS)
    resolution: Resolution = "no_request"
    agent_quality: int | None = Field(None, ge=1, le=5)
    agent_quality_reason: Line | None = None
    reason: Why | None = Field(None, description="why; takes the place of the analyser's reason")
    version: int | None = Field(
        None, ge=0, description="of the correction that is known, 0 for none; 409 if it has changed"
    )

    @model_validator(mode="after")
    def _decides_something(self) -> CorrectionIn:
        if not self._facts:
            raise PydanticCustomError(
                "nothing", "decides no fact", {"fix": "send at least one beside the reason"}
            )
        return self

    @property
    def _facts(self) -> set[str]:
        return self.model_fields_set - {"reason", "version"}

    @property
    def wish(self) -> Wish:
        facts = self.model_dump(mode="json", include=self._facts)
        return Wish(facts, self.reason, self.version)


class WithdrawQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    fact: Fact | None = Field(None, description="only this one; a sentiment goes with its score")
    version: int | None = Field(None, ge=0, description="409 if the correction isn't at this one")


class CorrectedFact(BaseModel):
    fact: str
    corrected: Any = Field(description="what holds")
    analysed: Any = Field(description="what the analyser says; null: nothing")


class CorrectionOut(BaseModel):
    version: int = Field(description="grows with every change")
    corrected_at: dt.datetime | None
    corrected_by: str | None = Field(description="who changed it last")
    facts: list[CorrectedFact] = Field(description="none: all is as the analyser says")

    @classmethod
    def of(cls, one: Correction) -> CorrectionOut:
        facts = [
            CorrectedFact(fact=fact, corrected=masked(value), analysed=masked(one.analysed[fact]))
            for fact, value in sorted(one.facts.items())
        ]
        return cls(
            version=one.version,
            corrected_at=one.corrected_at,
            corrected_by=one.corrected_by,
            facts=facts,
        )


class CorrectionsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(50, ge=1, le=200)
    cursor: Cursor | None = None


class CorrectionEntry(BaseModel):
    version: int
    correction_id: UUID = Field(description="as the audit log names it")
    kind: Kind
    at: dt.datetime
    actor: str
    reason: str | None
    before: dict[str, Any] = Field(description="the facts that it changed, as they held before")
    after: dict[str, Any]

    @classmethod
    def of(cls, one: Entry) -> CorrectionEntry:
        return cls(
            version=one.version,
            correction_id=one.correction_id,
            kind=one.kind,
            at=one.at,
            actor=one.actor,
            reason=masked(one.reason),
            before=_shown(one.before),
            after=_shown(one.after),
        )


def _shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {fact: masked(value) for fact, value in sorted(facts.items())}


class CorrectionHistory(BaseModel):
    now: CorrectionOut
    entries: list[CorrectionEntry] = Field(description="every change, newest first")
    next_cursor: str | None

    @classmethod
    def of(cls, found: tuple[Correction, Page[Entry]]) -> CorrectionHistory:
        now, page = found
        return cls(
            now=CorrectionOut.of(now),
            entries=[CorrectionEntry.of(one) for one in page.items],
            next_cursor=page.next_cursor,
        )
