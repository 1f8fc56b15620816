"""Wire types of the analysis: insights of a call, what an organisation wants to know, dead letters."""

import datetime as dt
import unicodedata
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ai_services.enrichment.analysis.chain.asking.verdict import Resolution
from ai_services.enrichment.analysis.chain.judged import Step
from ai_services.enrichment.analysis.chain.script import Script, plain
from ai_services.enrichment.analysis.chain.wanted import Wanted
from shared.cursor import Cursor, Page
from shared.data_access.ports import Row
from shared.ids import Id
from shared.phones import mask_phones

MAX_TOPICS = 50
MAX_PHRASES = 50
MAX_LETTERS = 1000


class QuoteOut(BaseModel):
    turn: int = Field(description="in `turns`, from 0")
    text: str = Field(description="stands in that turn; phone numbers masked")


class CallbackOut(BaseModel):
    said: str
    date: str | None = Field(description="the day that was promised; null where none was named")
    time: str | None


class InsightsOut(BaseModel):
    """What is known of an analysed call beyond sentiment and risks."""

    step: Step = Field(description="which step of the chain gave the verdict")
    degraded: bool = Field(description="the local analyser's, where a model was to judge")
    waits: bool = Field(description="a model is still to judge it")
    confidence: float | None
    evidence: list[QuoteOut]
    summary: str | None
    topic: str | None = Field(description="of the organisation's own list, or 'other'")
    follow_up: str | None = Field(description="what is still to be done; null: nothing")
    callbacks: list[CallbackOut] = Field(description="calls back that were promised")
    resolution: Resolution | None
    agent_quality: int | None = Field(ge=1, le=5)
    agent_quality_reason: str | None
    talk_ratio: float | None = Field(description="the agent's share of the talking")
    silence_ratio: float | None = Field(description="share of the call in which nobody talks")
    interruptions: int | None
    script_missing: list[str] = Field(description="what the agent was to say, and didn't")
    script_forbidden: list[str] = Field(description="what the agent said, and was not to")

    @classmethod
    def of(cls, row: Row) -> "InsightsOut":
        return cls(**{name: masked(value) for name, value in dict(row).items()})


def masked(value: Any) -> Any:
    if isinstance(value, str):
        return mask_phones(value)
    if isinstance(value, list):
        return [masked(one) for one in value]
    if isinstance(value, dict):
        return {name: one if name == "date" else masked(one) for name, one in value.items()}
    return value


def visible_line(text: str) -> str:
    line = " ".join(text.split())
    if not line or any(unicodedata.category(one)[0] == "C" for one in line):
        raise PydanticCustomError(
            "line", "is no line of visible characters", {"fix": "send one line of text"}
        )
    return line


def _phrase(text: str) -> str:
    if not all(plain(part) for part in visible_line(text).split("|")):
        raise PydanticCustomError(
            "phrase",
            "has nothing that could be heard on one side of |",
            {"fix": "send words, alternatives with | between them"},
        )
    return visible_line(text)


Topic = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(visible_line)]
Phrase = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_phrase)]


class AnalysisSettingsOut(BaseModel):
    topics: list[Topic] = Field(
        max_length=MAX_TOPICS, description="of which a model names one for each call"
    )
    must_say: list[Phrase] = Field(
        max_length=MAX_PHRASES, description="by the agent; alternatives with | between"
    )
    must_not_say: list[Phrase] = Field(max_length=MAX_PHRASES)

    @classmethod
    def of(cls, wanted: Wanted) -> "AnalysisSettingsOut":
        return cls(
            topics=list(wanted.topics),
            must_say=list(wanted.script.must_say),
            must_not_say=list(wanted.script.must_not_say),
        )


class AnalysisSettingsIn(AnalysisSettingsOut):
    model_config = ConfigDict(extra="forbid", strict=True)

    @property
    def wanted(self) -> Wanted:
        script = Script(_once(self.must_say), _once(self.must_not_say))
        return Wanted(_once(self.topics), script)


def _once(texts: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


class DeadLettersQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, ge=1, le=1000)
    cursor: Cursor | None = None


class AnalysisDeadLetter(BaseModel):
    callid: str
    reason: Literal["invalid", "missing", "refused", "timeout", "too_long"]
    detail: str
    analyzer: str = Field(description="the model and the version of the prompt that were asked")
    failed_at: dt.datetime


class AnalysisDeadLetters(BaseModel):
    dead_letters: list[AnalysisDeadLetter]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[Row]) -> "AnalysisDeadLetters":
        letters = [
            AnalysisDeadLetter(**{**row, "detail": mask_phones(row["detail"])})
            for row in page.items
        ]
        return cls(dead_letters=letters, next_cursor=page.next_cursor)


class ReplayIn(BaseModel):
    model_config = ConfigDict(extra="forbid")
    callids: list[Id] | None = Field(
        None, min_length=1, max_length=MAX_LETTERS, description="null: all"
    )


class Replayed(BaseModel):
    replayed: int = Field(description="calls that wait for a model again")
