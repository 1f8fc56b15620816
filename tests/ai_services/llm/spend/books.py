"""One organisation's ledger and budgets for tests, and what windows must hold, summed by Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from ai_services.llm.protocol.usage import Usage
from ai_services.llm.spend import budget_store
from ai_services.llm.spend.attempt import Attempt, Outcome, Settlement, Source
from ai_services.llm.spend.ledger_store import BudgetPeriod, SubjectKind
from shared.data_access.ports import Row
from shared.data_access.relational.postgres import Postgres

SHANGHAI = "Asia/Shanghai"
USER = f"user:{uuid4()}"
KEY = f"key:{uuid4()}"


@dataclass(frozen=True)
class Organisation:
    """One organisation in a database."""

    db: Postgres
    org_id: UUID

    def attempt(
        self,
        cost: str | Decimal = "1",
        *,
        subject: str = USER,
        purpose: str = "chat",
        model: str = "small",
        lease_s: float = 600,
    ) -> Attempt:
        return Attempt(
            attempt_id=uuid4(),
            request_id=uuid4(),
            parent=None,
            org_id=self.org_id,
            subject=subject,
            purpose=purpose,
            provider="loopback",
            model=model,
            price_version="2026-01-01",
            tokens=Usage(100, 50),
            cost=Decimal(cost),
            lease_s=lease_s,
        )

    async def set_budget(
        self,
        amount: str | Decimal,
        kind: SubjectKind = "organisation",
        subject: str = "",
        period: BudgetPeriod = "day",
        *,
        hard: bool = True,
    ) -> UUID:
        async with self.db.tenant(self.org_id) as tx:
            return await budget_store.set_budget(
                tx, self.org_id, kind, subject, period, Decimal(amount), hard=hard
            )

    async def ledger(self) -> dict[UUID, Row]:
        """attempt_id → its row."""
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch("SELECT * FROM cost_ledgers")
        return {row["attempt_id"]: row for row in rows}

    async def windows(self) -> dict[tuple[UUID, date], Row]:
        """(budget, first day) → its row."""
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch("SELECT * FROM llm_budget_window")
        return {(row["budget_id"], row["first_day"]): row for row in rows}

    async def window(self, budget_id: UUID) -> tuple[Decimal | int, Decimal | int]:
        """(reserved, spent) of the newest window."""
        newest = max(
            (row for row in (await self.windows()).values() if row["budget_id"] == budget_id),
            key=lambda row: row["first_day"],
        )
        return newest["reserved"], newest["spent"]

    async def events(self) -> list[dict[str, Any]]:
        """What was announced of budgets, oldest first."""
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch("SELECT payload FROM outbox WHERE topic = 'budgets' ORDER BY id")
        return [row["payload"] for row in rows]

    async def move_to(self, timezone: str) -> None:
        async with self.db.tenant(self.org_id) as tx:
            await tx.execute("UPDATE organisation SET timezone = $1", timezone)


def settlement(
    cost: str | Decimal = "1", outcome: Outcome = "ok", source: Source = "provider"
) -> Settlement:
    return Settlement(
        usage=Usage(90, 40, 10, 5),
        cost=Decimal(cost),
        latency_ms=120,
        first_token_ms=30,
        outcome=outcome,
        source=source,
    )


async def new_organisation(db: Postgres, timezone: str = SHANGHAI) -> Organisation:
    async with db.system() as tx:
        org_id = await tx.fetchval(
            "INSERT INTO organisation (slug, name, timezone) VALUES ($1, $1, $2) RETURNING org_id",
            f"org-{uuid4().hex}",
            timezone,
        )
    return Organisation(db, org_id)


@asynccontextmanager
async def opened(url: str, pool_size: int = 6) -> AsyncIterator[Postgres]:
    """With a listener for what is announced, so that the outbox keeps it."""
    db = Postgres(url, pool_size=pool_size, topics={"budgets": ("webhooks",)})
    try:
        yield db
    finally:
        await db.close()


# The law, in plain Python.


def first_day(period: str, day: date) -> date:
    match period:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return date(1, 1, 1)


def belongs(row: Row, budget: Row) -> bool:
    match budget["subject_kind"]:
        case "organisation":
            return True
        case "purpose":
            return bool(row["purpose"] == budget["subject"])
        case kind:
            return bool((row["subject_kind"], row["subject"]) == (kind, budget["subject"]))


async def assert_law(organisation: Organisation) -> None:
    """Each window holds the sums of its attempts, and one is there for each attempt since then."""
    async with organisation.db.tenant(organisation.org_id) as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        ledger = await tx.fetch("SELECT * FROM cost_ledgers")
        budgets = await tx.fetch("SELECT * FROM llm_budget")
        windows = await tx.fetch("SELECT * FROM llm_budget_window")
    wanted: defaultdict[tuple[UUID, date], list[Decimal]] = defaultdict(
        lambda: [Decimal(0), Decimal(0)]
    )
    for budget in budgets:
        for row in ledger:
            if belongs(row, budget):
                sums = wanted[budget["budget_id"], first_day(budget["period"], row["day"])]
                if row["settled_at"] is None:
                    sums[0] += row["reserved"]
                else:
                    sums[1] += row["cost"]
    for window in windows:
        found = [window["reserved"], window["spent"]]
        assert found == wanted[window["budget_id"], window["first_day"]], dict(window)
