"""The queries of segments: definitions, members, sizes. Conditions are asked in matching.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from ai_services.portrait.dimension import CUSTOMER, DIMENSIONS
from ai_services.portrait.dimension import Dimension as Whose
from ai_services.portrait.segments.definition import Definition, Segment
from shared.data_access.ports import Row, Transaction

_KEPT: Final = timedelta(days=400)  # sizes of days

_DEFINITION: Final = "dimension, period_type, period, expression, description"
_COLUMNS: Final = f"""name, {_DEFINITION}, version, created_at, updated_at, updated_by,
    size, period_key, refreshed_at, found_version, problem"""
_LIST: Final = f"SELECT {_COLUMNS} FROM segment WHERE org_id = $1 ORDER BY name"  # noqa: S608 - constants only
_GET: Final = f"SELECT {_COLUMNS} FROM segment WHERE org_id = $1 AND name = $2"  # noqa: S608 - constants only
_HOLD: Final = f"{_GET} FOR NO KEY UPDATE"
_INSERT: Final = f"""
INSERT INTO segment (org_id, name, {_DEFINITION}, updated_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_UPDATE: Final = f"""
UPDATE segment SET period_type = $3, period = $4, expression = $5, description = $6, updated_by = $7,
    version = version + 1, updated_at = now(), problem = NULL
WHERE org_id = $1 AND name = $2 RETURNING {_COLUMNS}
"""  # noqa: S608 - constants only
_NOTE_VERSION: Final = """
INSERT INTO segment_version
    (org_id, segment, version, period_type, period, expression, description, updated_at, updated_by)
SELECT org_id, name, version, period_type, period, expression, description, updated_at, updated_by
FROM segment WHERE org_id = $1 AND name = $2
"""
_FOUND: Final = """
UPDATE segment SET size = $3, period_key = $4, refreshed_at = $5, found_version = version, problem = NULL
WHERE org_id = $1 AND name = $2
"""
_PROBLEM: Final = "UPDATE segment SET problem = $3 WHERE org_id = $1 AND name = $2"
_MEASURE: Final = """
INSERT INTO segment_size AS s
    (org_id, segment, day, period_key, version, size, entered, gone, measured_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (org_id, segment, day) DO UPDATE SET
    period_key = excluded.period_key, version = excluded.version, size = excluded.size,
    entered = s.entered + excluded.entered, gone = s.gone + excluded.gone,
    measured_at = excluded.measured_at
"""
_SIZES: Final = """
SELECT * FROM (
    SELECT day, period_key, version, size, entered, gone, measured_at FROM segment_size
    WHERE org_id = $1 AND segment = $2 ORDER BY day DESC LIMIT $3) AS newest
ORDER BY day
"""
# Nobody is shown who was erased or merged since.
_THERE: Final = {
    whose: """EXISTS (SELECT FROM call_record_enriched c
                      WHERE c.org_id = m.org_id AND c.customer_id = m.subject)"""
    if whose is CUSTOMER
    else "true"
    for whose in DIMENSIONS
}
_MEMBERS: Final = {
    whose: f"""
    SELECT m.subject, m.since FROM segment_member m
    WHERE m.org_id = $1 AND m.segment = $2 AND m.subject > $3 AND {_THERE[whose]}
    ORDER BY m.subject LIMIT $4
    """  # noqa: S608 - constants only
    for whose in DIMENSIONS
}
_REGIONS: Final = """
SELECT segments, count(*) AS size FROM (
    SELECT array_agg(segment ORDER BY segment) AS segments FROM segment_member
    WHERE org_id = $1 AND segment = ANY($2::text[]) GROUP BY subject) AS each
GROUP BY segments ORDER BY segments
"""


async def exclude_others(tx: Transaction, org_id: UUID) -> None:
    """Let nobody else of this organisation add any until `tx` ends: how many there are is bounded."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"segments:{org_id}")


async def list_segments(tx: Transaction, org_id: UUID) -> list[Segment]:
    """By name."""
    return [_segment(row) for row in await tx.fetch(_LIST, org_id)]


async def owners(tx: Transaction) -> list[UUID]:
    """Organisations with segments; needs a system transaction."""
    rows = await tx.fetch("SELECT DISTINCT org_id FROM segment ORDER BY org_id")
    return [row["org_id"] for row in rows]


async def get_segment(
    tx: Transaction, org_id: UUID, name: str, *, hold: bool = False
) -> Segment | None:
    """With `hold` nobody else changes it, or finds its members, until `tx` ends."""
    row = await tx.fetchrow(_HOLD if hold else _GET, org_id, name)
    return None if row is None else _segment(row)


async def insert(
    tx: Transaction, org_id: UUID, name: str, definition: Definition, who: str
) -> Segment | None:
    """None if there is one of that name."""
    row = await tx.fetchrow(
        _INSERT, org_id, name, definition.dimension, definition.period_type, definition.period,
        definition.expression, definition.description, who,
    )  # fmt: skip
    if row is None:
        return None
    await tx.execute(_NOTE_VERSION, org_id, name)
    return _segment(row)


async def update(
    tx: Transaction, org_id: UUID, name: str, definition: Definition, who: str
) -> Segment:
    """Its next version."""
    row = await tx.fetchrow(
        _UPDATE, org_id, name, definition.period_type, definition.period,
        definition.expression, definition.description, who,
    )  # fmt: skip
    assert row is not None, "the caller holds it"
    await tx.execute(_NOTE_VERSION, org_id, name)
    return _segment(row)


async def delete(tx: Transaction, org_id: UUID, name: str) -> None:
    """With its members and its history."""
    await tx.execute("DELETE FROM segment_member WHERE org_id = $1 AND segment = $2", org_id, name)
    await tx.execute("DELETE FROM segment WHERE org_id = $1 AND name = $2", org_id, name)


async def versions(tx: Transaction, org_id: UUID, name: str, limit: int) -> list[Row]:
    """What it was, newest first."""
    return await tx.fetch(
        """
        SELECT version, period_type, period, expression, description, updated_at, updated_by
        FROM segment_version WHERE org_id = $1 AND segment = $2 ORDER BY version DESC LIMIT $3
        """,
        org_id,
        name,
        limit,
    )


async def found(
    tx: Transaction, org_id: UUID, segment: Segment, period_key: str, size: int, now: datetime
) -> None:
    await tx.execute(_FOUND, org_id, segment.name, size, period_key, now)


async def note_problem(tx: Transaction, org_id: UUID, name: str, problem: str) -> None:
    await tx.execute(_PROBLEM, org_id, name, problem[:500])


async def measure(
    tx: Transaction,
    org_id: UUID,
    segment: Segment,
    today: date,
    period_key: str,
    *,
    size: int,
    entered: int,
    gone: int,
    now: datetime,
) -> None:
    """Keep the size of the day, and forget those of days long ago."""
    await tx.execute(
        _MEASURE, org_id, segment.name, today, period_key, segment.version, size, entered, gone, now
    )
    await tx.execute(
        "DELETE FROM segment_size WHERE org_id = $1 AND segment = $2 AND day < $3",
        org_id,
        segment.name,
        today - _KEPT,
    )


async def sizes(tx: Transaction, org_id: UUID, name: str, days: int) -> list[Row]:
    """Of the last days on which its members were found, oldest first."""
    return await tx.fetch(_SIZES, org_id, name, days)


async def members(
    tx: Transaction, org_id: UUID, name: str, whose: Whose, *, after: str, limit: int
) -> list[Row]:
    """A page of subject and since, by subject, from behind `after` ('' = the first)."""
    return await tx.fetch(_MEMBERS[whose], org_id, name, after, limit)


async def regions(
    tx: Transaction, org_id: UUID, names: Sequence[str]
) -> list[tuple[tuple[str, ...], int]]:
    """How many are in exactly these of the named segments, for each combination that occurs."""
    rows = await tx.fetch(_REGIONS, org_id, names)
    return [(tuple(row["segments"]), row["size"]) for row in rows]


def _segment(row: Row) -> Segment:
    definition = Definition(
        row["dimension"], row["period_type"], row["period"], row["expression"], row["description"]
    )
    return Segment(
        row["name"], definition, row["version"], row["created_at"], row["updated_at"],
        row["updated_by"], row["size"], row["period_key"], row["refreshed_at"],
        row["found_version"], row["problem"],
    )  # fmt: skip
