"""The law of windows: whatever happens, each holds the sums of the attempts that belong to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from ai_services.llm.spend import budget_store, ledger_store
from ai_services.llm.spend.attempt import Attempt
from ai_services.llm.spend.ledger import Ledger
from ai_services.llm.spend.reservations import Patience
from ai_services.llm.spend.sweep import sweep
from shared.data_access.relational.postgres import Postgres
from shared.errors import BudgetExceeded, TooManyRequests
from tests.ai_services.llm.spend.books import (
    KEY,
    USER,
    Organisation,
    assert_law,
    belongs,
    first_day,
    new_organisation,
    settlement,
)

# Between the first and the last of these it is never the same day, and at most hours not the
# same week or month: moving an organisation moves it over the borders of windows.
ZONES = ("Asia/Shanghai", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York")
SUBJECTS = (USER, KEY, "service:portrait")
PURPOSES = ("chat", "summary")
OWNERS = (
    ("organisation", ""),
    ("user", USER.removeprefix("user:")),
    ("key", KEY.removeprefix("key:")),
    ("purpose", "chat"),
)
Verdict = Literal["reserved", "refused", "waits"]
amounts = st.integers(0, 40).map(lambda quarters: Decimal(quarters) / 4)
costs = st.one_of(st.integers(0, 12).map(lambda q: Decimal(q) / 4), st.just(Decimal("0.00000001")))

reservations = st.tuples(
    st.just("reserve"), costs, st.sampled_from(SUBJECTS), st.sampled_from(PURPOSES)
)
settlements = st.tuples(
    st.just("settle"), st.integers(0, 30), costs, st.sampled_from(("ok", "error", "unknown"))
)
budgets = st.tuples(
    st.just("budget"),
    st.sampled_from(OWNERS),
    st.sampled_from(("day", "week", "month", "total")),
    amounts,
    st.booleans(),
)
steps = st.one_of(
    reservations,
    settlements,
    budgets,
    st.tuples(st.just("delete"), st.integers(0, 10)),
    st.tuples(st.just("sweep"), st.integers(0, 30)),
    st.tuples(st.just("move"), st.sampled_from(ZONES)),
    st.tuples(st.just("die"), st.one_of(reservations, settlements)),
    st.tuples(
        st.just("at once"), st.lists(st.one_of(reservations, settlements, budgets), max_size=6)
    ),
)


class _Died(Exception):
    pass


@dataclass
class History:
    """What is done to one organisation; the verdict of each reservation is foretold by plain sums."""

    organisation: Organisation
    ledger: Ledger
    attempts: list[Attempt] = field(default_factory=list)

    async def do(self, step: tuple[Any, ...]) -> None:
        name, *rest = step
        actions: dict[str, Callable[..., Awaitable[None]]] = {
            "reserve": self.reserve,
            "settle": self.settle,
            "budget": self.budget,
            "delete": self.delete,
            "sweep": self.sweep,
            "move": self.organisation.move_to,
            "die": self.die,
            "at once": self.at_once,
        }
        await actions[name](*rest)

    async def reserve(self, cost: Decimal, subject: str, purpose: str) -> None:
        attempt = self.organisation.attempt(cost, subject=subject, purpose=purpose)
        expected = await self.foretold(attempt)
        assert await self._reserve(attempt) == expected

    async def _reserve(self, attempt: Attempt) -> Verdict:
        try:
            await self.ledger.reserve(attempt)
        except BudgetExceeded:
            return "refused"
        except TooManyRequests:
            return "waits"
        self.attempts.append(attempt)
        return "reserved"

    async def foretold(self, attempt: Attempt) -> Verdict:
        org_id = self.organisation.org_id
        async with self.organisation.db.tenant(org_id) as tx:
            today = await tx.fetchval("SELECT llm_today($1)", org_id)
            budgets = await tx.fetch("SELECT * FROM llm_budget WHERE hard")
            ledger = await tx.fetch("SELECT * FROM cost_ledgers")
        kind, subject = ledger_store.split_subject(attempt.subject)
        row = {"subject_kind": kind, "subject": subject, "purpose": attempt.purpose}
        verdict: Verdict = "reserved"
        for budget in budgets:
            if not belongs(row, budget) or not attempt.cost:
                continue
            start = first_day(budget["period"], today)
            same = [
                one
                for one in ledger
                if belongs(one, budget) and first_day(budget["period"], one["day"]) == start
            ]
            left = budget["amount"] - sum(one["cost"] or 0 for one in same)
            reserved = sum(one["reserved"] for one in same if one["settled_at"] is None)
            if left < attempt.cost:
                return "refused"
            if left - reserved < attempt.cost:
                verdict = "waits"
        return verdict

    async def settle(self, nth: int, cost: Decimal, outcome: Any) -> None:
        if self.attempts:
            attempt = self.attempts[nth % len(self.attempts)]
            await self.ledger.settle(attempt, settlement(min(cost, attempt.cost), outcome))

    async def budget(self, owner: Any, period: Any, amount: Decimal, hard: bool) -> None:
        kind, subject = owner
        await self.organisation.set_budget(amount, kind, subject, period, hard=hard)

    async def delete(self, nth: int) -> None:
        org_id = self.organisation.org_id
        async with self.organisation.db.tenant(org_id) as tx:
            there = await budget_store.budgets(tx, org_id)
            if there:
                assert await budget_store.delete_budget(
                    tx, org_id, there[nth % len(there)].budget_id
                )

    async def sweep(self, nth: int) -> None:
        if self.attempts:
            async with self.organisation.db.tenant(self.organisation.org_id) as tx:
                await tx.execute(
                    "UPDATE cost_ledgers SET lease_until = now() - interval '1 s' "
                    "WHERE attempt_id = $1",
                    self.attempts[nth % len(self.attempts)].attempt_id,
                )
        await sweep(self.organisation.db)

    async def die(self, step: tuple[Any, ...]) -> None:
        """The process is gone before its transaction ends."""
        org_id = self.organisation.org_id
        try:
            async with self.organisation.db.tenant(org_id) as tx:
                match step:
                    case ("reserve", cost, subject, purpose):
                        attempt = self.organisation.attempt(cost, subject=subject, purpose=purpose)
                        await ledger_store.reserve(tx, org_id, [attempt])
                    case ("settle", nth, cost, outcome) if self.attempts:
                        attempt = self.attempts[nth % len(self.attempts)]
                        settled = (attempt.attempt_id, settlement(cost, outcome))
                        await ledger_store.settle(tx, org_id, [settled])
                raise _Died
        except _Died:
            pass

    async def at_once(self, several: list[tuple[Any, ...]]) -> None:
        async def one(step: tuple[Any, ...]) -> None:
            match step:
                case ("reserve", cost, subject, purpose):
                    await self._reserve(
                        self.organisation.attempt(cost, subject=subject, purpose=purpose)
                    )
                case _:
                    await self.do(step)

        await asyncio.gather(*map(one, several))


@given(st.lists(steps, min_size=1, max_size=14))
@settings(max_examples=25)
async def test_windows_hold_the_sums_of_their_attempts(db: Postgres, history: list[Any]) -> None:
    organisation = await new_organisation(db)
    async with Ledger(db, Patience(wait_s=0)) as ledger:
        play = History(organisation, ledger)
        for step in history:
            await play.do(step)
            await assert_law(organisation)
