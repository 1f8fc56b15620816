"""The ledger of attempts: what each may cost is reserved before it, what it did cost settled after."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from uuid import UUID

from ai_services.llm.spend.attempt import Attempt, Settlement
from ai_services.llm.spend.reservations import Patience, Reservations
from ai_services.llm.spend.settlements import Settlements
from shared.data_access.ports import Relational

_BACKLOG: Final = 20_000  # settlements per organisation while the store is away
_FLUSH_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Books:
    """What one organisation has under way."""

    reservations: Reservations
    settlements: Settlements


class Ledger:
    """Reservations and settlements over PostgreSQL; any number of processes may have one each.

    Closing it writes the settlements that are due, for some seconds. What a process that is killed
    leaves behind is charged by its estimate when its lease is over (`sweep`).
    """

    def __init__(self, relational: Relational, patience: Patience | None = None) -> None:
        self._relational = relational
        self._patience = patience or Patience()
        self._books: dict[UUID, _Books] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def waiting(self) -> int:
        """Reservations that have no answer yet."""
        return sum(len(books.reservations) for books in self._books.values())

    @property
    def unsettled(self) -> int:
        """Settlements that are not written yet."""
        return sum(len(books.settlements) for books in self._books.values())

    async def reserve(self, attempt: Attempt) -> None:
        """Reserve the worst case of an attempt in all budgets that it belongs to.

        Returns when that is durable; only then may the model be asked, and `settle` must follow.
        Raises BudgetExceeded where a hard budget could not hold it whatever others settle for, and
        TooManyRequests where that didn't come free in time: what others have reserved is waited
        for, in order of arrival. StoreUnavailable: no attempt without a ledger. Whoever is
        cancelled, or gets any error, has reserved nothing. An `attempt_id` is used once.
        """
        await self._of(attempt.org_id).reservations.reserve(attempt)

    async def settle(self, attempt: Attempt, settlement: Settlement) -> None:
        """Charge what an attempt did cost and release the rest of its reservation.

        The first settlement counts, and one after a sweep corrects it. Returns when that is durable
        or, while the store is away, when it is kept to be written later. Cancelling the caller
        doesn't cancel the settlement.
        """
        await self._of(attempt.org_id).settlements.settle(attempt, settlement)

    def settle_later(self, attempt: Attempt, settlement: Settlement) -> None:
        """`settle` for whoever doesn't wait for it."""
        self._of(attempt.org_id).settlements.put(attempt, settlement)

    async def close(self) -> None:
        """Turn away who waits for a reservation, write what is due."""
        for books in list(self._books.values()):
            await books.reservations.close()
        try:
            async with asyncio.timeout(_FLUSH_S):
                for books in list(self._books.values()):
                    await books.settlements.flush()
        except TimeoutError:
            pass  # what is left is given up, and says so where it matters: its lease ends
        for books in list(self._books.values()):
            await books.settlements.close()

    def _of(self, org_id: UUID) -> _Books:
        books = self._books.get(org_id)
        if books is None:
            self._forget_idle()
            books = self._books[org_id] = self._open(org_id)
        return books

    def _open(self, org_id: UUID) -> _Books:
        news = asyncio.Event()
        settlements = Settlements(
            self._relational, org_id, batch=self._patience.batch, backlog=_BACKLOG, news=news
        )
        reservations = Reservations(
            self._relational, org_id, self._patience, news=news, settlements=settlements
        )
        return _Books(reservations, settlements)

    def _forget_idle(self) -> None:
        """Organisations come and go; those without anything under way need no books."""
        for org_id, books in list(self._books.items()):
            if not books.reservations and books.settlements.is_idle:
                del self._books[org_id]
