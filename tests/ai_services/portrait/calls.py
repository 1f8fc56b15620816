"""Calls for tests: made, written as the importer writes them, and summed up by plain Python.

The summing shares no code with the service: it follows the definitions of the portrait only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from shared.data_access.ports import Transaction
from shared.data_access.relational.postgres import Postgres

SHANGHAI = "Asia/Shanghai"


@dataclass(frozen=True)
class Call:
    callid: str
    user_id: str
    started_at: datetime
    call_status: str = "connected"
    duration_ms: int = 0
    rounds: int = 0
    level_name: str | None = None
    hangup_by: int | None = None
    sentiment: str | None = None
    sentiment_score: float | None = None
    complaint_risk: str | None = None
    churn_risk: str | None = None
    customer_id: str | None = None
    task_id: str | None = None
    agent_id: str | None = None


_UPSERT = """
INSERT INTO call_record_enriched AS c (
    org_id, callid, user_id, started_at, call_status, duration_ms, bill_ms, rounds, level_name,
    hangup_by, sentiment, sentiment_score, complaint_risk, churn_risk, customer_id, task_id, agent_id,
    call_date)
SELECT $1, $3, $4, $5::timestamptz, $6, $7, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
       ($5::timestamptz AT TIME ZONE $2)::date
ON CONFLICT (org_id, callid) DO UPDATE SET
    user_id = excluded.user_id, started_at = excluded.started_at,
    call_status = excluded.call_status, duration_ms = excluded.duration_ms,
    rounds = excluded.rounds, level_name = excluded.level_name, hangup_by = excluded.hangup_by,
    sentiment = excluded.sentiment, sentiment_score = excluded.sentiment_score,
    complaint_risk = excluded.complaint_risk, churn_risk = excluded.churn_risk,
    customer_id = excluded.customer_id, task_id = excluded.task_id, agent_id = excluded.agent_id,
    call_date = excluded.call_date
"""


@dataclass(frozen=True)
class Organisation:
    """One organisation in a database: its calls in, its portraits out.

    Without `logged` nothing that happens to calls is counted: portraits are wrong until they are computed.
    """

    db: Postgres
    org_id: UUID
    timezone: str
    logged: bool = True

    async def write(self, *calls: Call) -> None:
        async with self.db.tenant(self.org_id) as tx:
            await tx.executemany(
                _UPSERT, [(self.org_id, self.timezone, *astuple(call)) for call in calls]
            )
            await self._forget(tx)

    async def delete(self, *callids: str) -> None:
        async with self.db.tenant(self.org_id) as tx:
            await tx.execute(
                "DELETE FROM call_record_enriched WHERE callid = ANY($1::text[])", list(callids)
            )
            await self._forget(tx)

    async def _forget(self, tx: Transaction) -> None:
        if not self.logged:
            await tx.execute("DELETE FROM portrait_change")

    async def stored(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """(type, key, user) → the row of user_portrait_snapshot."""
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch("SELECT * FROM user_portrait_snapshot")
        return {(r["period_type"], r["period_key"], r["user_id"]): dict(r) for r in rows}

    async def stored_of_customers(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """(type, key, customer) → the row of customer_portrait_snapshot."""
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch("SELECT * FROM customer_portrait_snapshot")
        return {(r["period_type"], r["period_key"], r["customer_id"]): dict(r) for r in rows}

    async def sums(self) -> dict[tuple[str, str], dict[str, Any]]:
        """(type, key) → the row of period_summary."""
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch("SELECT * FROM period_summary")
        return {(r["period_type"], r["period_key"]): dict(r) for r in rows}

    async def statuses(self, period_type: str) -> dict[str, str]:
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch(
                "SELECT period_key, status FROM period_registry WHERE period_type = $1 "
                "ORDER BY period_key",
                period_type,
            )
        return {row["period_key"]: row["status"] for row in rows}

    async def events(self) -> list[tuple[str, Any]]:
        """(key, payload) of the portrait events that wait for the vectors, oldest first."""
        async with self.db.tenant(self.org_id) as tx:
            rows = await tx.fetch(
                "SELECT key, payload FROM outbox "
                "WHERE topic = 'portraits' AND projection = 'vectors' ORDER BY id"
            )
        return [(row["key"], row["payload"]) for row in rows]


async def new_organisation(
    db: Postgres, timezone: str = SHANGHAI, *, logged: bool = True
) -> Organisation:
    slug = f"org-{uuid4().hex}"
    async with db.system() as tx:
        org_id = await tx.fetchval(
            "INSERT INTO organisation (slug, name, timezone) VALUES ($1, $1, $2) RETURNING org_id",
            slug,
            timezone,
        )
    return Organisation(db, org_id, timezone, logged)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Postgres]:
    db = Postgres(url, pool_size=6)
    try:
        yield db
    finally:
        await db.close()


def at(text: str, timezone: str = SHANGHAI) -> datetime:
    """'2024-12-04 09:30' local to the time zone."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)


# The definitions, in plain Python.


def periods_of(day: date) -> dict[str, tuple[str, date, date]]:
    """Period type → (key, first day, last day) of the periods of a day."""
    year, week, weekday = day.isocalendar()
    monday = day - timedelta(days=weekday - 1)
    first = day.replace(day=1)
    quarter = (day.month - 1) // 3
    starts = date(day.year, quarter * 3 + 1, 1)
    return {
        "week": (f"{year:04}-W{week:02}", monday, monday + timedelta(days=6)),
        "month": (f"{day:%Y-%m}", first, _month_after(first, 1) - timedelta(days=1)),
        "quarter": (
            f"{day.year:04}-Q{quarter + 1}",
            starts,
            _month_after(starts, 3) - timedelta(days=1),
        ),
    }


def _month_after(first: date, months: int) -> date:
    year, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return date(year, month + 1, 1)


def expected(
    calls: Iterable[Call], timezone: str, by: str = "user_id"
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What user_portrait_snapshot, or by `customer_id` that of customers, must hold for these calls,
    without computed_at and org_id.
    """
    groups: defaultdict[tuple[str, str, str], list[Call]] = defaultdict(list)
    spans: dict[tuple[str, str], tuple[date, date]] = {}
    for call in calls:
        day = call.started_at.astimezone(ZoneInfo(timezone)).date()
        for period_type, (key, start, end) in periods_of(day).items():
            if (subject := getattr(call, by)) is not None:
                groups[period_type, key, subject].append(call)
            spans[period_type, key] = (start, end)
    return {
        (period_type, key, subject): {
            "period_type": period_type,
            "period_key": key,
            by: subject,
            "period_start": spans[period_type, key][0],
            "period_end": spans[period_type, key][1],
            **figures_of(group),
        }
        for (period_type, key, subject), group in groups.items()
    }


def figures_of(calls: Collection[Call]) -> dict[str, Any]:
    connected = [call for call in calls if call.call_status == "connected"]
    scores = [call.sentiment_score for call in connected if call.sentiment_score is not None]
    levels = Counter(call.level_name for call in connected)
    hangups = Counter(call.hangup_by for call in connected)
    moods = Counter(call.sentiment for call in connected)
    complaints = Counter(call.complaint_risk for call in connected)
    churns = Counter(call.churn_risk for call in connected)
    total_ms = sum(call.duration_ms for call in connected)
    rounds = sum(call.rounds for call in connected)
    return {
        "total_calls": len(calls),
        "connected_calls": len(connected),
        "connect_rate": _mean(len(connected), len(calls)),
        "total_duration": Decimal(total_ms) / 1000,
        "avg_duration": _mean(total_ms / 1000, len(connected)),
        "total_rounds": rounds,
        "avg_rounds": _mean(rounds, len(connected)),
        **{f"level_{level.lower()}_count": levels[level] for level in "ABCDEF"},
        "robot_hangup_count": hangups[1],
        "user_hangup_count": hangups[2],
        "fail_reason_dist": dict(
            Counter(call.call_status for call in calls if call.call_status != "connected")
        ),
        **{f"{mood}_count": moods[mood] for mood in ("positive", "neutral", "negative")},
        "scored_calls": len(scores),
        "sentiment_score_sum": sum(scores),
        "avg_sentiment_score": _mean(sum(scores), len(scores)),
        **{f"{level}_complaint_risk": complaints[level] for level in ("high", "medium", "low")},
        **{f"{level}_churn_risk": churns[level] for level in ("high", "medium", "low")},
    }


def _mean(total: float, count: int) -> float | None:
    return total / count if count else None


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Column → (found, wanted) where they differ: floats by more than 1e-9, the rest at all."""
    return {
        name: (found[name], value)
        for name, value in wanted.items()
        if not _same(found[name], value)
    }


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and isinstance(found, float):
        return abs(found - wanted) <= 1e-9 * max(1.0, abs(wanted))
    return bool(found == wanted)


async def assert_law(organisation: Organisation, calls: Collection[Call]) -> None:
    """The stored snapshots and sums are those of `calls`, no more and no fewer."""
    stored, wanted = await organisation.stored(), expected(calls, organisation.timezone)
    assert stored.keys() == wanted.keys()
    for key, row in wanted.items():
        assert not differences(stored[key], row), key
    stored = await organisation.stored_of_customers()
    of_customers = expected(calls, organisation.timezone, "customer_id")
    assert stored.keys() == of_customers.keys()
    for key, row in of_customers.items():
        assert not differences(stored[key], row), key
    by_period: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for period_type, period_key, user_id in wanted:
        by_period[period_type, period_key].add(user_id)
    together = {
        (period_type, key): row
        for (period_type, key, _), row in expected(
            [Call(**{**call.__dict__, "user_id": "all"}) for call in calls], organisation.timezone
        ).items()
    }
    sums = await organisation.sums()
    assert sums.keys() == by_period.keys()
    for period, row in sums.items():
        assert row["users"] == len(by_period[period])
        assert row["customers"] == len([one for one in of_customers if one[:2] == period])
        assert not differences(row, {k: v for k, v in together[period].items() if k in row})
