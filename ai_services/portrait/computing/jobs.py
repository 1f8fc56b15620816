"""The portrait service's kinds of job: what is computed when, and what is computed on request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from ai_services.portrait.computing.computation import Computed, carry_out, planned
from ai_services.portrait.computing.overdue import closable, last_ended, overdue, spans
from ai_services.portrait.computing.request import Requested
from ai_services.portrait.computing.time_zone import follow
from ai_services.portrait.counting import store as counting
from ai_services.portrait.counting.count import calls_come_in, catch_up
from ai_services.portrait.period import PERIOD_TYPES, PeriodType
from ai_services.portrait.periods import period_store
from shared.data_access.ports import Relational, Transaction
from shared.errors import NotFound
from shared.jobs.context import JobContext
from shared.jobs.enqueue import enqueue
from shared.jobs.job_type import Handler, JobType

_OLDEST: Final = timedelta(days=100 * 366)  # what lies further back is computed on request only


class _JobCourse:
    """The course of a job: its effects are fenced, and each transaction is a checkpoint."""

    def __init__(self, job: JobContext[Any], org_id: UUID) -> None:
        self._job = job
        self._org_id = org_id
        self.before: Sequence[Computed] = computed_of(job.cursor) if job.cursor else ()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with _fenced(self._job, self._org_id) as tx:
            yield tx

    async def reached(
        self,
        tx: Transaction,
        _at_work: PeriodType,
        computed: Mapping[PeriodType, Computed],
        left: Mapping[PeriodType, int],
    ) -> None:
        done = sum(one.periods for one in computed.values())
        total = done + sum(left.values())
        await self._job.checkpoint(tx, _written(computed.values()), done=done, total=total)


def computed_of(document: Mapping[str, Any]) -> list[Computed]:
    """What a checkpoint or the result of a job tells."""
    return [Computed(**one) for one in document["computed"]]


def _written(computed: Iterable[Computed]) -> dict[str, Any]:
    return {"computed": [asdict(one) for one in computed]}


async def _compute(job: JobContext[Any], args: Mapping[str, Any]) -> Mapping[str, Any]:
    org_id = _organisation(job)
    return _written(await carry_out(_JobCourse(job, org_id), org_id, Requested.of_args(args)))


def _last(period_type: PeriodType) -> Handler[Any]:
    """Computes the period that had ended last at the time that the job is for."""

    async def handler(job: JobContext[Any], _args: Mapping[str, Any]) -> Mapping[str, Any]:
        org_id = _organisation(job)
        async with job.db.tenant(org_id, readonly=True) as tx:
            today = await _today(tx, org_id, job.scheduled_for or datetime.now(UTC))
        period = last_ended(period_type, today)
        wanted = Requested((period_type,), period.start, period.end)
        return _written(await carry_out(_JobCourse(job, org_id), org_id, wanted))

    return handler


async def _check(job: JobContext[Any], _args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Close what has ended and is as its calls are, have computed what isn't: {type: periods, "jobs": ids}.

    As long as a job brings calls in, or analyses them, nothing is closed.
    """
    org_id = _organisation(job)
    found: dict[str, Any] = {}
    jobs: list[int] = []
    await catch_up(lambda: _fenced(job, org_id), org_id)
    async with _fenced(job, org_id) as tx:
        now = datetime.now(UTC)
        today = await _today(tx, org_id, now)
        await counting.await_turn(tx, org_id)
        days = await period_store.days(tx, org_id, today)
        open_still = await calls_come_in(tx, org_id)
        for period_type in PERIOD_TYPES:
            extent = await period_store.extent(tx, org_id, period_type)
            registered = await period_store.registered(tx, org_id, period_type)
            first = today if extent is None else max(extent[0], today - _OLDEST)
            wrong = overdue(period_type, days, registered, first, today)
            found[period_type] = len(wrong)
            for start, end in spans(wrong):
                wanted = Requested((period_type,), start, end)
                asked = await enqueue(
                    tx, COMPUTE, wanted.to_args(), org_id=org_id, key=_key("check", wanted)
                )
                jobs.append(asked.job_id)
            if not open_still:
                closed = closable(period_type, wrong, registered, first, today)
                await period_store.close(tx, org_id, closed, now)
    return {**found, "jobs": jobs[:100]}


@asynccontextmanager
async def _fenced(job: JobContext[Any], org_id: UUID) -> AsyncIterator[Transaction]:
    async with job.db.tenant(org_id) as tx:
        await job.fence(tx)
        yield tx


async def _follow_zone(job: JobContext[Any], _args: Mapping[str, Any]) -> Mapping[str, Any]:
    """Dates and hours become those of the zone that the organisation has by now."""
    return await follow(job, _organisation(job))


async def ask(db: Relational, org_id: UUID, wanted: Requested) -> int:
    """The id of a job that computes what is wanted: the one that there is, or a new one.

    Raises as `planned` before there is one.
    """
    async with db.tenant(org_id) as tx:
        await planned(tx, org_id, wanted)
        asked = await enqueue(
            tx, COMPUTE, wanted.to_args(), org_id=org_id, key=_key("asked", wanted)
        )
    return asked.job_id


def _key(who: str, wanted: Requested) -> str:
    return f"{who}: {','.join(wanted.period_types)} {wanted.first} {wanted.last}"


def _organisation(job: JobContext[Any]) -> UUID:
    assert job.org_id is not None, f"{job.name} is done for an organisation"
    return job.org_id


async def _today(tx: Transaction, org_id: UUID, moment: datetime) -> date:
    today = await period_store.local_today(tx, org_id, moment)
    if today is None:
        raise NotFound("There is no such organisation.")
    return today


COMPUTE: Final[JobType[Any]] = JobType(
    "compute_portraits",
    _compute,
    timedelta(hours=4),
    "Portraits of the periods that were asked for.",
    exclusive=True,
)
FOLLOW_TIME_ZONE: Final[JobType[Any]] = JobType(
    "follow_time_zone",
    _follow_zone,
    timedelta(hours=4),
    "Dates and hours of calls in the organisation's new time zone.",
    exclusive=True,
)
JOBS: Final[tuple[JobType[Any], ...]] = (
    COMPUTE,
    FOLLOW_TIME_ZONE,
    JobType(
        "check_period_complete",
        _check,
        timedelta(minutes=30),
        "Close what has ended; have computed what isn't as its calls are.",
        exclusive=True,
        cron="0 6 * * *",
    ),
    JobType(
        "compute_week_snapshot",
        _last("week"),
        timedelta(hours=1),
        "Verify and close last week.",
        exclusive=True,
        cron="30 6 * * 1",
    ),
    JobType(
        "compute_month_snapshot",
        _last("month"),
        timedelta(hours=2),
        "Verify and close last month.",
        exclusive=True,
        cron="0 7 1 * *",
    ),
    JobType(
        "compute_quarter_snapshot",
        _last("quarter"),
        timedelta(hours=4),
        "Verify and close last quarter.",
        exclusive=True,
        cron="0 8 1 1,4,7,10 *",
    ),
)
