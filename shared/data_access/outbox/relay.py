"""Carries facts from PostgreSQL to the projections: at least once, in order per key.

A relay claims events by locking their rows in a transaction that stays open while they are
applied: what a killed process had claimed is free again the moment its connection ends. Any
number of relays share the work. It polls once a second: NOTIFY would make every writing
transaction queue for one lock at its commit.

A store that is down is waited for, however long: it is tried every second or two, which costs
next to nothing while the store's guard knows better, so that what waits goes on as soon as the
store is back. An event that fails for any other reason is
tried again with growing pauses, alone, so that its neighbours go through; after five failures it
becomes a dead letter, and the later events of its key go on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry

from shared.data_access.outbox import store
from shared.data_access.outbox.store import DeadLetter, Depth, OutboxEvent
from shared.data_access.outbox.topics import TOPICS
from shared.data_access.ports import Relational, Transaction
from shared.errors import LoomaError, NotFound, StoreUnavailable
from shared.telemetry.metrics import Gauge
from shared.telemetry.spans import Attributes, work

__all__ = ["TOPICS", "DeadLetter", "Depth", "OutboxEvent", "OutboxRelay", "Projection"]

ATTEMPTS = 5
_LONGEST_S = 30.0
_STORE_AWAY_S = 2.0
_log = structlog.get_logger("looma.outbox")


class Projection(Protocol):
    """Something that can be computed from PostgreSQL and is kept elsewhere."""

    @property
    def name(self) -> str:
        """As in the entry of its service in shared/services.py."""
        ...

    async def apply(self, org_id: UUID, events: Sequence[OutboxEvent]) -> None:
        """Bring the projection up to date for these events; doing it again changes nothing."""
        ...

    async def rebuild(self, org_id: UUID, progress: Callable[[int, int], None]) -> int:
        """Clear, refill from PostgreSQL and return the number of things written.

        `progress` gets (done, total).
        """
        ...


class OutboxRelay:
    """Feeds `projections`; `run` until cancelled.

    `batch` is the most events applied at once, `poll` the pause in seconds after finding nothing,
    `pause` the first of the growing pauses after a failure. Each projection at work uses one
    connection to PostgreSQL beside those that it uses itself.
    """

    def __init__(
        self,
        relational: Relational,
        projections: Iterable[Projection],
        *,
        registry: CollectorRegistry | None = None,
        batch: int = 500,
        poll: float = 1.0,
        pause: float = 0.5,
        measure_every: float = 15.0,
    ) -> None:
        self._relational = relational
        self._projections = {projection.name: projection for projection in projections}
        self._batch = batch
        self._poll = poll
        self._pause = pause
        self._measure_every = measure_every
        self._gauges = _Gauges(registry or CollectorRegistry())

    async def run(self) -> None:
        """Relay until cancelled; one projection that is stuck doesn't hold up another."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._measure())
            for projection in self._projections.values():
                group.create_task(self._feed(projection))

    async def drain(self, projection: str) -> int:
        """Apply what is due of one projection and return how many events that were.

        Raises StoreUnavailable if PostgreSQL or the projection's store is.
        """
        target = self._projection(projection)
        async with self._relational.system() as tx:
            organisations = await store.organisations(tx, target.name)
        # Several relays start at different ends.
        random.shuffle(organisations)
        return sum([await self._drain_organisation(target, org_id) for org_id in organisations])

    async def rebuild(
        self, projection: str, org_id: UUID, progress: Callable[[int, int], None]
    ) -> int:
        """Rebuild while relays keep off: what happens meanwhile is applied afterwards."""
        target = self._projection(projection)
        async with self._relational.system() as tx:
            await store.exclude_relays(tx, target.name, org_id)
            return await target.rebuild(org_id, progress)

    async def depth(self) -> dict[str, Depth]:
        """Every projection's depth, those of TOPICS and of this relay at least."""
        known = {name for names in TOPICS.values() for name in names} | self._projections.keys()
        async with self._relational.system() as tx:
            return dict.fromkeys(known, Depth()) | await store.depth(tx)

    async def dead_letters(
        self,
        *,
        org_id: UUID | None = None,
        projection: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[DeadLetter]:
        """Dead letters with an id above `after`, oldest first; of one organisation or of all."""
        async with self._transaction(org_id) as tx:
            return await store.dead_letters(tx, projection, after, limit)

    async def replay(self, ids: Sequence[int], *, org_id: UUID | None = None) -> int:
        """Put dead letters at the end of the queue again; returns how many of `ids` there were."""
        async with self._transaction(org_id) as tx:
            return await store.replay(tx, ids)

    # -- the work ----------------------------------------------------------------------------

    async def _feed(self, projection: Projection) -> None:
        failures = 0
        while True:
            longest = _LONGEST_S
            try:
                applied = await self.drain(projection.name)
            except StoreUnavailable as error:
                failures += 1
                longest = _STORE_AWAY_S
                _log.warning("outbox_waits", projection=projection.name, text=error.message)
            except Exception:  # noqa: BLE001 - the edge of a background task: it outlives any defect
                failures += 1
                _log.exception("outbox_failed", projection=projection.name)
            else:
                failures = 0
                if not applied:
                    await asyncio.sleep(self._poll)
                continue
            await asyncio.sleep(_backoff(self._pause, failures, longest))

    async def _drain_organisation(self, projection: Projection, org_id: UUID) -> int:
        async with self._relational.system() as tx:
            events = await store.claim(tx, projection.name, org_id, self._batch)
            if not events:
                return 0
            # Not linked to where its events come from: the outbox doesn't carry that.
            told: Attributes = {
                "messaging.destination.name": projection.name,
                "messaging.batch.message_count": len(events),
            }
            with work(f"outbox {projection.name}", told):
                return await self._apply(tx, projection, org_id, events)

    async def _apply(
        self,
        tx: Transaction,
        projection: Projection,
        org_id: UUID,
        events: Sequence[OutboxEvent],
    ) -> int:
        try:
            await projection.apply(org_id, events)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a projection raises is looked into below
            if len(events) == 1:
                await self._failed(tx, projection, events[0], error)
                return 1
        else:
            await store.done(tx, [event.id for event in events])
            return len(events)
        return await self._one_by_one(tx, projection, events)

    async def _one_by_one(
        self, tx: Transaction, projection: Projection, events: Sequence[OutboxEvent]
    ) -> int:
        """Find the event that made the batch fail; the rest goes through."""
        stuck: set[str] = set()
        applied: list[int] = []
        for event in events:
            if event.key in stuck:
                continue
            try:
                await projection.apply(event.org_id, [event])
            except StoreUnavailable:
                break  # keep what went through; the next round finds the store down
            except Exception as error:  # noqa: BLE001 - recorded with the event
                stuck.add(event.key)
                await self._failed(tx, projection, event, error)
            else:
                applied.append(event.id)
        await store.done(tx, applied)
        return len(applied) + len(stuck)

    async def _failed(
        self, tx: Transaction, projection: Projection, event: OutboxEvent, error: Exception
    ) -> None:
        attempts = event.attempts + 1
        text = error.message if isinstance(error, LoomaError) else str(error)
        _log.warning(
            "outbox_event_failed",
            projection=projection.name,
            event_id=event.id,
            attempts=attempts,
            exc_info=error,
        )
        if attempts < ATTEMPTS:
            await store.postpone(tx, event.id, _backoff(self._pause, attempts))
        else:
            await store.bury(tx, event.id, f"{type(error).__name__}: {text}"[:2000])

    async def _measure(self) -> None:
        while True:
            try:
                self._gauges.show(await self.depth())
            except LoomaError as error:
                _log.warning("outbox_not_measured", text=error.message)
            await asyncio.sleep(self._measure_every)

    def _projection(self, name: str) -> Projection:
        if name not in self._projections:
            known = ", ".join(sorted(self._projections)) or "none"
            raise NotFound(f"No projection {name!r} here: there is {known}.")
        return self._projections[name]

    @asynccontextmanager
    async def _transaction(self, org_id: UUID | None) -> AsyncIterator[Transaction]:
        scope = self._relational.system() if org_id is None else self._relational.tenant(org_id)
        async with scope as tx:
            yield tx


class _Gauges:
    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, ("projection",), registry=registry)

        self._waiting = gauge("outbox_depth", "Events that wait to be applied to a projection")
        self._dead = gauge("outbox_dead_letters", "Events that a projection gave up")
        self._lag = gauge("outbox_lag_seconds", "Age of a projection's oldest waiting event")

    def show(self, depths: dict[str, Depth]) -> None:
        for projection, depth in depths.items():
            self._waiting.labels(projection).set(depth.waiting)
            self._dead.labels(projection).set(depth.dead)
            self._lag.labels(projection).set(depth.lag_seconds)


def _backoff(first: float, failures: int, longest: float = _LONGEST_S) -> float:
    """Seconds before the next attempt: doubling up to `longest`, the second half of it by chance."""
    seconds = min(longest, first * 2.0 ** min(failures - 1, 16))
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
