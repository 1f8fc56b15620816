"""The context of a handler: its claim of the job, its checkpoint, its progress.

A claim holds as long as nobody else has claimed the job. `fence` proves that inside the transaction
of an effect: until that transaction ends nobody can claim the job, and if somebody has, it raises.
So a process that stood still beyond its lease, and whose job another one does by then, changes
nothing any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from shared.data_access.ports import Relational, Transaction
from shared.errors import JobStopped, StopReason
from shared.jobs.json_values import MAX_CURSOR_BYTES, checked_json
from shared.jobs.store import holding
from shared.jobs.store.claiming import Claim

S = TypeVar("S")


class JobContext(Generic[S]):
    """`state` is what the worker was given for its handlers.

    `cursor` is the checkpoint that there was when the job was claimed; None: it begins anew.
    """

    def __init__(self, claim: Claim, db: Relational, state: S, lease_s: float) -> None:
        self.db: Final = db
        self.state: Final = state
        self.job_id: Final = claim.job_id
        self.org_id: Final[UUID | None] = claim.org_id
        self.name: Final = claim.name
        self.number: Final = claim.fence
        self.failures: Final = claim.failures
        self.scheduled_for: Final[datetime | None] = claim.scheduled_for
        self.cursor: Final[Mapping[str, Any] | None] = claim.cursor
        self.done = claim.done
        self.total = claim.total
        self._lease_s = lease_s
        self._stopped: StopReason | None = None

    @property
    def stopped(self) -> StopReason | None:
        """Why the job is to stop, if it is: a handler may end its own way with `stop_if_asked`."""
        return self._stopped

    def stop(self, reason: StopReason) -> None:
        """For the worker: the next effect is refused. The first reason counts, but for a lost claim."""
        if self._stopped is None or reason == "lost":
            self._stopped = reason

    def stop_if_asked(self) -> None:
        """Raise JobStopped if the job is to stop: cancelled, paused, lost, or the process ends."""
        if self._stopped is not None:
            raise JobStopped(self.job_id, self._stopped)

    async def fence(self, tx: Transaction) -> None:
        """Refuse the effects of this transaction unless the claim holds until its end.

        Call it first in every transaction that changes something; it is one query. Raises
        JobStopped. A transaction that then stands still for a lease's time is ended by PostgreSQL,
        lest a process that has stopped keeps its job from the others.
        """
        self.stop_if_asked()
        asked = await holding.hold(tx, self.job_id, self.number, self._lease_s)
        self._heed(asked)

    async def checkpoint(
        self,
        tx: Transaction,
        cursor: Mapping[str, Any],
        *,
        done: int | None = None,
        total: int | None = None,
    ) -> None:
        """Store how far the job is, in the transaction of the effect: it resumes there, once.

        Also fences the transaction and extends the lease. `cursor` is at most 64 KiB of JSON.
        """
        self.stop_if_asked()
        stored = checked_json("cursor", cursor, MAX_CURSOR_BYTES)
        done = self.done if done is None else done
        total = self.total if total is None else total
        asked = await holding.save(
            tx, self.job_id, self.number, self._lease_s, cursor=stored, done=done, total=total
        )
        self._heed(asked)
        self.done, self.total = done, total

    def progress(self, done: int, total: int | None = None) -> None:
        """Say how far the job is; shown within seconds, and decides nothing."""
        self.done = done
        self.total = self.total if total is None else total

    def _heed(self, asked: StopReason | None) -> None:
        if asked is not None:
            self.stop(asked)
        self.stop_if_asked()
