"""Wire types of segments."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from ai_services.portrait.figures import seconds
from ai_services.portrait.period import PeriodType
from ai_services.portrait.segments.definition import BY_NAME, Definition, Segment, Which
from ai_services.portrait.segments.service import Overlap, Tested
from shared.cursor import Cursor, Page
from shared.data_access.ports import Row
from shared.expressions.errors import Finding
from shared.expressions.limits import MAX_BYTES

_DIMENSION = Field(
    "user", max_length=40, description="whose portraits", json_schema_extra={"enum": list(BY_NAME)}
)
Expression = Annotated[
    str,
    Field(
        max_length=MAX_BYTES,
        description="a condition over the figures of a portrait",
        examples=["connect_rate < 0.3 and negative_rate > 0.2"],
    ),
]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _DefinitionIn(_In):
    dimension: str = _DIMENSION
    period_type: PeriodType = "week"
    period: Which = Field(
        "newest", description="the newest with calls, which may run, or the last that has ended"
    )
    expression: Expression

    def definition(self, description: str = "") -> Definition:
        return Definition(
            self.dimension, self.period_type, self.period, self.expression, description
        )


class SegmentIn(_DefinitionIn):
    description: str = Field("", max_length=500)


class NewSegmentIn(SegmentIn):
    name: str = Field(max_length=64, examples=["hard-to-reach"])


class TestIn(_DefinitionIn):
    period_key: str | None = Field(None, max_length=40, description="unset = as `period` says")
    limit: int = Field(10, ge=0, le=100, strict=True, description="at most this many examples")


class MembersQuery(_In):
    limit: int = Field(100, ge=1, le=1000)
    cursor: Cursor | None = None


class HistoryQuery(_In):
    days: int = Field(90, ge=1, le=400)


class OverlapQuery(_In):
    names: str = Field(max_length=400, description="2 to 5, separated by commas")

    @property
    def listed(self) -> list[str]:
        return [name.strip() for name in self.names.split(",") if name.strip()]


class ExportQuery(_In):
    format: Annotated[str, Field(pattern="^csv$")] = "csv"


class SegmentOut(BaseModel):
    """A definition; its ETag changes with its version."""

    name: str
    dimension: str
    period_type: PeriodType
    period: Which
    expression: str
    description: str
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime
    updated_by: str

    @classmethod
    def of(cls, segment: Segment) -> "SegmentOut":
        return cls(**_definition(segment))


class SegmentItem(SegmentOut):
    size: int | None = Field(description="members; null until they were found")
    period_key: str | None = Field(description="the period that they were found in")
    refreshed_at: dt.datetime | None
    current: bool = Field(description="found by this version")
    problem: str | None = Field(description="why they could not be found the last time")

    @classmethod
    def of(cls, segment: Segment) -> "SegmentItem":
        return cls(
            **_definition(segment),
            size=segment.size,
            period_key=segment.period_key,
            refreshed_at=segment.refreshed_at,
            current=segment.found_version == segment.version,
            problem=segment.problem,
        )


class SegmentsOut(BaseModel):
    segments: list[SegmentItem] = Field(description="by name")


class VersionItem(BaseModel):
    version: int
    period_type: PeriodType
    period: Which
    expression: str
    description: str
    updated_at: dt.datetime
    updated_by: str


class FindingOut(BaseModel):
    line: int = Field(description="from 1")
    column: int = Field(description="in characters, from 1")
    problem: str
    hint: str

    @classmethod
    def of(cls, finding: Finding) -> "FindingOut":
        return cls(
            line=finding.line, column=finding.column, problem=finding.problem, hint=finding.hint
        )


class ExampleOut(BaseModel):
    subject: str
    values: dict[str, Any] = Field(description="the figures that the expression names")


class TestOut(BaseModel):
    """Without errors everything else is there."""

    errors: list[FindingOut]
    period_key: str | None = None
    size: int | None = Field(None, description="how many fulfil it")
    unknown: int | None = Field(None, description="of how many that isn't known: a figure is null")
    portraits: int | None = Field(None, description="how many were asked")
    examples: list[ExampleOut] = Field(description="those with most calls")
    seconds: float

    @classmethod
    def of(cls, tested: Tested) -> "TestOut":
        counted = tested.counted
        return cls(
            errors=[FindingOut.of(one) for one in tested.findings],
            period_key=tested.period_key,
            size=None if counted is None else counted.size,
            unknown=None if counted is None else counted.unknown,
            portraits=None if counted is None else counted.portraits,
            examples=[
                ExampleOut(
                    subject=one.subject,
                    values={name: _plain(value) for name, value in one.values.items()},
                )
                for one in tested.examples
            ],
            seconds=round(tested.seconds, 4),
        )


class MemberItem(BaseModel):
    subject: str
    since: dt.datetime = Field(description="when it was found to be in")


class MembersOut(BaseModel):
    dimension: str
    period_key: str | None
    members: list[MemberItem] = Field(description="by subject")
    next_cursor: str | None

    @classmethod
    def of(cls, segment: Segment, page: Page[Row]) -> "MembersOut":
        return cls(
            dimension=segment.definition.dimension,
            period_key=segment.period_key,
            members=[MemberItem(**row) for row in page.items],
            next_cursor=page.next_cursor,
        )


class SizeItem(BaseModel):
    day: dt.date
    period_key: str
    version: int
    size: int
    entered: int
    left: int
    measured_at: dt.datetime


class SegmentHistoryOut(BaseModel):
    sizes: list[SizeItem] = Field(
        description="of each day on which members were found, oldest first"
    )
    versions: list[VersionItem] = Field(description="what it was, newest first")

    @classmethod
    def of(cls, sizes: Sequence[Row], versions: Sequence[Row]) -> "SegmentHistoryOut":
        return cls(
            sizes=[SizeItem(**{**row, "left": row["gone"]}) for row in map(dict, sizes)],
            versions=[VersionItem(**row) for row in versions],
        )


class RegionOut(BaseModel):
    names: list[str]
    size: int = Field(description="who is in exactly these of the segments")


class PairOut(BaseModel):
    names: list[str]
    both: int
    either: int
    jaccard: float | None = Field(description="both / either; null over nothing")


class OverlapOut(BaseModel):
    sizes: dict[str, int]
    regions: list[RegionOut]
    pairs: list[PairOut]

    @classmethod
    def of(cls, found: Overlap) -> "OverlapOut":
        return cls(
            sizes=found.sizes,
            regions=[RegionOut(names=list(names), size=size) for names, size in found.regions],
            pairs=[
                PairOut(
                    names=list(pair.names),
                    both=pair.both,
                    either=pair.either,
                    jaccard=pair.both / pair.either if pair.either else None,
                )
                for pair in found.pairs
            ],
        )


def _definition(segment: Segment) -> dict[str, Any]:
    definition = segment.definition
    return {
        "name": segment.name,
        "dimension": definition.dimension,
        "period_type": definition.period_type,
        "period": definition.period,
        "expression": definition.expression,
        "description": definition.description,
        "version": segment.version,
        "created_at": segment.created_at,
        "updated_at": segment.updated_at,
        "updated_by": segment.updated_by,
    }


def _plain(value: Any) -> Any:
    return seconds(value) if isinstance(value, Decimal) else value
