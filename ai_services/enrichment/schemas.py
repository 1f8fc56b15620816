"""Wire types of the enrichment service."""

import datetime as dt
from collections import Counter
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ai_services.enrichment.service import CallFound, Hit, Outcome, Received, Transcribed
from ai_services.enrichment.validation.record import (
    MAX_MS,
    MAX_ROUNDS,
    MAX_TURNS,
)
from ai_services.enrichment.validation.reject import Reject
from shared.calls import CallStatus, HangupBy, Level, Risk, Sentiment
from shared.cursor import Cursor, Page
from shared.data_access.ports import Row
from shared.ids import MAX_ID_CHARS, Id
from shared.phones import mask_phones

MAX_RECORDS = 1000


class TurnOut(BaseModel):
    role: Literal["customer", "agent"]
    at_ms: int | None = Field(None, ge=0, description="milliseconds from the start of the call")
    text: str

    @classmethod
    def of(cls, turn: dict[str, Any]) -> "TurnOut":
        return cls(role=turn["role"], at_ms=turn.get("at_ms"), text=mask_phones(turn["text"]))


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
    hangup_by: HangupBy | None = Field(None, description="1 robot, 2 customer")
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

    @classmethod
    def of(cls, reject: Reject) -> "Problem":
        return cls(field=reject.field, problem=reject.problem, fix=reject.fix)


class RecordResult(BaseModel):
    index: int = Field(description="position in `records`, from 0")
    callid: str | None
    status: Literal["inserted", "updated", "unchanged", "duplicate", "rejected"]
    problem: Problem | None = None

    @classmethod
    def of(cls, index: int, outcome: Outcome) -> "RecordResult":
        problem = None if outcome.reject is None else Problem.of(outcome.reject)
        return cls(index=index, callid=outcome.callid, status=outcome.status, problem=problem)


class CallsResult(BaseModel):
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    import_id: UUID | None = Field(description="where the rejected records are kept; null if none")
    notes: list[str] = Field(description="what is worth knowing about the records that came in")
    results: list[RecordResult]

    @classmethod
    def of(cls, received: Received) -> "CallsResult":
        counts = Counter(outcome.status for outcome in received.outcomes)
        return cls(
            inserted=counts["inserted"],
            updated=counts["updated"],
            unchanged=counts["unchanged"],
            duplicates=counts["duplicate"],
            rejected=counts["rejected"],
            import_id=received.import_id,
            notes=list(received.notes),
            results=[RecordResult.of(*item) for item in enumerate(received.outcomes)],
        )


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
    sentiment: Sentiment | None
    sentiment_score: float | None
    complaint_risk: Risk | None
    churn_risk: Risk | None
    reason: str | None
    analyzer: str | None = Field(description="which analyser and version judged this call")
    llm_analyzed_at: str | None

    @classmethod
    def of(cls, found: CallFound) -> "CallOut":
        return cls(**_shown(found))


def _shown(found: CallFound) -> dict[str, Any]:
    """A call as the wire shows it: times local to the organisation, phone numbers masked."""
    shown = dict(found.row)
    shown["phone"] = shown.pop("phone_masked")
    for name in ("started_at", "llm_analyzed_at"):
        moment: dt.datetime | None = shown[name]
        shown[name] = None if moment is None else moment.astimezone(found.zone).isoformat()
    if shown["reason"] is not None:
        shown["reason"] = mask_phones(shown["reason"])
    return shown


class CallWithTranscript(CallOut):
    turns: list[TurnOut] | None

    @classmethod
    def of_transcribed(cls, found: Transcribed) -> "CallWithTranscript":
        turns = None if found.turns is None else [TurnOut.of(turn) for turn in found.turns]
        return cls(**_shown(found.call), turns=turns)


class CallPage(BaseModel):
    calls: list[CallOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[CallFound]) -> "CallPage":
        return cls(calls=[CallOut.of(one) for one in page.items], next_cursor=page.next_cursor)


class CallsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    user_id: Id
    since: str | None = Field(None, alias="from", description="RFC 3339, or a local date; included")
    until: str | None = Field(
        None, alias="to", description="RFC 3339 (excluded), or a local date (that day included)"
    )
    limit: int = Field(50, ge=1, le=1000)
    cursor: Cursor | None = None


class SearchQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    q: str = Field(min_length=1, max_length=500, description="words that must all occur")
    user_id: Id | None = None
    limit: int = Field(20, ge=1, le=100)
    cursor: Cursor | None = None


class SearchResult(BaseModel):
    callid: str
    highlights: list[str] = Field(description="HTML-escaped; matches stand in <em>")
    call: CallOut

    @classmethod
    def of(cls, hit: Hit) -> "SearchResult":
        return cls(
            callid=hit.call.row["callid"],
            highlights=[mask_phones(text) for text in hit.highlights],
            call=CallOut.of(hit.call),
        )


class SearchPageOut(BaseModel):
    hits: list[SearchResult] = Field(
        description="newest first; fewer than `limit`, or none, is not yet the end"
    )
    next_cursor: str | None = Field(description="null on the last page only")

    @classmethod
    def of(cls, page: Page[Hit]) -> "SearchPageOut":
        return cls(hits=[SearchResult.of(hit) for hit in page.items], next_cursor=page.next_cursor)


class ImportsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(20, ge=1, le=200)
    cursor: Cursor | None = None


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

    @classmethod
    def of(cls, page: Page[Row]) -> "ImportPage":
        return cls(imports=[ImportOut(**row) for row in page.items], next_cursor=page.next_cursor)


class RejectsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, ge=1, le=1000)
    cursor: Cursor | None = None


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

    @classmethod
    def of(cls, page: Page[Row]) -> "RejectPage":
        return cls(rejects=[RejectOut(**row) for row in page.items], next_cursor=page.next_cursor)
