"""What a worker does beside its jobs: declares them, keeps their schedules, measures, cleans up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from shared.data_access.ports import Relational
from shared.errors import LoomaError
from shared.jobs.job_type import JobType
from shared.jobs.metrics import JobMetrics
from shared.jobs.scheduling import queue_due, settle_schedules
from shared.jobs.store import jobs, schedules

HISTORY_S: Final = 90 * 86400.0
_log = structlog.get_logger("looma.jobs")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are looked at, in seconds, by default as the platform needs it.

    `poll`: the queue, when there was nothing. `lease`: how long a claim holds without a sign of
    life; it is renewed three times as often. `beat`: whether claims still hold. `grace`: what
    handlers get to end by themselves before they are cancelled.
    """

    poll: float = 0.5
    lease: float = 30.0
    beat: float = 1.0
    grace: float = 1.0
    schedules: float = 2.0
    settle: float = 60.0
    measure: float = 15.0
    clean: float = 3600.0


PACE: Final = Pace()


class Upkeep:
    """Of the types of one worker; `wake` is called when a schedule has queued something."""

    def __init__(
        self,
        db: Relational,
        types: Mapping[str, JobType[Any]],
        service: str,
        metrics: JobMetrics,
        wake: Callable[[], None],
    ) -> None:
        self._db = db
        self._types = types
        self._service = service
        self._metrics = metrics
        self._wake = wake

    async def run(self, pace: Pace) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(every(pace.schedules, self._queue_due))
            group.create_task(every(pace.settle, self._settle_schedules))
            group.create_task(every(pace.measure, self._measure))
            group.create_task(every(pace.clean, self._clean))

    async def declare(self) -> None:
        declared = [
            schedules.DeclaredType(
                name=kind.name,
                service=self._service,
                summary=kind.summary,
                cron=kind.cron,
                per_org=kind.per_org,
                priority=kind.priority,
                exclusive=kind.exclusive,
                time_limit=kind.time_limit,
                max_failures=kind.retry.failures,
            )
            for kind in self._types.values()
        ]
        async with self._db.system() as tx:
            await schedules.declare(tx, declared)

    async def _queue_due(self) -> None:
        async with self._db.system() as tx:
            queued = await queue_due(tx, self._types)
        if queued:
            self._wake()

    async def _settle_schedules(self) -> None:
        settled = 1
        while settled:
            async with self._db.system() as tx:
                settled = await settle_schedules(tx, self._types.keys())

    async def _measure(self) -> None:
        async with self._db.system() as tx:
            self._metrics.show(await jobs.depths(tx, self._types.keys()))

    async def _clean(self) -> None:
        cleaned = 1
        while cleaned:
            async with self._db.system() as tx:
                cleaned = await jobs.clean(tx, HISTORY_S)


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Again and again, whatever a store refuses."""
    while True:
        with patience("jobs_wait"):
            await work()
        await asyncio.sleep(seconds)


@contextmanager
def patience(event: str) -> Iterator[None]:
    """Log what a store refuses, and go on: the next round tries again."""
    try:
        yield
    except LoomaError as error:
        _log.warning(event, reason=error.message)
