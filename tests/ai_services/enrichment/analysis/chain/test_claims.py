"""Who takes over from a killed process has what it claimed, and what can't be judged holds nobody up."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from ai_services.enrichment.analysis.chain import store
from ai_services.enrichment.analysis.chain.first_look import FirstLook
from ai_services.enrichment.analysis.chain.rules import Rules
from ai_services.enrichment.analysis.pending import analyse_pending
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.analysis.chain.bench import COMPLAINS, Unsure, spoken
from tests.ai_services.enrichment.records import write_jsonl
from tests.ai_services.enrichment.test_importing import bring_in, organisation

FIRST = FirstLook(Rules("judge"), "llm:judge")
NEVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


@dataclass
class Desk:
    """An organisation whose calls wait for a model that nobody asks."""

    db: Postgres
    org_id: UUID
    folder: Path

    async def bring(self, *callids: str, words: str = COMPLAINS) -> None:
        records = [spoken(callid, f"{callid}: {words}") for callid in callids]
        await bring_in(self.db, self.org_id, write_jsonl(self.folder / "calls.jsonl", records))
        await analyse_pending(self.db, self.org_id, Unsure(), first=FIRST)

    async def left_behind(self, *callids: str, lease: str = "0 seconds") -> None:
        """As by a process that was to ask models about them."""
        async with self.db.tenant(self.org_id) as tx:
            await tx.execute(
                """INSERT INTO analysis_claim (org_id, callids, lease_until, by_models)
                   VALUES ($1, $2, clock_timestamp() + $3::text::interval, true)""",
                self.org_id, list(callids), lease,
            )  # fmt: skip

    async def claimed(self, limit: int) -> list[str] | None:
        async with self.db.tenant(self.org_id) as tx:
            claim = await store.claim(tx, self.org_id, limit, 30.0)
        return None if claim is None else [call["callid"] for call in claim.calls]

    async def run(self, statement: str) -> int:
        async with self.db.system() as tx:
            return await tx.execute(statement)

    async def waits(self) -> int:
        async with self.db.tenant(self.org_id) as tx:
            return await store.waited_before(tx, self.org_id, NEVER)


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    db = Postgres(database_url, pool_size=4)
    yield Desk(db, await organisation(db), tmp_path)
    await db.close()


async def test_each_claim_of_a_killed_process_is_taken_over_as_it_was(desk: Desk) -> None:
    await desk.bring(*"abcdefgh")
    await desk.left_behind("g", "e")
    await desk.left_behind("h", "d")
    await desk.bring("i")  # the first look at it takes nothing over
    assert await desk.claimed(3) == ["g", "e", "a"]
    assert await desk.claimed(3) == ["h", "d", "b"]
    assert await desk.claimed(3) == ["c", "f", "i"]
    assert await desk.claimed(3) is None


async def test_a_claim_of_what_is_done_gives_way_to_the_next(desk: Desk) -> None:
    await desk.bring("a", "b")
    await desk.left_behind("gone")
    await desk.left_behind("b")
    assert await desk.claimed(1) == ["b"]
    assert await desk.claimed(1) == ["a"]


async def test_calls_without_a_transcript_hold_nobody_up(desk: Desk) -> None:
    await desk.bring(*"abcdef")
    await desk.run("DELETE FROM call_transcript WHERE callid < 'd'")
    assert await desk.waits() == 3
    assert await desk.claimed(2) == ["d", "e"]


async def test_a_corrected_call_does_not_wait_for_the_model_that_judges_what_it_was(
    desk: Desk,
) -> None:
    await desk.bring("a")
    await desk.left_behind("a", lease="1 hour")
    await desk.bring("a", words="非常满意")
    async with desk.db.tenant(desk.org_id) as tx:
        step = await tx.fetchval("SELECT step FROM call_insight")
    assert step == "fallback"
