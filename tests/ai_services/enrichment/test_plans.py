"""Calls are looked for by their keys, also while the statistics know other organisations only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from ai_services.enrichment import store
from ai_services.enrichment.analysis import store as analysis
from shared.data_access.relational.postgres import Postgres
from shared.instant import FIRST, LAST
from tests.ai_services.enrichment.test_importing import organisation
from tests.explained import Explained

CALLIDS = [f"{number:060}" for number in range(1, 301)]
KEYS = {"call_record_enriched_pkey", "call_transcript_pkey"}

# Long ids: the primary key's index is higher than that of the dates, which looks cheaper then.
_CALLS = """
INSERT INTO call_record_enriched (org_id, callid, user_id, customer_id, call_date, started_at,
    duration_ms, bill_ms, rounds, call_status, has_transcript)
SELECT $1, lpad(n::text, 60, '0'), 'user-' || n % 20, 'customer-' || n % 1000, '2024-12-04',
       '2024-12-04T04:00:00Z', 1, 1, 1, 'connected', true
FROM generate_series(1, $2::int) n
"""
_TRANSCRIPTS = """
INSERT INTO call_transcript (org_id, callid, turns)
SELECT org_id, callid, '[]' FROM call_record_enriched WHERE org_id = $1
"""


def ways(explained: Explained) -> set[str]:
    """The indexes by which calls and transcripts were looked for, and scans without any."""
    return {
        node.get("Index Name", node["Node Type"])
        for node in explained.scans()
        if node["Relation Name"].startswith("call_")
    }


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Postgres]:
    postgres = Postgres(database_url, pool_size=2)
    yield postgres
    await postgres.close()


@pytest.fixture
async def org_id(db: Postgres, database_url: str) -> UUID:
    """An organisation with calls of which the statistics know nothing."""
    others, ours = await organisation(db), await organisation(db)
    connection = await asyncpg.connect(database_url)
    try:
        for table in ("call_record_enriched", "call_transcript"):
            await connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        await _add_calls(connection, others, 10_000)
        await connection.execute("ANALYZE")
        await _add_calls(connection, ours, len(CALLIDS))
    finally:
        await connection.close()
    return ours


async def _add_calls(connection: asyncpg.Connection, org_id: UUID, calls: int) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL ROLE looma_system")
        await connection.execute(_CALLS, org_id, calls)
        await connection.execute(_TRANSCRIPTS, org_id)


async def test_the_documents_of_calls_are_found_by_their_keys(db, org_id) -> None:
    async with db.tenant(org_id) as tx:
        explained = Explained(tx)
        rows = await store.documents(explained, org_id, CALLIDS)
    assert [row["callid"] for row in rows] == CALLIDS
    assert ways(explained) == KEYS


async def test_calls_are_found_by_their_keys(db, org_id) -> None:
    async with db.tenant(org_id) as tx:
        explained = Explained(tx)
        assert await store.call(explained, org_id, CALLIDS[0])
        assert await store.calls_by_id(explained, org_id, CALLIDS[:20])
        assert await store.callids_after(explained, org_id, CALLIDS[9], 20) == CALLIDS[10:30]
    assert ways(explained) == {"call_record_enriched_pkey"}


async def test_the_calls_of_a_user_are_read_in_their_order(db, org_id) -> None:
    async with db.tenant(org_id) as tx:
        explained = Explained(tx)
        rows = await store.calls_of_user(
            explained, org_id, "user-1", since=FIRST, until=LAST, before=(LAST, ""), limit=5
        )
    assert len(rows) == 5
    assert ways(explained) == {"call_by_user"}
    assert not [node for node in explained.nodes if node["Node Type"] == "Sort"]


async def test_what_an_analysis_reads_and_saves_is_found_by_its_keys(db, org_id) -> None:
    async with db.tenant(org_id) as tx:
        explained = Explained(tx)
        claim = await analysis.claim(explained, org_id, len(CALLIDS), 30)
        assert claim is not None
        verdict = ("neutral", 0.5, "low", "low", "", "test")
        rows = [(call["callid"], call["version"], *verdict) for call in claim.calls]
        assert await analysis.save_analyses(explained, org_id, rows) == CALLIDS
    assert ways(explained) == {*KEYS, "call_unanalysed"}


async def test_contacts_are_not_compared_with_every_call(db, org_id) -> None:
    async with db.tenant(org_id) as tx:
        explained = Explained(tx)
        rows = await store.contacts(explained, org_id, CALLIDS, [])
    assert sum(row["calls"] for row in rows) == len(CALLIDS)
    assert not [node for node in explained.nodes if "Join Filter" in node]
