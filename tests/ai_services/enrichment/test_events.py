"""Each saved change of a call is announced exactly once, and nothing else is."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ai_services.enrichment import store
from ai_services.enrichment.analysis.pending import analyse_pending, pooled_analyzer
from ai_services.enrichment.analysis.store import count_unanalysed
from ai_services.enrichment.events import announce_analyses, announce_calls
from ai_services.enrichment.importing import stage
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.read_file import read_records
from shared.data_access.outbox.topics import TOPICS
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.records import TURNS, record, write_jsonl
from tests.ai_services.enrichment.test_importing import KEY, bring_in, organisation

LISTENER = "portraits"
LISTENED = {"calls": (*TOPICS["calls"], LISTENER), "analyses": (LISTENER,)}
HAPPY = [{"role": "customer", "at_ms": 0, "text": "非常满意，谢谢！"}]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Postgres]:
    """With a listener to whatever is said of calls."""
    postgres = Postgres(database_url, pool_size=4, topics=LISTENED)
    yield postgres
    await postgres.close()


@pytest.fixture
async def org_id(db: Postgres) -> UUID:
    return await organisation(db)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


async def heard(db: Postgres, projection: str = LISTENER) -> list[tuple[str, dict[str, Any]]]:
    """(topic, payload) of what waits for a projection, in order; takes it away."""
    async with db.system() as tx:
        rows = await tx.fetch(
            """WITH told AS (DELETE FROM outbox WHERE projection = $1 RETURNING id, topic, key, payload)
               SELECT * FROM told ORDER BY id""",
            projection,
        )
    assert {row["key"] for row in rows} <= {"calls"}
    return [(row["topic"], row["payload"]) for row in rows]


async def analyse(db: Postgres, org_id: UUID) -> int:
    async with pooled_analyzer(1) as analyzer:
        return await analyse_pending(db, org_id, analyzer)


async def test_what_came_in_is_told_once_and_not_again(db, org_id, path) -> None:
    write_jsonl(path, [record("a"), record("b", turns=TURNS)])
    await bring_in(db, org_id, path)
    ((topic, payload),) = await heard(db)
    assert (topic, sorted(payload.pop("callids")), payload) == ("calls", ["a", "b"], {})
    await bring_in(db, org_id, path)
    assert await heard(db) == []


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"rounds": 9}, {}),
        ({"turns": TURNS}, {}),
        (
            {"started_at": "2024-12-04T23:30:00Z"},
            {"left_days": [["account-1", "2024-12-04"]]},
        ),
        (
            {"user_id": "account-2"},
            {"left": [["account-1", "customer-1"]], "left_days": [["account-1", "2024-12-04"]]},
        ),
        ({"customer_id": "customer-2"}, {"left": [["account-1", "customer-1"]]}),
    ],
    ids=["figures", "transcript", "day", "account", "customer"],
)
async def test_a_correction_is_told_once_with_what_the_call_left(
    db, org_id, path, change, left
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [record("a"), record("b")]))
    await heard(db)
    write_jsonl(path, [record("a", **change), record("b")])
    await bring_in(db, org_id, path)
    assert await heard(db) == [("calls", {"callids": ["a"], **left})]
    await bring_in(db, org_id, path)
    assert await heard(db) == []


async def test_an_analysis_is_told_once_and_only_to_who_reads_it(db, org_id, path) -> None:
    await bring_in(db, org_id, write_jsonl(path, [record("a", turns=TURNS), record("b")]))
    for projection in (LISTENER, *TOPICS["calls"]):
        await heard(db, projection)
    assert await analyse(db, org_id) == 1
    assert await heard(db) == [("analyses", {"callids": ["a"]})]
    assert await analyse(db, org_id) == 0
    for projection in (LISTENER, *TOPICS["calls"]):
        assert await heard(db, projection) == []


async def test_a_new_transcript_and_its_analysis_are_told_once_each_in_order(
    db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [record("a", turns=TURNS)]))
    await analyse(db, org_id)
    await heard(db)
    await bring_in(db, org_id, write_jsonl(path, [record("a", turns=HAPPY)]))
    assert await analyse(db, org_id) == 1
    assert await heard(db) == [("calls", {"callids": ["a"]}), ("analyses", {"callids": ["a"]})]


async def test_a_transaction_that_fails_tells_nothing(db, org_id, path) -> None:
    await bring_in(db, org_id, write_jsonl(path, [record("a", turns=TURNS)]))
    await heard(db)
    batch = read_records([b'{"callid": "b", "user_id": "u", "started_at": "2024-12-04T09:30:00Z"}'])
    cipher = PhoneCipher(KEY, org_id)
    staged = stage(batch.frame, cipher)

    async def change_and_fail() -> None:
        async with db.tenant(org_id) as tx:
            merged = await store.merge_calls(
                tx, org_id, "UTC", staged, cipher.digests, transcripts=False
            )
            await announce_calls(tx, org_id, merged)
            await announce_analyses(tx, org_id, ["a"])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change_and_fail()
    assert await heard(db) == []


async def test_a_topic_that_nobody_listens_to_writes_nothing(database_url, org_id, path) -> None:
    db = Postgres(database_url, topics={"calls": (), "analyses": ()})
    await bring_in(db, org_id, write_jsonl(path, [record("a", turns=TURNS)]))
    await analyse(db, org_id)
    async with db.system() as tx:
        assert await tx.fetchval("SELECT count(*) FROM outbox") == 0
    await db.close()


_WORKER = """
import asyncio, sys
from pathlib import Path
from uuid import UUID
from ai_services.enrichment.analysis.pending import analyse_pending, pooled_analyzer
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.test_events import LISTENED
from tests.ai_services.enrichment.test_importing import bring_in

async def main(url, org, path):
    db = Postgres(url, pool_size=2, topics=LISTENED)
    await bring_in(db, UUID(org), Path(path), batch_rows=500)
    async with pooled_analyzer(1) as analyzer:
        await analyse_pending(db, UUID(org), analyzer, lease=2.0)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "told", [*(pytest.param(one, marks=pytest.mark.slow) for one in (1, 3, 7)), 5]
)
async def test_a_worker_killed_anywhere_loses_no_event_and_tells_none_twice(
    db, org_id, database_url, path, told
) -> None:
    callids = [f"call-{n:05d}" for n in range(2000)]
    write_jsonl(path, [record(callid, turns=TURNS) for callid in callids])
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WORKER, database_url, str(org_id), str(path)
    )
    while await _waiting(db) < told:
        assert worker.returncode is None
        await asyncio.sleep(0.002)
    os.kill(worker.pid, signal.SIGKILL)
    await worker.wait()
    await _as_the_tables_say(db, org_id)
    await bring_in(db, org_id, path, batch_rows=500)
    await analyse(db, org_id)
    async with asyncio.timeout(60):
        while await _unanalysed(db, org_id):  # until the lease of what the killed one held is over
            await asyncio.sleep(0.2)
            await analyse(db, org_id)
    await _as_the_tables_say(db, org_id)
    named = Counter((topic, c) for topic, payload in await heard(db) for c in payload["callids"])
    assert named == Counter((topic, c) for topic in ("calls", "analyses") for c in callids)


async def _waiting(db: Postgres) -> int:
    async with db.system() as tx:
        return await tx.fetchval("SELECT count(*) FROM outbox WHERE projection = $1", LISTENER)


async def _unanalysed(db: Postgres, org_id: UUID) -> int:
    async with db.tenant(org_id) as tx:
        return await count_unanalysed(tx, org_id)


async def _as_the_tables_say(db: Postgres, org_id: UUID) -> None:
    """What was told and what was saved are the same calls, each told once."""
    async with db.tenant(org_id) as tx:
        told = await tx.fetch(
            """SELECT topic, jsonb_array_elements_text(payload -> 'callids') AS callid
               FROM outbox WHERE projection = $1 ORDER BY 1, 2""",
            LISTENER,
        )
        kept = await tx.fetch(
            """SELECT 'calls' AS topic, callid FROM call_record_enriched WHERE org_id = $1
               UNION ALL SELECT 'analyses', callid FROM call_record_enriched
               WHERE org_id = $1 AND llm_analyzed_at IS NOT NULL ORDER BY 1, 2""",
            org_id,
        )
    assert [tuple(row.values()) for row in told] == [tuple(row.values()) for row in kept]
