"""The queries of the ledger: reservations and settlements, a batch of one organisation at a time.

What they do is written in the migration's functions; here are their arguments and results. Thresholds
that a settlement crosses go out as events of the topic `budgets`, in the transaction that crossed
them: the key is the budget's id, the payload has `budget_id`, `subject_kind`, `subject`, `period`,
`hard`, `threshold` (50, 80 or 100), `amount`, `spent`, `first_day` of the window and `renews_at`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

from ai_services.llm.spend.attempt import Attempt, Settlement
from shared.data_access.ports import Call, Relational, Row, Transaction
from shared.errors import StoreUnavailable

TOPIC: Final = "budgets"

SubjectKind = Literal["organisation", "key", "user", "purpose"]
BudgetPeriod = Literal["day", "week", "month", "total"]


LONGEST_S: Final = 15.0  # above the server's lock timeout, so that it speaks first


@asynccontextmanager
async def writing(relational: Relational, org_id: UUID) -> AsyncIterator[Transaction]:
    """A transaction of the ledger; StoreUnavailable also where it takes too long."""
    async with _in_time(), relational.tenant(org_id) as tx:
        yield tx


@asynccontextmanager
async def calling(relational: Relational, org_id: UUID) -> AsyncIterator[Call]:
    """A function of the ledger as a transaction; StoreUnavailable also where it takes too long."""
    async with _in_time(), relational.calling(org_id) as call:
        yield call


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(LONGEST_S):
            yield
    except TimeoutError as error:
        raise StoreUnavailable("The database takes too long. Try again.") from error


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why an attempt was not reserved: `refused`, or it can wait for what others have reserved."""

    refused: bool
    budget_id: UUID


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A hard budget's window as whoever was refused by it sees it. `renews_at` None: never."""

    subject_kind: SubjectKind
    subject: str
    period: BudgetPeriod
    amount: Decimal
    left: Decimal
    renews_at: datetime | None


def split_subject(subject: str) -> tuple[str, str]:
    """(kind, id) of a principal's subject, as ledger and budgets name it.

    Who is signed in by the organisation's own identity provider is a user like any other.
    """
    kind, _, rest = subject.partition(":")
    return ("user", subject) if kind == "external" else (kind, rest)


async def reserve(
    tx: Transaction, org_id: UUID, attempts: Sequence[Attempt], *, unconditional: bool = False
) -> dict[int, Shortage]:
    """Reserve what fits, in this order; place in `attempts` → why one was not reserved.

    `unconditional` reserves whatever the budgets say. StoreConflict for an attempt that is there.
    """
    rows = await tx.fetch(
        """
        SELECT place, verdict, budget_id
        FROM llm_reserve($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        """,
        org_id,
        *_columns(attempts),
        unconditional,
    )
    return _shortages(rows)


async def reserve_at_once(call: Call, attempts: Sequence[Attempt]) -> dict[int, Shortage]:
    """`reserve` as a transaction of its own."""
    return _shortages(await call("llm_reserve", *_columns(attempts)))


def _columns(attempts: Sequence[Attempt]) -> tuple[list[Any], ...]:
    """The arguments of llm_reserve that tell of attempts, in its order."""
    subjects = [split_subject(attempt.subject) for attempt in attempts]
    return (
        [attempt.attempt_id for attempt in attempts],
        [attempt.request_id for attempt in attempts],
        [attempt.parent for attempt in attempts],
        [kind for kind, _ in subjects],
        [subject for _, subject in subjects],
        [attempt.purpose for attempt in attempts],
        [attempt.provider for attempt in attempts],
        [attempt.model for attempt in attempts],
        [attempt.price_version for attempt in attempts],
        [attempt.prompt_version for attempt in attempts],
        [attempt.tokens.input for attempt in attempts],
        [attempt.tokens.output for attempt in attempts],
        [attempt.cost for attempt in attempts],
        [attempt.lease_s for attempt in attempts],
    )


def _shortages(rows: Sequence[Row]) -> dict[int, Shortage]:
    return {
        row["place"] - 1: Shortage(row["verdict"] == "refused", row["budget_id"]) for row in rows
    }


async def settle(
    tx: Transaction, org_id: UUID, settlements: Sequence[tuple[UUID, Settlement]]
) -> set[UUID]:
    """Settle attempts by their ids; returns those that the ledger doesn't know."""
    rows = await tx.fetch(
        """
        SELECT absent, crossing FROM llm_settle($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        """,
        org_id,
        *_settled_columns(settlements),
    )
    await announce(tx, org_id, (row["crossing"] for row in rows))
    return {row["absent"] for row in rows if row["absent"] is not None}


async def settle_at_once(call: Call, settlements: Sequence[tuple[UUID, Settlement]]) -> set[UUID]:
    """`settle` as a transaction of its own."""
    columns = _settled_columns(settlements)
    rows = await call("llm_settle_and_tell", *columns, TOPIC, call.listeners(TOPIC))
    return {row["called"] for row in rows}


def _settled_columns(settlements: Sequence[tuple[UUID, Settlement]]) -> tuple[list[Any], ...]:
    """The arguments of llm_settle, in its order."""
    return (
        [attempt_id for attempt_id, _ in settlements],
        [one.usage.input for _, one in settlements],
        [one.usage.output for _, one in settlements],
        [one.usage.cached for _, one in settlements],
        [one.usage.reasoning for _, one in settlements],
        [one.cost for _, one in settlements],
        [one.latency_ms for _, one in settlements],
        [one.first_token_ms for _, one in settlements],
        [one.outcome for _, one in settlements],
        [one.source for _, one in settlements],
    )


async def announce(tx: Transaction, org_id: UUID, crossings: Iterable[Any]) -> None:
    """Emit the crossings among these values; None is no crossing."""
    events = [(crossing["budget_id"], crossing) for crossing in crossings if crossing is not None]
    await tx.emit_many(org_id, TOPIC, events)


async def exhausted(
    tx: Transaction, org_id: UUID, budgets: Iterable[UUID]
) -> dict[UUID, Exhausted]:
    """What these budgets have left in their newest windows; those deleted meanwhile are left out."""
    rows = await tx.fetch(
        """
        SELECT b.budget_id, b.subject_kind, b.subject, b.period, b.amount,
               b.amount - w.spent AS left, llm_renews_at($1, b.period, w.first_day) AS renews_at
        FROM llm_budget b
        CROSS JOIN LATERAL (SELECT first_day, spent FROM llm_budget_window w
                            WHERE w.org_id = $1 AND w.budget_id = b.budget_id
                            ORDER BY first_day DESC LIMIT 1) AS w
        WHERE b.org_id = $1 AND b.budget_id = ANY($2::uuid[])
        """,
        org_id,
        list(set(budgets)),
    )
    return {
        row["budget_id"]: Exhausted(**{k: v for k, v in row.items() if k != "budget_id"})
        for row in rows
    }


async def organisations_to_sweep(tx: Transaction) -> list[UUID]:
    """Those with attempts whose lease is over."""
    rows = await tx.fetch(
        """
        SELECT DISTINCT org_id FROM cost_ledgers
        WHERE settled_at IS NULL AND lease_until < clock_timestamp()
        """
    )
    return [row["org_id"] for row in rows]


async def sweep(tx: Transaction, org_id: UUID, at_most: int) -> int:
    """Charge attempts of an organisation whose lease is over; returns how many those were."""
    rows = await tx.fetch("SELECT swept, crossing FROM llm_sweep($1, $2)", org_id, at_most)
    await announce(tx, org_id, (row["crossing"] for row in rows))
    return sum(row["swept"] is not None for row in rows)
