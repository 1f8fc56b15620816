"""Finding the members of segments anew, by a job, and telling who entered and who left.

A segment is one transaction: its members, its size and the events are there together or not at all.
The first time after it was made or changed nobody is told of: not people have changed, but the rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from ai_services.portrait.period import parse
from ai_services.portrait.periods import period_store
from ai_services.portrait.segments import matching, store
from ai_services.portrait.segments.definition import Segment, bound
from ai_services.portrait.segments.matching import Asked, Moved
from shared.data_access.ports import Transaction
from shared.errors import InvalidInput, NotFound
from shared.jobs.context import JobContext
from shared.jobs.enqueue import enqueue
from shared.jobs.job_type import JobType

NAMED_AT_ONCE: Final = 500  # subjects of one event
_MOST_NAMED: Final = 5_000  # of a segment at one time; how many there are besides is told
_TOPIC: Final = "segments"


async def refresh(
    tx: Transaction, org_id: UUID, name: str, now: datetime, *, named: int = _MOST_NAMED
) -> Moved | None:
    """Make the members of a segment those who fulfil its condition now; None where there is none.

    An expression that the figures of today don't know any more is noted as the segment's problem.
    """
    segment = await store.get_segment(tx, org_id, name, hold=True)
    if segment is None:
        return None
    today = await period_store.local_today(tx, org_id, now)
    if today is None:
        raise NotFound("There is no such organisation.")
    definition = segment.definition
    try:
        condition, whose = definition.condition(), definition.whose
    except InvalidInput as error:
        await store.note_problem(tx, org_id, name, error.message)
        return None
    key = bound(definition.period, definition.period_type, today)
    if definition.period == "newest":
        key = await matching.newest(tx, org_id, whose, definition.period_type, key) or key
    asked = Asked(condition, whose, definition.period_type, key)
    moved = await matching.refresh_members(tx, org_id, asked, name, now, named=named)
    await store.found(tx, org_id, segment, key, moved.size, now)
    await store.measure(
        tx, org_id, segment, today, key,
        size=moved.size, entered=moved.entered, gone=moved.gone, now=now,
    )  # fmt: skip
    told = list(_told(segment, key, moved)) if segment.found_version == segment.version else []
    if (segment.size, segment.period_key) != (moved.size, key):
        told.append(_sized(segment, key, moved.size))
    await tx.emit_many(org_id, _TOPIC, [(name, one) for one in told])
    return moved


def _sized(segment: Segment, period_key: str, size: int) -> Mapping[str, Any]:
    """The payload of an event for thresholds, in the form of those of computed periods."""
    period = parse(segment.definition.period_type, period_key)
    return {
        "change": "size",
        "period_type": period.type,
        "period_key": period.key,
        "period_end": period.end.isoformat(),
        "metrics": {f"segment:{segment.name}": size},
    }


def _told(segment: Segment, period_key: str, moved: Moved) -> Iterator[Mapping[str, Any]]:
    """The payloads of events for webhooks: who entered, then who left, some hundred at a time."""
    for change, total, who in (
        ("entered", moved.entered, moved.who_entered),
        ("left", moved.gone, moved.who_left),
    ):
        for start in range(0, len(who), NAMED_AT_ONCE):
            yield {
                "change": change,
                "segment": segment.name,
                "version": segment.version,
                "dimension": segment.definition.dimension,
                "period_type": segment.definition.period_type,
                "period_key": period_key,
                "size": moved.size,
                "total": total,
                "subjects": list(who[start : start + NAMED_AT_ONCE]),
            }


async def ask(tx: Transaction, org_id: UUID, segment: Segment) -> None:
    """Have the members of a segment found soon after `tx`."""
    key = f"{segment.name} {segment.version}"
    await enqueue(tx, FIND_MEMBERS, {"name": segment.name}, org_id=org_id, key=key)


async def _find(job: JobContext[Any], args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of the segment that is named, or of all: how many, entered and left."""
    org_id = job.org_id
    assert org_id is not None, f"{job.name} is done for an organisation"
    names: Sequence[str] = [args["name"]] if "name" in args else await _names(job, org_id)
    entered = gone = 0
    for place, name in enumerate(names):
        async with job.db.tenant(org_id) as tx:
            await job.fence(tx)
            moved = await refresh(tx, org_id, name, datetime.now(UTC))
        if moved is not None:
            entered, gone = entered + moved.entered, gone + moved.gone
        job.progress(place + 1, len(names))
    return {"segments": len(names), "entered": entered, "left": gone}


async def _names(job: JobContext[Any], org_id: UUID) -> list[str]:
    async with job.db.tenant(org_id, readonly=True) as tx:
        return [one.name for one in await store.list_segments(tx, org_id)]


async def _ask_all(job: JobContext[Any], _args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Have every organisation with segments find their members."""
    async with job.db.system() as tx:
        await job.fence(tx)
        owners = await store.owners(tx)
        for org_id in owners:
            await enqueue(tx, FIND_MEMBERS, {}, org_id=org_id, key="all")
    return {"organisations": len(owners)}


FIND_MEMBERS: Final[JobType[Any]] = JobType(
    "find_segment_members",
    _find,
    timedelta(minutes=30),
    "Who fulfils the conditions of segments, who entered and who left.",
    exclusive=True,
)
# One schedule for all: an organisation without segments has no job.
JOBS: Final[tuple[JobType[Any], ...]] = (
    FIND_MEMBERS,
    JobType(
        "refresh_segments",
        _ask_all,
        timedelta(minutes=5),
        "Have the members of all segments found.",
        cron="*/15 * * * *",
        per_org=False,
    ),
)
