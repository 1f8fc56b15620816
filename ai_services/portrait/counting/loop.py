"""Counts what happens to calls, in every replica, within a second of its commit.

Replicas share the work: of an organisation one counts at a time, and who finds it taken goes on to the next.
Each gets one batch in a round, so that a bulk load of one keeps no other waiting. It polls, as the
outbox does and for the same reason: NOTIFY would make every writing transaction queue for one lock.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from itertools import count as count_up
from typing import Final
from uuid import UUID

import structlog

from ai_services.portrait.counting import store
from ai_services.portrait.counting.count import BATCH, count
from ai_services.portrait.counting.metrics import CountingMetrics
from ai_services.portrait.period import PERIOD_TYPES
from shared.data_access.ports import Relational, Transaction
from shared.errors import NotFound, StoreUnavailable
from shared.jobs.enqueue import enqueue

_LOOK_S: Final = 0.5
_LONGEST_S: Final = 30.0
_STORE_AWAY_S: Final = 2.0
_ABOUT_EVERY: Final = 10  # looks
_log = structlog.get_logger("looma.counting")


class Counting:
    """`run` until cancelled; `batch` is about how many changes are counted in a transaction."""

    def __init__(
        self, relational: Relational, metrics: CountingMetrics, *, batch: int = BATCH
    ) -> None:
        self._relational = relational
        self._metrics = metrics
        self._batch = batch

    async def run(self) -> None:
        """Outlives outages of the store, and any defect."""
        failures = 0
        for look in count_up():
            longest = _LONGEST_S
            try:
                if look % _ABOUT_EVERY == 0:
                    await self._look_about()
                counted = await self.round()
            except StoreUnavailable as error:
                failures += 1
                longest = _STORE_AWAY_S
                _log.warning("counting_waits", text=error.message)
            except Exception:  # noqa: BLE001 - the edge of a background task: it outlives any defect
                failures += 1
                _log.exception("counting_failed")
            else:
                failures = 0
                if not counted:
                    await asyncio.sleep(_LOOK_S)
                continue
            await asyncio.sleep(_pause(failures, longest))

    async def round(self) -> int:
        """A batch of each organisation that has something to count; how many changes that were.

        An organisation that can't be counted keeps no other waiting: its error comes last.
        """
        async with self._relational.system() as tx:
            waiting = await store.waiting(tx)
        self._metrics.waiting(waiting)
        random.shuffle(waiting)  # replicas begin at different ends
        counted, failed = 0, []
        for one in waiting:
            if not one.trusted:
                continue
            try:
                counted += await self._count(one.org_id)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - raised again below
                failed.append(error)
        if failed:
            raise failed[0]
        return counted

    async def _count(self, org_id: UUID) -> int:
        async with self._relational.tenant(org_id) as tx:
            if not await store.try_turn(tx, org_id):
                return 0
            how = await store.state(tx, org_id)
            if how is None:
                await store.forget_log(tx, org_id)
                return 0
            if not how.trusted:
                return 0
            batch = await count(tx, org_id, how.zone, self._batch)
        if batch is None:
            return 0
        self._metrics.counted(batch)
        return batch.changes

    async def _look_about(self) -> None:
        """Ask for jobs where portraits are older than the log, or in another time zone; and measure."""
        async with self._relational.system() as tx:
            behind = await store.behind(tx)
            self._metrics.pending(await store.pending(tx))
        for one in behind:
            with suppress(NotFound):  # no worker has declared its jobs yet
                async with self._relational.tenant(one.org_id) as tx:
                    await _ask(tx, one)


async def _ask(tx: Transaction, one: store.Behind) -> None:
    """For a job of the room that computes; where it is asked for already, there is none more."""
    if one.zone is None:
        args = {"period_types": list(PERIOD_TYPES), "first": None, "last": None}
        await enqueue(tx, "compute_portraits", args, org_id=one.org_id, key="everything")
    else:
        await enqueue(tx, "follow_time_zone", {}, org_id=one.org_id, key=f"zone {one.zone}")


def _pause(failures: int, longest: float) -> float:
    """Seconds before the next attempt: doubling up to `longest`, the second half of it by chance."""
    seconds = min(longest, 0.5 * 2.0 ** min(failures - 1, 16))
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
