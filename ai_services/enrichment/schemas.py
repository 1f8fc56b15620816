"""Wire types of the enrichment service."""

import datetime as dt
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ai_services.enrichment.record import (
    MAX_ID_CHARS,
    MAX_MS,
    MAX_ROUNDS,
    MAX_TURNS,
)

CallStatus = Literal[
    "connected", "busy", "no_answer", "power_off", "invalid_number", "rejected", "failed"
]
Level = Literal["A", "B", "C", "D", "E", "F"]
Risk = Literal["low", "medium", "high"]
MAX_RECORDS = 1000


class TurnOut(BaseModel):
    role: Literal["customer", "agent"]
    at_ms: int | None = Field(None, ge=0, description="milliseconds from the start of the call")
    text: str


class CallIn(BaseModel):
    """One call record as a client sends it. Describes the records of `POST /api/v1/calls`."""

    callid: str = Field(min_length=1, max_length=MAX_ID_CHARS)
    task_id: str | None = Field(None, max_length=MAX_ID_CHARS)
    user_id: str = Field(
        min_length=1, max_length=MAX_ID_CHARS, description="the account whose calls these are"
    )
    customer_id: str | None = Field(None, max_length=MAX_ID_CHARS, description="who was called")
    phone: str | None = Field(None, description="encrypted at rest, masked in answers")
    started_at: AwareDatetime = Field(description="RFC 3339 with offset")
    duration_ms: int | None = Field(None, ge=0, le=MAX_MS)
    bill_ms: int | None = Field(None, ge=0, le=MAX_MS)
    rounds: int | None = Field(None, ge=0, le=MAX_ROUNDS, description="turns by the customer")
    level_name: Level | None = None
    call_status: CallStatus
    hangup_by: Literal[1, 2] | None = Field(None, description="1 robot, 2 customer")
    turns: list[TurnOut] | None = Field(None, max_length=MAX_TURNS)


def _records_schema(schema: dict[str, Any]) -> None:
    # Records are validated one by one, so that a bad one doesn't refuse the rest; the schema
    # still says what a good one looks like.
    schema["properties"]["records"]["items"] = CallIn.model_json_schema(
        ref_template="#/components/schemas/{model}"
    )
    schema["properties"]["records"]["items"].pop("$defs", None)


class CallsIn(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra=_records_schema)
    records: list[Any] = Field(min_length=1, max_length=MAX_RECORDS)


class Problem(BaseModel):
    field: str
    problem: str
    fix: str


class RecordResult(BaseModel):
    index: int = Field(description="position in `records`, from 0")
    callid: str | None
    status: Literal["inserted", "updated", "unchanged", "duplicate", "rejected"]
    problem: Problem | None = None


class CallsResult(BaseModel):
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    import_id: UUID | None = Field(description="where the rejected records are kept; null if none")
    results: list[RecordResult]


class CallOut(BaseModel):
    callid: str
    task_id: str | None
    user_id: str
    customer_id: str | None
    phone: str | None = Field(description="masked")
    started_at: str = Field(description="RFC 3339 in the organisation's time zone")
    duration_ms: int
    bill_ms: int
    rounds: int
    level_name: Level | None
    call_status: CallStatus
    hangup_by: int | None
    has_transcript: bool
    sentiment: Literal["positive", "neutral", "negative"] | None
    sentiment_score: float | None
    complaint_risk: Risk | None
    churn_risk: Risk | None
    reason: str | None
    analyzer: str | None = Field(description="which analyser and version judged this call")
    llm_analyzed_at: str | None


class CallWithTranscript(CallOut):
    turns: list[TurnOut] | None


class CallPage(BaseModel):
    calls: list[CallOut]
    next_cursor: str | None


class CallsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    user_id: str = Field(min_length=1, max_length=MAX_ID_CHARS)
    since: str | None = Field(None, alias="from", description="RFC 3339, or a local date; included")
    until: str | None = Field(
        None, alias="to", description="RFC 3339 (excluded), or a local date (that day included)"
    )
    limit: int = Field(50, ge=1, le=1000)
    cursor: str | None = Field(None, max_length=300)


class SearchQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    q: str = Field(min_length=1, max_length=500, description="words that must all occur")
    user_id: str | None = Field(None, min_length=1, max_length=MAX_ID_CHARS)
    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = Field(None, max_length=1000)


class SearchResult(BaseModel):
    callid: str
    highlights: list[str] = Field(description="HTML-escaped; matches stand in <em>")
    call: CallOut


class SearchPageOut(BaseModel):
    hits: list[SearchResult] = Field(
        description="newest first; fewer than `limit`, or none, is not yet the end"
    )
    next_cursor: str | None = Field(description="null on the last page only")


class ImportsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(20, ge=1, le=200)
    cursor: AwareDatetime | None = Field(None, description="next_cursor of the page before")


class ImportOut(BaseModel):
    import_id: UUID
    source: str
    preset: str
    started_at: dt.datetime
    finished_at: dt.datetime | None
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int


class ImportPage(BaseModel):
    imports: list[ImportOut]
    next_cursor: str | None


class RejectsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, ge=1, le=1000)
    cursor: int = Field(0, ge=0, description="last line of the page before")


class RejectOut(BaseModel):
    line: int
    field: str
    value: str
    problem: str
    fix: str
    raw: str


class RejectPage(BaseModel):
    rejects: list[RejectOut]
    next_cursor: str | None
