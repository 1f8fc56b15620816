"""Reservations of one organisation in one process: written in batches, waited for in order.

While one statement is under way, and for a moment after it began unless there are enough, the next
reservations collect: a single one waits for nothing, and many share a transaction. What doesn't fit now but may when others end for less than
they reserved stays in line; it is tried again when this process has settled something, when
somebody else comes, and every `poll_s`, because other replicas settle too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

import structlog

from ai_services.llm.spend import ledger_store
from ai_services.llm.spend.attempt import Attempt
from ai_services.llm.spend.ledger_store import Exhausted
from ai_services.llm.spend.settlements import Settlements
from shared.data_access.ports import Relational
from shared.errors import (
    BudgetExceeded,
    Detail,
    LoomaError,
    StoreError,
    StoreUnavailable,
    TooManyRequests,
)
from shared.serving.background import end

_log = structlog.get_logger("looma.ledger")
_PACE_S: Final = 0.008  # from the begin of one statement to that of the next
_ENOUGH: Final = 8  # to begin one earlier
_PERIODS: Final = {"day": "daily", "week": "weekly", "month": "monthly", "total": "total"}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how many wait: per organisation and process."""

    wait_s: float = 10.0  # for money that others have reserved
    poll_s: float = 0.05
    batch: int = 200  # of one statement
    line: int = 5_000


@dataclass(eq=False, slots=True)
class _Waiting:
    attempt: Attempt
    deadline: float
    answer: asyncio.Future[None]
    budget_id: UUID | None = None  # what it waits for, or is refused by; None: not tried yet
    refused: bool = False


class Reservations:
    """`news` is set when something was settled: what waits may fit now.

    `settlements` gets attempts that may be reserved though nobody waits for them any more.
    """

    def __init__(
        self,
        relational: Relational,
        org_id: UUID,
        patience: Patience,
        *,
        news: asyncio.Event,
        settlements: Settlements,
    ) -> None:
        self._relational = relational
        self._org_id = org_id
        self._patience = patience
        self._settlements = settlements
        self._release = settlements.release
        self._line: list[_Waiting] = []
        self._news = news
        self._next_at = 0.0  # of the loop's clock
        self._enough = asyncio.Event()
        self._last = 0  # in line when the last statement began
        self._work: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._line)

    async def reserve(self, attempt: Attempt) -> None:
        """As `Ledger.reserve`."""
        if len(self._line) >= self._patience.line:
            message = (
                "Too many requests of your organisation wait for its budgets. Try again later."
            )
            raise TooManyRequests(message, retry_after=self._patience.wait_s)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(attempt, loop.time() + self._patience.wait_s, loop.create_future())
        self._line.append(waiting)
        self._news.set()
        if len(self._line) >= _ENOUGH:
            self._enough.set()
        if self._work is None:
            self._work = asyncio.create_task(self._run(), name=f"reservations of {self._org_id}")
        try:
            await waiting.answer
        except asyncio.CancelledError:
            # It was granted in the moment of leaving; what leaves before is seen to by the batch.
            answer = waiting.answer
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                self._release(attempt)
            raise

    async def close(self) -> None:
        """Turn away all who wait."""
        if self._work is not None:
            await end([self._work])
        self._turn_away()  # what is cancelled before it began doesn't do it

    # -- the work ----------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._line:
                await self._collect()
                self._news.clear()
                await self._try(self._next())
                self._tidy()
                untried = self._untried()
                self._settlements.awaited = untried < len(self._line)
                if self._line and not self._news.is_set() and not untried:
                    await self._pause()
        finally:
            self._turn_away()

    async def _collect(self) -> None:
        """Soon after the last statement, wait until there are enough, or for a moment.

        Who comes alone after one who came alone waits for nothing.
        """
        loop = asyncio.get_running_loop()
        seconds = self._next_at - loop.time()
        one_by_one = self._last == len(self._line) == 1
        if seconds > 0 and len(self._line) < _ENOUGH and not one_by_one:
            self._enough.clear()
            timer = loop.call_later(seconds, self._enough.set)
            try:
                await self._enough.wait()
            finally:
                timer.cancel()
        self._next_at = loop.time() + _PACE_S
        self._last = len(self._line)

    def _turn_away(self) -> None:
        self._work = None
        self._settlements.awaited = False
        for waiting in self._line:
            _fail(waiting, StoreUnavailable("The ledger was closed. Try again."))
        self._line.clear()

    def _next(self) -> list[_Waiting]:
        """In order of arrival: those not tried yet, and the first of those that wait for each budget.

        These go along so that nobody takes what they wait for; not all of them, so that one
        budget's line doesn't hold up the whole organisation.
        """
        most = self._patience.batch // 2
        tried: Counter[UUID] = Counter()
        batch: list[_Waiting] = []
        for waiting in self._line:
            if len(batch) >= self._patience.batch:
                break
            if waiting.answer.done():
                continue
            budget_id = waiting.budget_id
            if budget_id is not None:
                if tried.total() >= most or tried[budget_id] >= max(1, most // 2):
                    continue
                tried[budget_id] += 1
            batch.append(waiting)
        return batch

    def _untried(self) -> int:
        return sum(waiting.budget_id is None for waiting in self._line)

    async def _try(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        try:
            await self._write(batch)
        except StoreUnavailable as error:
            for waiting in self._line:  # each batch would wait as long again
                _fail(waiting, copy(error))
        except StoreError as error:  # nothing was kept: one of them is to blame
            if len(batch) == 1:
                _fail(batch[0], error)
            else:
                for waiting in batch:
                    await self._try([waiting])
        else:
            for waiting in batch:
                if waiting.budget_id is None:
                    self._grant(waiting)
            await self._refuse([waiting for waiting in batch if waiting.refused])

    async def _write(self, batch: Sequence[_Waiting]) -> None:
        """Reserve what fits, and note in each of `batch` what it waits for."""
        began = False
        try:
            async with ledger_store.calling(self._relational, self._org_id) as call:
                began = True
                attempts = [waiting.attempt for waiting in batch]
                short = await ledger_store.reserve_at_once(call, attempts)
        except (StoreUnavailable, asyncio.CancelledError):
            if began:  # whether it was kept is unknown
                for waiting in batch:
                    self._release(waiting.attempt)
            raise
        for place, waiting in enumerate(batch):
            shortage = short.get(place)
            waiting.budget_id = None if shortage is None else shortage.budget_id
            waiting.refused = shortage is not None and shortage.refused

    def _grant(self, waiting: _Waiting) -> None:
        if waiting.answer.done():  # who asked has left
            self._release(waiting.attempt)
        else:
            waiting.answer.set_result(None)

    async def _refuse(self, waiting: Sequence[_Waiting]) -> None:
        """Tell them what their budgets have left; where that can't be read they are tried again."""
        if not waiting:
            return
        budgets = {one.budget_id for one in waiting if one.budget_id is not None}
        try:
            async with ledger_store.writing(self._relational, self._org_id) as tx:
                exhausted = await ledger_store.exhausted(tx, self._org_id, budgets)
        except StoreError as error:
            _log.warning("refusals wait", waiting=len(waiting), reason=error.message)
            return
        for one in waiting:
            if one.budget_id in exhausted:  # it may have been deleted meanwhile
                _fail(one, exceeded(exhausted[one.budget_id], one.attempt.cost))

    def _tidy(self) -> None:
        """Take those out of the line that have an answer, or no more time."""
        now = asyncio.get_running_loop().time()
        for waiting in self._line:
            if waiting.budget_id is not None and waiting.deadline <= now:
                message = (
                    f"Requests under way hold what is left of a budget; none of it came free "
                    f"within {self._patience.wait_s:g} s. Try again."
                )
                _fail(waiting, TooManyRequests(message, retry_after=1.0))
        self._line = [waiting for waiting in self._line if not waiting.answer.done()]

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._patience.poll_s):
                await self._news.wait()
        except TimeoutError:
            pass


def _fail(waiting: _Waiting, error: LoomaError) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)


def money(amount: Decimal) -> str:
    """As people write it: no exponent, no zeros at the end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def exceeded(budget: Exhausted, cost: Decimal, what: str = "this request") -> BudgetExceeded:
    """What whoever asks is told when a budget can't hold what may cost so much."""
    whose = "organisation" if budget.subject_kind == "organisation" else budget.subject_kind
    named = f"{whose} {budget.subject}".rstrip()
    which = f"the {_PERIODS[budget.period]} budget of {named} ({money(budget.amount)})"
    left = f"has {money(max(budget.left, Decimal(0)))} left"
    renews = (
        "it never renews"
        if budget.renews_at is None
        else f"it renews at {budget.renews_at.isoformat()}"
    )
    problem = f"{which} {left}; {what} may cost {money(cost)}; {renews}"
    fix = "send less or a smaller max_tokens, wait until it renews, or ask an admin to raise it"
    return BudgetExceeded(
        f"{problem[0].upper()}{problem[1:]}.", details=[Detail("budget", problem, fix)]
    )
