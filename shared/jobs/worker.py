"""Does jobs: claims them, runs their handlers, keeps their leases, gives back what it can't finish.

Any number of workers, in any number of processes, share the work of the types that they know. What
keeps a job from being done twice is its claim's number (shared/jobs/context.py); the lease only says
when another worker may take it over. It polls, as the outbox does: NOTIFY would make every writing
transaction queue for one lock at its commit.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry

from shared.data_access.ports import Relational
from shared.errors import StopReason, StoreUnavailable
from shared.jobs.attempt import Outcome, attempt
from shared.jobs.context import JobContext
from shared.jobs.fairness import shares
from shared.jobs.job_type import JobType
from shared.jobs.metrics import JobMetrics
from shared.jobs.store import claiming, holding
from shared.jobs.store.claiming import Claim, Known
from shared.jobs.store.holding import Holding
from shared.jobs.upkeep import PACE, Pace, Upkeep, every, patience
from shared.telemetry.spans import fail, work

S = TypeVar("S")

_AWAY_S: Final = 1.0  # between two attempts to write while PostgreSQL is away
_LAST_S: Final = 0.5  # for handlers that have ignored that they were cancelled
_log = structlog.get_logger("looma.jobs")


@dataclass(slots=True)
class _Run:
    claim: Claim
    context: JobContext[Any]
    task: asyncio.Task[None] = field(init=False)
    renewed: float = field(default_factory=time.monotonic)
    shown: tuple[int, int | None] = (0, None)
    ending: bool = False  # the handler is through

    def stop(self, reason: StopReason, *, hard: bool) -> None:
        self.context.stop(reason)
        if hard and not self.ending:
            self.task.cancel()


class Worker(Generic[S]):
    """`run` until cancelled; handlers of `types` find `state` in their context.

    `places` are the jobs done at a time. Its own queries take one or two connections; what handlers
    use comes on top.
    """

    def __init__(
        self,
        db: Relational,
        state: S,
        types: Collection[JobType[S]],
        *,
        service: str,
        registry: CollectorRegistry | None = None,
        places: int = 4,
        pace: Pace = PACE,
    ) -> None:
        self._db = db
        self._state = state
        self._types = {kind.name: kind for kind in types}
        if len(self._types) != len(types):
            raise ValueError(f"{service} declares two kinds of job of one name")
        self._known = {
            kind.name: Known(kind.name, kind.exclusive, kind.in_order, kind.max_lost)
            for kind in types
        }
        self._places = places
        self._pace = pace
        self._name = f"{service}@{socket.gethostname()}:{os.getpid()}"
        self._wake = asyncio.Event()
        self._metrics = JobMetrics(registry or CollectorRegistry(), self._types)
        self._upkeep = Upkeep(db, self._types, service, self._metrics, self._wake.set)
        self._runs: dict[int, _Run] = {}
        self._served: dict[UUID, int] = {}
        self._round = 0

    async def run(self) -> None:
        """Work until cancelled; what isn't finished then is given back, and resumes elsewhere.

        Raises StoreUnavailable if PostgreSQL is away at the start; later it is waited for.
        """
        await self._upkeep.declare()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._claim_all())
                group.create_task(every(self._pace.beat, self._beat))
                group.create_task(self._upkeep.run(self._pace))
        finally:
            await asyncio.shield(self._give_back())

    # -- claiming ----------------------------------------------------------------------------

    async def _claim_all(self) -> None:
        while True:
            self._wake.clear()
            claimed = 0
            if len(self._runs) < self._places:
                with patience("jobs_not_claimed"):
                    claimed = await self._claim()
            if claimed and len(self._runs) < self._places:
                continue  # whoever had a turn may have had less than his share
            pause = self._pace.poll * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _claim(self) -> int:
        """Fill the free places; how many were."""
        free = self._places - len(self._runs)
        known, lease = self._known, self._pace.lease
        async with self._db.system() as tx:
            due, lost = await claiming.look(tx, known.values(), lease)
            if due:
                await claiming.promote(tx)
            ended, claims = [], list[Claim]()
            if lost:
                ended = await claiming.end_lost(tx, known.values())
                claims = await claiming.take_over(tx, known.values(), self._name, lease, free)
            queue = await claiming.queue(tx, known.values())
            here = Counter(one.claim.owner for one in self._runs.values())
            here.update(one.owner for one in claims)
            given = shares(
                queue.waiting,
                free=free - len(claims),
                places=self._places,
                here=here,
                served=self._served,
            )
            for owner, share in given.items():
                claims += await claiming.claim(
                    tx, owner, queue.names[owner], known, self._name, lease, share
                )
        for name, state in ended:
            _log.warning("job_lost", job=name, state=state)
            self._metrics.failed(name)
        self._note_turns({one.owner for one in queue.waiting}, given)
        for claim in claims:
            self._start(claim)
        return len(claims)

    def _note_turns(self, waiting: Collection[UUID], given: Collection[UUID]) -> None:
        self._round += 1
        self._served |= dict.fromkeys(given, self._round)
        self._served = {who: turn for who, turn in self._served.items() if who in waiting}

    def _start(self, claim: Claim) -> None:
        before = self._runs.pop(claim.job_id, None)
        if before is not None:  # we had lost it, and it came back to us before we noticed
            before.stop("lost", hard=True)
        context = JobContext(claim, self._db, self._state, self._pace.lease)
        run = _Run(claim, context, shown=(claim.done, claim.total))
        run.task = asyncio.create_task(self._do(run), name=f"job-{claim.job_id}")
        self._runs[claim.job_id] = run

    # -- doing -------------------------------------------------------------------------------

    async def _do(self, run: _Run) -> None:
        claim = run.claim
        started = time.monotonic()
        try:
            with structlog.contextvars.bound_contextvars(
                job=claim.name, job_id=claim.job_id, org_id=str(claim.org_id or "")
            ):
                with work(f"job {claim.name}", {"looma.job": claim.name}) as span:
                    outcome = await attempt(
                        self._types[claim.name],
                        run.context,
                        claim.args,
                        claim.spent.total_seconds(),
                    )
                    if outcome is not None and outcome.failed:
                        fail(span, outcome.state)
                run.ending = True
                if outcome is not None:
                    await self._end(run, outcome)
        except Exception:  # noqa: BLE001 - the edge of a job: its lease runs out, and it is taken up again
            _log.exception("job_not_ended", job=claim.name, job_id=claim.job_id)
        finally:
            self._metrics.ended(claim.name, time.monotonic() - started)
            if self._runs.get(claim.job_id) is run:
                del self._runs[claim.job_id]
            self._wake.set()

    async def _end(self, run: _Run, outcome: Outcome) -> None:
        claim, context = run.claim, run.context
        if outcome.failed:
            self._metrics.failed(claim.name)
        while context.stopped != "lost":
            try:
                async with self._db.system() as tx:
                    await holding.end(
                        tx,
                        claim.job_id,
                        claim.fence,
                        self._pace.lease,
                        outcome.state,
                        after_s=outcome.after_s,
                        failed=outcome.failed,
                        error=outcome.error,
                        result=outcome.result,
                        done=context.done,
                        total=context.total,
                    )
            except StoreUnavailable:
                await asyncio.sleep(_AWAY_S)
            else:
                return

    # -- leases ------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Renew what is due, learn what is asked of our jobs and which we have lost."""
        now = time.monotonic()
        runs = list(self._runs.values())
        if not runs:
            return
        async with self._db.system() as tx:
            beats = await holding.renew(
                tx, [self._holding(run, now) for run in runs], self._pace.lease
            )
        for run in runs:
            beat = beats.get(run.claim.job_id)
            if beat is None:
                run.stop("lost", hard=True)
                continue
            if beat.renewed:
                run.renewed = now
                run.shown = (run.context.done, run.context.total)
            if beat.stop is not None:  # asked the first time, made to stop the second
                run.stop(beat.stop, hard=run.context.stopped is not None)

    def _holding(self, run: _Run, now: float) -> Holding:
        context = run.context
        late = now - run.renewed >= self._pace.lease / 3
        due = late or run.shown != (context.done, context.total)
        return Holding(context.job_id, context.number, due, context.done, context.total)

    async def _give_back(self) -> None:
        """End the handlers, first by asking them; each gives its job back as it ends."""
        tasks = [run.task for run in self._runs.values()]
        if not tasks:
            return
        for hard in (False, True):
            for run in list(self._runs.values()):
                run.stop("shutdown", hard=hard)
            await asyncio.wait(tasks, timeout=self._pace.grace)
        for task in tasks:
            task.cancel()  # what can't be written now is found by its lease
        await asyncio.wait(tasks, timeout=_LAST_S)
