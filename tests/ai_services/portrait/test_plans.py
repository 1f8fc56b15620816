"""What is read of portraits, and what counts them, is looked for by keys, however many calls there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from ai_services.portrait import store
from ai_services.portrait.computing.computation import compute
from ai_services.portrait.counting import store as counting
from ai_services.portrait.dimension import AGENT, CUSTOMER, TASK, USER, Subject
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.portrait.calls import SHANGHAI, new_organisation
from tests.databases import SpareDatabases
from tests.explained import Explained

_CALLS = """
INSERT INTO call_record_enriched (org_id, callid, user_id, customer_id, task_id, agent_id, call_date,
    started_at, duration_ms, bill_ms, rounds, call_status)
SELECT $1, 'c' || n, 'user-' || n % 20, 'customer-' || n % 1500, 'task-' || n % 30, 'agent-' || n % 40,
       date '2024-01-01' + n % 360, timestamptz '2024-01-01T04:00:00Z' + make_interval(days => n % 360),
       1000, 1000, 1, 'connected'
FROM generate_series($2::int, $3::int) n
"""
_LARGE = frozenset(
    {"call_record_enriched", "portrait_change", "portrait_hour", "portrait_duration"}
    | {f"{name}_portrait_snapshot" for name in ("user", "customer", "task", "agent")}
)


@pytest.fixture(scope="module")
async def filled(spare_databases: SpareDatabases) -> AsyncIterator[tuple[Postgres, UUID]]:
    """An organisation with 12,000 calls, counted, and 300 more that are not."""
    async with spare_databases.fresh() as url:
        db = Postgres(url, pool_size=4)
        owner = await new_organisation(db, SHANGHAI, logged=False)
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SET ROLE looma_system")
            await connection.execute(_CALLS, owner.org_id, 1, 12_000)
            await connection.execute("DELETE FROM portrait_change")
            await compute(db, owner.org_id)
            await connection.execute("RESET ROLE")
            await connection.execute("ANALYZE")
            await connection.execute("SET ROLE looma_system")
            await connection.execute(_CALLS, owner.org_id, 12_001, 12_300)
        finally:
            await connection.close()
        yield db, owner.org_id
        await db.close()


def unkeyed(explained: Explained) -> list[str]:
    """Scans of large tables that aren't by an index; and those by an index that only knows whose they are."""
    found = []
    for node in explained.scans():
        if node["Relation Name"] in _LARGE:
            how = node.get("Index Cond") or node.get("Recheck Cond") or ""
            if " AND " not in how:
                found.append(
                    f"{node['Node Type']} of {node['Relation Name']} by {how or 'nothing'}"
                )
    return found


@pytest.mark.parametrize(
    "subject",
    [
        Subject(USER, "user-3"),
        Subject(CUSTOMER, "customer-77"),
        Subject(TASK, "task-5"),
        Subject(AGENT, "agent-9"),
    ],
    ids=lambda subject: subject.dimension.name,
)
async def test_a_portrait_is_read_by_its_keys(
    filled: tuple[Postgres, UUID], subject: Subject
) -> None:
    db, org_id = filled
    async with db.tenant(org_id, readonly=True) as tx:
        explained = Explained(tx)
        assert await store.newest_of(explained, org_id, subject, "month")
        found = await store.snapshots_of_periods(
            explained, org_id, subject, "month", ["2024-03", "2024-04"]
        )
    assert found
    assert unkeyed(explained) == []


async def test_under_whom_a_customer_stands_is_found_by_its_key(
    filled: tuple[Postgres, UUID],
) -> None:
    db, org_id = filled
    async with db.tenant(org_id, readonly=True) as tx:
        explained = Explained(tx)
        assert await store.standing(explained, org_id, "customer-77") == "customer-77"
    assert unkeyed(explained) == []


async def test_counting_looks_only_for_what_it_counts(filled: tuple[Postgres, UUID]) -> None:
    db, org_id = filled
    async with db.tenant(org_id) as tx:
        await counting.await_turn(tx, org_id)
        await counting.state(tx, org_id)
        explained = Explained(tx)
        batch = await counting.count(explained, org_id, SHANGHAI, 10_000)
    assert batch is not None
    assert batch.changes == 300
    # The log itself is read from its beginning: what is in it is what is to be counted.
    assert [one for one in unkeyed(explained) if "portrait_change" not in one] == []
