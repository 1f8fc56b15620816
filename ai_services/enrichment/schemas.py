"""Wire types of the enrichment service."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ai_services.enrichment.analysis.corrections.schemas import CorrectionOut
from ai_services.enrichment.analysis_schemas import InsightsOut
from ai_services.enrichment.service import (
    CallFound,
    Hit,
    Outcome,
    Received,
    Transcribed,
    outcomes_of,
)
from ai_services.enrichment.sources.receiving import Received as Message
from ai_services.enrichment.suggesting.suggest import Suggestion
from ai_services.enrichment.validation.note import Note
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
from shared.jobs.store.jobs import Job
from shared.phones import mask_phones

MAX_RECORDS = 1000
_SHORT_CHARS: Final = 20_000  # masked in a few milliseconds
Found = TypeVar("Found")
Shown = TypeVar("Shown")


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
    agent_id: str | None = Field(
        None, max_length=MAX_ID_CHARS, description="the person or robot who spoke for the account"
    )
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
    def of(cls, told: Reject | Note) -> "Problem":
        return cls(field=told.field, problem=told.problem, fix=told.fix)


class RecordResult(BaseModel):
    index: int = Field(description="position in `records`, from 0")
    callid: str | None
    status: Literal["inserted", "updated", "unchanged", "duplicate", "rejected", "erased"] = Field(
        description="erased: the call, or its customer, was erased and stays out"
    )
    problem: Problem | None = None
    notes: list[Problem] = Field([], description="fields of it that were left empty, and why")

    @classmethod
    def of(cls, index: int, outcome: Outcome) -> "RecordResult":
        problem = None if outcome.reject is None else Problem.of(outcome.reject)
        notes = [Problem.of(note) for note in outcome.notes]
        return cls(
            index=index, callid=outcome.callid, status=outcome.status, problem=problem, notes=notes
        )


class CallsResult(BaseModel):
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    erased: int = Field(description="that stay out: they, or their customers, were erased")
    noted: dict[str, int] = Field(description="how many records have a note, by its field")
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
            erased=counts["erased"],
            noted=Counter(note.field for one in received.outcomes for note in one.notes),
            import_id=received.import_id,
            notes=list(received.notes),
            results=[RecordResult.of(*item) for item in enumerate(received.outcomes)],
        )


class EventsResult(CallsResult):
    repeated: bool = Field(description="the message had come before: nothing was done again")

    @classmethod
    def of_message(cls, received: Message) -> "EventsResult":
        batch = received.batch
        outcomes = [] if batch is None else outcomes_of(batch, received.merged)
        told = CallsResult.of(
            Received(outcomes, received.import_id, () if batch is None else batch.warnings)
        )
        return cls(**dict(told), repeated=received.repeated)

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(one.status for one in self.results)


class CallOut(BaseModel):
    callid: str
    task_id: str | None
    agent_id: str | None
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
    corrected: list[str] = Field(description="facts that people have decided, not the analyser")

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


class LegOut(BaseModel):
    leg_id: str = Field(description="by what it is known when it comes again")
    task_id: str | None
    agent_id: str | None
    user_id: str
    customer_id: str | None
    phone: str | None = Field(description="masked")
    started_at: str = Field(description="RFC 3339 in the organisation's time zone")
    duration_ms: int
    bill_ms: int = Field(description="in which it was talked, up to the leg's end")
    rounds: int
    level_name: Level | None
    call_status: CallStatus
    hangup_by: int | None

    @classmethod
    def of(cls, leg: Row, zone: ZoneInfo) -> "LegOut":
        shown = dict(leg)
        shown["phone"] = shown.pop("phone_masked")
        shown["started_at"] = leg["started_at"].astimezone(zone).isoformat()
        return cls(**shown)


class CallWithTranscript(CallOut):
    turns: list[TurnOut] | None
    insights: InsightsOut | None = Field(description="null until the transcript is analysed")
    correction: CorrectionOut | None = Field(description="what people have decided of it")
    legs: list[LegOut] = Field(
        description="the rows that it was joined of, by their start, 1,000 at most; of one row, none"
    )

    @classmethod
    def of_transcribed(cls, found: Transcribed) -> "CallWithTranscript":
        turns = None if found.turns is None else [TurnOut.of(turn) for turn in found.turns]
        insights = None if found.insight is None else InsightsOut.of(found.insight)
        legs = [LegOut.of(leg, found.call.zone) for leg in found.legs]
        correction = None
        if found.correction is not None:
            correction = CorrectionOut.of(found.correction)
        return cls(
            **_shown(found.call),
            turns=turns,
            insights=insights,
            correction=correction,
            legs=legs,
        )


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


async def in_turn(show: Callable[[Found], Shown], found: Found, chars: int) -> Shown:
    """What is found as the wire shows it. Much text is masked off the event loop."""
    return show(found) if chars <= _SHORT_CHARS else await asyncio.to_thread(show, found)


PresetName = Literal[
    "calls", "autodialer", "bank_marketing", "star", "asterisk", "freepbx", "fusionpbx", "3cx", "vicidial", "twilio",
    "five9", "genesys", "aliyun", "tencent",
]  # fmt: skip


class UploadQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str | None = Field(
        None, min_length=1, max_length=200, description="what the list of imports calls the file"
    )
    preset: PresetName = "calls"
    column_map: str | None = Field(
        None,
        min_length=1,
        max_length=6000,
        pattern="^[A-Za-z0-9+/_ =-]*$",
        description="a column map (TOML, docs/import.md) in base64; takes the preset's place",
    )
    encoding: str | None = Field(
        None, min_length=1, max_length=40, description="of a text file; else found by its bytes"
    )
    sheet: str | None = Field(
        None, min_length=1, max_length=100, description="of a workbook; else the one that fits"
    )
    strict_columns: bool = Field(False, description="refuse a file with unknown columns")
    timezone: str | None = Field(
        None, min_length=1, max_length=40, description="of times without an offset"
    )
    dry_run: bool = Field(False, description="only read it: count its rows, tell what is wrong")


class ImportDone(BaseModel):
    import_id: UUID
    rows: int = Field(description="read in all; the next five add up to it")
    inserted: int
    updated: int
    unchanged: int
    duplicates: int
    rejected: int
    noted: dict[str, int] = Field(description="how many rows have a note, by its field")
    error: str | None = Field(description="why the file, or the rest of it, wasn't taken")
    notes: list[str] = Field(description="what is worth knowing about what came in")

    @classmethod
    def of(cls, job: Job) -> "ImportDone":
        """Of a job that succeeded."""
        return cls(**(job.result or {}))


class SuggestQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(
        "upload",
        min_length=1,
        max_length=200,
        description="the file's; its suffix may tell its kind",
    )
    sheet: str | None = Field(
        None, min_length=1, max_length=100, description="of a workbook; else the likeliest"
    )


class ColumnGuess(BaseModel):
    field: str
    column: str = Field(description="phone numbers masked")
    confidence: float = Field(ge=0, le=1)
    why: str


class SuggestedMap(BaseModel):
    column_map: str = Field(description="TOML, as `column_map` of an import takes it in base64")
    preset: str | None = Field(description="one that reads such files without a map")
    fields: list[ColumnGuess]
    missing: list[str] = Field(description="fields that every call needs and no column looks like")
    rows: int = Field(description="rows of what was sent that the map was tried on")
    calls: int = Field(description="the calls that they would be")
    rejects: list[Problem] = Field(description="why rows would be rejected, the first 20")
    problem: str | None = Field(description="why the map can't be used as it is")

    @classmethod
    def of(cls, found: Suggestion) -> "SuggestedMap":
        guesses = found.fields.items()
        return cls(
            column_map=found.column_map,
            preset=found.preset,
            fields=[
                ColumnGuess(
                    field=name,
                    column=mask_phones(one.column),
                    confidence=one.confidence,
                    why=one.why,
                )
                for name, one in guesses
            ],
            missing=list(found.missing),
            rows=found.tried.rows,
            calls=found.tried.calls,
            rejects=[Problem.of(one) for one in found.tried.rejects[:20]],
            problem=mask_phones(found.tried.problem) or None,
        )


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
    noted: dict[str, int] = Field(description="how many rows have a note, by its field")
    job_id: int | None = Field(description="the job that does it; null: it was done at once")
    error: str | None = Field(description="why the file, or the rest of it, wasn't taken")
    notes: list[str] = Field(description="what is worth knowing about what came in")
    taken_back: int = Field(description="calls that were deleted as it was taken back")
    taken_back_at: dt.datetime | None = Field(description="null: it wasn't, or not wholly yet")


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


class NotesQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")
    limit: int = Field(100, ge=1, le=1000)
    cursor: Cursor | None = None


class NoteOut(BaseModel):
    line: int
    field: str
    value: str = Field(description="phone numbers masked")
    problem: str
    fix: str


class NotePage(BaseModel):
    notes: list[NoteOut]
    next_cursor: str | None

    @classmethod
    def of(cls, page: Page[Row]) -> "NotePage":
        shown = tuple(NoteOut.model_fields)
        notes = [NoteOut(**{name: row[name] for name in shown}) for row in page.items]
        return cls(notes=notes, next_cursor=page.next_cursor)
