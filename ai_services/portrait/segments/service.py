"""The use cases of segments: each function is one transaction of one organisation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import Dimension
from ai_services.portrait.period import parse
from ai_services.portrait.periods import period_store
from ai_services.portrait.segments import matching, refreshing, store
from ai_services.portrait.segments.definition import Definition, Segment, bound, checked_name
from ai_services.portrait.segments.matching import Asked, Counted, Example
from shared.cursor import Listing, Page, word
from shared.data_access.ports import Relational, Row, Transaction
from shared.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from shared.expressions.errors import ExpressionInvalid, Finding
from shared.expressions.terms import Term
from shared.serving.entity_tag import matches

MOST: Final = 200  # segments of an organisation
MOST_OVERLAPPING: Final = 5
VERSIONS: Final = 50  # of a segment that are shown
_SECONDS: Final = 10  # that a test of a condition may take
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Tested:
    """What a condition is: either wrong, or so many fulfil it in that period. `seconds` it took."""

    findings: Sequence[Finding]
    period_key: str | None
    counted: Counted | None
    examples: Sequence[Example]
    seconds: float


@dataclass(frozen=True, slots=True)
class Pair:
    """`both` are in two segments, `either` in one of them at least."""

    names: tuple[str, str]
    both: int
    either: int


@dataclass(frozen=True, slots=True)
class Overlap:
    """`regions`: how many are in exactly these of the segments."""

    sizes: dict[str, int]
    regions: Sequence[tuple[tuple[str, ...], int]]
    pairs: Sequence[Pair]


async def list_segments(db: Relational, org_id: UUID) -> list[Segment]:
    """By name."""
    async with db.tenant(org_id, readonly=True) as tx:
        return await store.list_segments(tx, org_id)


async def get_segment(db: Relational, org_id: UUID, name: str) -> Segment:
    async with db.tenant(org_id, readonly=True) as tx:
        return await _segment(tx, org_id, name)


async def create(
    db: Relational, org_id: UUID, name: str, definition: Definition, who: str
) -> Segment:
    """Its members are found soon after. InvalidInput, ExpressionInvalid, Conflict."""
    checked_name(name)
    await asyncio.to_thread(definition.condition)
    async with db.tenant(org_id) as tx:
        await store.exclude_others(tx, org_id)
        if len(await store.list_segments(tx, org_id)) >= MOST:
            problem = f"your organisation has {MOST} segments, which is the most there can be"
            raise InvalidInput.of("name", problem, "delete one that is not needed")
        made = await store.insert(tx, org_id, name, definition, who)
        if made is None:
            raise Conflict(f"There is a segment {name!r} already. PUT changes it.")
        await refreshing.ask(tx, org_id, made)
    return made


async def change(
    db: Relational, org_id: UUID, name: str, definition: Definition, who: str, if_match: str
) -> Segment:
    """Its next version; the same one where nothing differs.

    `if_match` is the tag of what the client has read. InvalidInput, ExpressionInvalid, NotFound,
    PreconditionFailed.
    """
    if not if_match:
        fix = "send the ETag of the segment that you read, or * to write over whatever there is"
        raise InvalidInput.of("If-Match", "is missing", fix)
    await asyncio.to_thread(definition.condition)
    async with db.tenant(org_id) as tx:
        before = await _segment(tx, org_id, name, hold=True)
        _require(if_match, before)
        if definition.dimension != before.definition.dimension:
            problem = f"a segment of {before.definition.dimension}s stays one"
            raise InvalidInput.of("dimension", problem, "make another segment")
        if definition == before.definition:
            return before
        changed = await store.update(tx, org_id, name, definition, who)
        await refreshing.ask(tx, org_id, changed)
    return changed


async def delete(db: Relational, org_id: UUID, name: str, if_match: str) -> None:
    """With its members and history; who was in it is told nothing. NotFound, PreconditionFailed."""
    async with db.tenant(org_id) as tx:
        before = await _segment(tx, org_id, name, hold=True)
        if if_match:
            _require(if_match, before)
        await store.delete(tx, org_id, name)


async def versions(db: Relational, org_id: UUID, name: str) -> list[Row]:
    """What it was, newest first."""
    async with db.tenant(org_id, readonly=True) as tx:
        await _segment(tx, org_id, name)
        return await store.versions(tx, org_id, name, VERSIONS)


async def test(
    db: Relational, org_id: UUID, definition: Definition, period_key: str | None, limit: int
) -> Tested:
    """Ask a condition that nobody has saved; of the period that is named, or of the definition's."""
    started = time.perf_counter()
    whose = definition.whose
    key = None if period_key is None else parse(definition.period_type, period_key).key
    try:
        condition = await asyncio.to_thread(definition.condition)
    except ExpressionInvalid as error:
        return Tested(error.findings, None, None, (), time.perf_counter() - started)
    async with db.tenant(org_id, readonly=True) as tx:
        await tx.execute("SELECT set_config('statement_timeout', $1, true)", f"{_SECONDS}s")
        asked = await _asked(tx, org_id, definition, condition, whose, key)
        counted = await matching.count(tx, org_id, asked)
        examples = await matching.examples(tx, org_id, asked, limit) if counted.size else []
    return Tested((), asked.period_key, counted, examples, time.perf_counter() - started)


async def members(
    db: Relational, org_id: UUID, name: str, *, limit: int, cursor: str | None
) -> tuple[Segment, Page[Row]]:
    """A page of subject and since, by subject."""
    pages = Listing("segment members", (str(org_id), name), word)
    after = pages.position(cursor) or ""
    async with db.tenant(org_id, readonly=True) as tx:
        segment = await _segment(tx, org_id, name)
        rows = await store.members(
            tx, org_id, name, segment.definition.whose, after=after, limit=limit + 1
        )
    return segment, pages.page(rows, limit, lambda row: [row["subject"]])


async def all_members(db: Relational, org_id: UUID, segment: Segment) -> AsyncIterator[list[Row]]:
    """Page after page, each as it is when it is read: no transaction waits for a slow reader."""
    after = ""
    while True:
        async with db.tenant(org_id, readonly=True) as tx:
            page = await store.members(
                tx, org_id, segment.name, segment.definition.whose, after=after, limit=_PAGE
            )
        if page:
            yield page
            after = page[-1]["subject"]
        if len(page) < _PAGE:
            return


async def sizes(db: Relational, org_id: UUID, name: str, days: int) -> list[Row]:
    """How many its members were, day by day, oldest first."""
    async with db.tenant(org_id, readonly=True) as tx:
        await _segment(tx, org_id, name)
        return await store.sizes(tx, org_id, name, days)


async def overlap(db: Relational, org_id: UUID, names: Sequence[str]) -> Overlap:
    """How the members of two to five segments of one dimension overlap."""
    names = list(dict.fromkeys(names))
    if not 2 <= len(names) <= MOST_OVERLAPPING:
        fix = f"send 2 to {MOST_OVERLAPPING} names, e.g. names=quiet,angry"
        raise InvalidInput.of("names", f"names {len(names)} segments", fix)
    async with db.tenant(org_id, readonly=True) as tx:
        known = [await _segment(tx, org_id, name) for name in names]
        if len({one.definition.dimension for one in known}) > 1:
            problem = "the segments are of different dimensions"
            raise InvalidInput.of("names", problem, "name segments of one dimension")
        regions = await store.regions(tx, org_id, names)
    sizes = {name: sum(size for who, size in regions if name in who) for name in names}
    pairs = [_pair(one, other, regions) for one, other in combinations(names, 2)]
    return Overlap(sizes, regions, pairs)


def _pair(one: str, other: str, regions: Sequence[tuple[tuple[str, ...], int]]) -> Pair:
    both = sum(size for who, size in regions if one in who and other in who)
    either = sum(size for who, size in regions if one in who or other in who)
    return Pair((one, other), both, either)


def tag(segment: Segment) -> str:
    """The entity tag of a definition; of one that was deleted and made anew another."""
    return f'"{segment.version}-{int(segment.created_at.timestamp() * 1000):x}"'


def _require(if_match: str, segment: Segment) -> None:
    """Also weak tags count: the gateway makes them weak when it compresses."""
    if not matches(if_match, tag(segment)):
        raise PreconditionFailed(
            f"The segment {segment.name!r} is at version {segment.version} by now. Read it again."
        )


async def _segment(tx: Transaction, org_id: UUID, name: str, *, hold: bool = False) -> Segment:
    segment = await store.get_segment(tx, org_id, name, hold=hold)
    if segment is None:
        raise NotFound(f"There is no segment {name[:64]!r}. GET /api/v1/segments lists them.")
    return segment


async def _asked(
    tx: Transaction,
    org_id: UUID,
    definition: Definition,
    condition: Term,
    whose: Dimension,
    key: str | None,
) -> Asked:
    asked = Asked(condition, whose, definition.period_type, key or "")
    if key is not None:
        return asked
    today = await period_store.local_today(tx, org_id, datetime.now(UTC))
    if today is None:
        raise NotFound("There is no such organisation.")
    last = bound(definition.period, definition.period_type, today)
    if definition.period == "newest":
        last = await matching.newest(tx, org_id, whose, definition.period_type, last) or last
    return replace(asked, period_key=last)
