"""Kinds of job and their schedules: what is declared, what organisations choose, what is due.

A schedule is a row for each organisation and name, so that it can be shown, paused and changed. In
a tenant transaction these see and touch the organisation's own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from shared.data_access.ports import Row, Transaction
from shared.errors import NotFound

_DECLARE = """
INSERT INTO job_type (name, service, summary, cron, per_org, priority, exclusive, time_limit,
                      max_failures)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (name) DO UPDATE SET
    service = excluded.service, summary = excluded.summary, cron = excluded.cron,
    per_org = excluded.per_org, priority = excluded.priority, exclusive = excluded.exclusive,
    time_limit = excluded.time_limit, max_failures = excluded.max_failures, declared_at = now()
"""
_TYPES = """
SELECT name, service, summary, cron, per_org, priority, exclusive, time_limit, max_failures, paused
FROM job_type WHERE $1::text IS NULL OR name = $1 ORDER BY name
"""
# The zone of an organisation is its own; the platform's is UTC. What differs from the row's has to be
# found anew. A schedule that nobody chose and that isn't declared any more is taken away.
_STALE = """
SELECT type.name, place.org_id, schedule.schedule_id, place.zone, clock_timestamp() AS now,
       CASE WHEN schedule.own THEN schedule.cron ELSE type.cron END AS cron
FROM job_type type
JOIN (SELECT org_id, timezone AS zone, true AS per_org FROM organisation
      UNION ALL SELECT NULL, 'UTC', false) place USING (per_org)
LEFT JOIN job_schedule schedule ON schedule.name = type.name AND schedule.owner =
    coalesce(place.org_id, '00000000-0000-0000-0000-000000000000')
WHERE type.name = ANY($1) AND (type.cron IS NOT NULL OR schedule.own)
  AND (schedule.zone, schedule.cron) IS DISTINCT FROM
      (place.zone, CASE WHEN schedule.own THEN schedule.cron ELSE type.cron END)
ORDER BY place.org_id, type.name LIMIT $2
"""
_UNDECLARED = """
DELETE FROM job_schedule schedule USING job_type type
WHERE schedule.name = ANY($1) AND type.name = schedule.name AND NOT schedule.own
  AND (type.cron IS NULL OR type.per_org <> (schedule.org_id IS NOT NULL))
"""
_PUT = """
INSERT INTO job_schedule (org_id, name, cron, zone, next_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (owner, name) DO UPDATE
    SET cron = excluded.cron, zone = excluded.zone, next_at = excluded.next_at
"""
# One whose last job is unfinished stays due until that ends: then it runs once, for the latest time.
_DUE = """
SELECT s.schedule_id, s.org_id, s.name, s.cron, s.zone, s.next_at, clock_timestamp() AS now
FROM job_schedule s JOIN job_type type ON type.name = s.name
WHERE s.next_at <= clock_timestamp() AND NOT s.paused AND NOT type.paused AND s.name = ANY($1)
  AND NOT EXISTS (SELECT FROM job WHERE job.schedule_id = s.schedule_id AND finished_at IS NULL)
ORDER BY s.next_at LIMIT $2 FOR UPDATE OF s SKIP LOCKED
"""
_FIRED = "UPDATE job_schedule SET last_at = $2, next_at = $3 WHERE schedule_id = $1"
_COLUMNS = "schedule_id, org_id, name, cron, zone, own, paused, next_at, last_at"
_LIST = f"""
SELECT {_COLUMNS} FROM job_schedule WHERE $1::text IS NULL OR name = $1
ORDER BY name, owner LIMIT $2 OFFSET $3
"""  # noqa: S608 - constants only
_GET = f"SELECT {_COLUMNS} FROM job_schedule WHERE schedule_id = $1 FOR NO KEY UPDATE"  # noqa: S608 - constants only
# What was missed while it was paused isn't made up for.
_SET = """
UPDATE job_schedule SET cron = $2, own = $3, paused = $4, next_at = $5 WHERE schedule_id = $1
"""


@dataclass(frozen=True, slots=True)
class DeclaredType:
    """A kind of job, as the service that does it declared it last."""

    name: str
    service: str
    summary: str
    cron: str | None
    per_org: bool
    priority: int
    exclusive: bool
    time_limit: timedelta
    max_failures: int
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    """`own`: the organisation chose `cron` itself. `next_at` None: it has no further time."""

    schedule_id: int
    org_id: UUID | None
    name: str
    cron: str
    zone: str
    own: bool
    paused: bool
    next_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Stale:
    """A schedule whose next time has to be found (anew); `schedule_id` None: there is none yet."""

    name: str
    org_id: UUID | None
    schedule_id: int | None
    cron: str
    zone: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A schedule whose time came at `next_at`; `now` is the database's clock."""

    schedule_id: int
    org_id: UUID | None
    name: str
    cron: str
    zone: str
    next_at: datetime
    now: datetime


async def declare(tx: Transaction, types: Collection[DeclaredType]) -> None:
    """Tell what this program can do. Whether it is paused stays as it is. System only."""
    for one in sorted(types, key=lambda declared: declared.name):
        await tx.execute(
            _DECLARE, one.name, one.service, one.summary, one.cron, one.per_org, one.priority,
            one.exclusive, one.time_limit, one.max_failures,
        )  # fmt: skip


async def declared_types(tx: Transaction, name: str | None = None) -> list[DeclaredType]:
    """Every kind of job that was ever declared, by name; or only that of this name."""
    rows = await tx.fetch(_TYPES, name)
    return [DeclaredType(**{key: row[key] for key in DeclaredType.__slots__}) for row in rows]


async def pause_type(tx: Transaction, name: str, *, paused: bool) -> None:
    """Begin no job of this name any more, of nobody; or again. System only. NotFound."""
    if not await tx.execute("UPDATE job_type SET paused = $2 WHERE name = $1", name, paused):
        raise NotFound(f"There is no kind of job {name!r}.")


async def list_schedules(
    tx: Transaction, *, name: str | None = None, limit: int = 100, offset: int = 0
) -> list[Schedule]:
    return [_schedule(row) for row in await tx.fetch(_LIST, name, limit, offset)]


async def get_schedule(tx: Transaction, schedule_id: int) -> Schedule:
    """Locked until `tx` ends. NotFound if there is none that this transaction may see."""
    row = await tx.fetchrow(_GET, schedule_id)
    if row is None:
        raise NotFound(f"There is no schedule {schedule_id}.")
    return _schedule(row)


async def set_schedule(
    tx: Transaction,
    schedule_id: int,
    *,
    cron: str,
    own: bool,
    paused: bool,
    next_at: datetime | None,
) -> None:
    await tx.execute(_SET, schedule_id, cron, own, paused, next_at)


async def stale(tx: Transaction, names: Collection[str], limit: int) -> list[Stale]:
    """Schedules that are missing, or whose expression or zone isn't what it should be by now."""
    await tx.execute(_UNDECLARED, list(names))
    rows = await tx.fetch(_STALE, list(names), limit)
    return [Stale(**{key: row[key] for key in Stale.__slots__}) for row in rows]


async def put_schedule(tx: Transaction, one: Stale, next_at: datetime | None) -> None:
    await tx.execute(_PUT, one.org_id, one.name, one.cron, one.zone, next_at)


async def due(tx: Transaction, names: Collection[str], limit: int) -> list[Due]:
    """Those whose time has come, locked until `tx` ends."""
    rows = await tx.fetch(_DUE, list(names), limit)
    return [Due(**{key: row[key] for key in Due.__slots__}) for row in rows]


async def fired(
    tx: Transaction, schedule_id: int, ran_for: datetime, next_at: datetime | None
) -> None:
    await tx.execute(_FIRED, schedule_id, ran_for, next_at)


async def now(tx: Transaction) -> datetime:
    """By the database's clock, which all processes share."""
    moment: datetime = await tx.fetchval("SELECT clock_timestamp()")
    return moment


def _schedule(row: Row) -> Schedule:
    return Schedule(**{key: row[key] for key in Schedule.__slots__})
