"""Settlements of one organisation in one process: written in batches, kept while the store is away.

They linger: an answer goes out before what it did cost is written, and the more of them share a
transaction, the less each costs. Not for long where money is waited for, and not at all where
somebody waits for the settlement itself.

A release may come before its reservation: where a standby stalls, a reservation whose writer gave
up is committed later. So a release that finds nothing is tried again until the lease is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog

from ai_services.llm.protocol.usage import Usage
from ai_services.llm.spend import ledger_store
from ai_services.llm.spend.attempt import Attempt, Settlement
from shared.data_access.ports import Relational
from shared.errors import StoreConflict, StoreError, StoreUnavailable
from shared.serving.background import end

_LINGER_S: Final = 0.025
_AWAITED_LINGER_S: Final = 0.003
_FIRST_S: Final = 0.25
_LONGEST_S: Final = 5.0
_TRIES: Final = 5
_AGAIN_S: Final = 5.0  # between two tries of releases that found nothing
_RELEASED: Final = Settlement(
    Usage(), Decimal(0), latency_ms=0, first_token_ms=None, outcome="cancelled", source="none"
)
_log = structlog.get_logger("looma.ledger")


@dataclass(eq=False, slots=True)
class _Due:
    attempt: Attempt
    settlement: Settlement
    known: bool  # whether it was reserved for certain
    until: float  # of the loop's clock: its lease is over, however late it began
    written: asyncio.Future[None]


class Settlements:
    """`news` is set after each batch; `awaited`: reservations wait for that. At most `backlog` are kept while the store is away, and as many
    releases that found nothing, the oldest given up first.
    """

    def __init__(
        self,
        relational: Relational,
        org_id: UUID,
        *,
        batch: int,
        backlog: int,
        news: asyncio.Event,
        again_s: float = _AGAIN_S,
    ) -> None:
        self._relational = relational
        self._org_id = org_id
        self._batch = batch
        self._backlog = backlog
        self._news = news
        self._again_s = again_s
        self._due: list[_Due] = []
        self._absent: list[_Due] = []
        self._hurry = asyncio.Event()
        self.awaited = False
        self._work: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Settlements that are to be written, without releases that found nothing."""
        return len(self._due)

    @property
    def is_idle(self) -> bool:
        return not self._due and not self._absent

    async def settle(self, attempt: Attempt, settlement: Settlement) -> None:
        """As `Ledger.settle`."""
        due = self._add(attempt, settlement, known=True)
        if due is not None:
            self._hurry.set()
            await asyncio.shield(due.written)

    def put(self, attempt: Attempt, settlement: Settlement) -> None:
        """As `Ledger.settle_later`."""
        self._add(attempt, settlement, known=True)

    def release(self, attempt: Attempt) -> None:
        """Settle an attempt that was not made, in case it was reserved."""
        self._add(attempt, _RELEASED, known=False)

    async def flush(self) -> None:
        """Wait until nothing is due."""
        while self._work is not None:
            self._hurry.set()
            await asyncio.wait([self._work])

    async def close(self) -> None:
        """Give up what is due."""
        if self._watch is not None:
            await end([self._watch])
            self._watch = None
        if self._work is not None:
            await end([self._work])
        self._give_up()  # what is cancelled before it began doesn't do it

    # -- the work ----------------------------------------------------------------------------

    def _add(self, attempt: Attempt, settlement: Settlement, *, known: bool) -> _Due | None:
        if len(self._due) >= self._backlog:
            _log.error(
                "a settlement is dropped, its attempt will be charged by its estimate",
                attempt_id=str(attempt.attempt_id),
                waiting=len(self._due),
            )
            return None
        written = asyncio.get_running_loop().create_future()
        until = asyncio.get_running_loop().time() + attempt.lease_s + ledger_store.LONGEST_S
        due = _Due(attempt, settlement, known, until, written)
        self._due.append(due)
        self._start()
        return due

    def _start(self) -> None:
        if self._work is None:
            self._work = asyncio.create_task(self._run(), name=f"settlements of {self._org_id}")

    async def _look_again(self) -> None:
        while self._absent:
            await asyncio.sleep(self._again_s)
            self._due += self._absent
            self._absent = []
            self._start()
            await self.flush()
        self._watch = None

    def _keep(self, absent: Sequence[_Due]) -> None:
        """Try these releases again, as long as their reservation may still come."""
        now = asyncio.get_running_loop().time()
        self._absent += [due for due in absent if now < due.until]
        del self._absent[: -self._backlog]
        if self._absent and self._watch is None:
            name = f"releases of {self._org_id}"
            self._watch = asyncio.create_task(self._look_again(), name=name)

    async def _run(self) -> None:
        pause = _FIRST_S
        try:
            while self._due:
                if len(self._due) < self._batch:
                    await self._linger()
                batch = self._due[: self._batch]
                try:
                    await self._write_apart(batch)
                except StoreUnavailable as error:
                    _log.warning("settlements wait", waiting=len(self._due), reason=error.message)
                    _answer(self._due)  # nobody waits for as long as a store may be away
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_S)
                    continue
                except Exception:  # noqa: BLE001 - a defect: these must not keep the others back
                    _log.exception(
                        "settlements dropped, charged by their estimates", count=len(batch)
                    )
                pause = _FIRST_S
                del self._due[: len(batch)]
                _answer(batch)
                self._news.set()
        finally:
            self._give_up()

    async def _linger(self) -> None:
        """Until enough others may have come, or somebody is in a hurry."""
        seconds = _AWAITED_LINGER_S if self.awaited else _LINGER_S
        timer = asyncio.get_running_loop().call_later(seconds, self._hurry.set)
        try:
            await self._hurry.wait()
        finally:
            timer.cancel()
            self._hurry.clear()

    def _give_up(self) -> None:
        self._work = None
        _answer(self._due)

    async def _write_apart(self, batch: Sequence[_Due]) -> None:
        """Write a batch; where the store refuses it, each alone."""
        try:
            await self._write(batch)
        except StoreUnavailable:
            raise
        except StoreError:
            for due in batch:
                await self._write_alone(due)

    async def _write_alone(self, due: _Due) -> None:
        for _ in range(_TRIES):
            try:
                await self._write([due])
            except StoreUnavailable:
                raise
            except StoreConflict:
                continue
            except StoreError:
                break
            return
        _log.error(
            "a settlement is refused, its attempt will be charged by its estimate",
            attempt_id=str(due.attempt.attempt_id),
            settlement=repr(due.settlement),
        )

    async def _write(self, batch: Sequence[_Due]) -> None:
        absent = await self._settle(batch)
        self._keep([due for due in batch if not due.known and due.attempt.attempt_id in absent])
        lost = {
            due.attempt.attempt_id: due
            for due in batch
            if due.known and due.attempt.attempt_id in absent
        }
        if lost:
            # A reservation that the store forgot, by a failover to a standby that was behind. What
            # the attempt used is used. In a transaction of its own: rows are locked in one order.
            _log.warning("reservations are not in the ledger and are added", attempts=len(lost))
            attempts = [due.attempt for due in lost.values()]
            async with ledger_store.writing(self._relational, self._org_id) as tx:
                await ledger_store.reserve(tx, self._org_id, attempts, unconditional=True)
            await self._settle(list(lost.values()))

    async def _settle(self, batch: Sequence[_Due]) -> set[UUID]:
        settlements = [(due.attempt.attempt_id, due.settlement) for due in batch]
        async with ledger_store.calling(self._relational, self._org_id) as call:
            return await ledger_store.settle_at_once(call, settlements)


def _answer(batch: Sequence[_Due]) -> None:
    for due in batch:
        if not due.written.done():
            due.written.set_result(None)
