"""Each transcript that waits is judged once and saved once, whatever becomes of the workers."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from ai_services.enrichment.analysis import store
from ai_services.enrichment.analysis.local import Analysis, Turn
from ai_services.enrichment.analysis.pending import (
    Discarded,
    analyse_batch,
    analyse_pending,
    pooled_analyzer,
    to_turns,
)
from shared.data_access.relational.postgres import Postgres
from shared.errors import StoreUnavailable
from tests.ai_services.enrichment.records import TURNS, record, write_jsonl
from tests.ai_services.enrichment.test_events import LISTENED, heard
from tests.ai_services.enrichment.test_importing import bring_in, organisation
from tests.contract.proxy import proxied

HAPPY = [{"role": "customer", "at_ms": 0, "text": "非常满意，谢谢！"}]
SHORT_S = 1.0  # a lease that a loaded machine keeps, and that can be waited for


class Analyst:
    """Quotes the last turn; waits for `gate` before it answers and says when it has begun."""

    def __init__(self, name: str = "analyst", *, gate: bool = False) -> None:
        self.name = name
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.judged: list[str] = []
        if not gate:
            self.gate.set()

    async def analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
        self.begun.set()
        await self.gate.wait()
        said = [turns[-1].text for turns in transcripts]
        self.judged += said
        return [Analysis("neutral", 0.5, "low", "low", text, self.name) for text in said]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Postgres]:
    postgres = Postgres(database_url, pool_size=4, topics=LISTENED)
    yield postgres
    await postgres.close()


@pytest.fixture
async def org_id(db: Postgres) -> UUID:
    return await organisation(db)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def spoken(callid: str, text: str | None = None) -> dict[str, object]:
    return record(callid, turns=[{"role": "customer", "at_ms": 0, "text": text or callid}])


async def saved(db: Postgres, org_id: UUID) -> dict[str, tuple[str, str]]:
    """callid → (what was quoted, by whom) of calls that have an analysis."""
    async with db.tenant(org_id) as tx:
        rows = await tx.fetch(
            """SELECT callid, reason, analyzer FROM call_record_enriched
               WHERE org_id = $1 AND llm_analyzed_at IS NOT NULL""",
            org_id,
        )
    return {row["callid"]: (row["reason"], row["analyzer"]) for row in rows}


async def claims(db: Postgres) -> int:
    async with db.system() as tx:
        return await tx.fetchval("SELECT count(*) FROM analysis_claim")


class Discards:
    """Counts what was not saved, by reason."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    def __call__(self, reason: Discarded, calls: int) -> None:
        self.told[reason] += calls


async def told(db: Postgres) -> Counter[str]:
    """How often each call's analysis was announced."""
    return Counter(
        callid
        for topic, payload in await heard(db)
        if topic == "analyses"
        for callid in payload["callids"]
    )


async def test_no_connection_is_held_while_a_batch_is_judged(
    database_url, db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a")]))
    one = Postgres(database_url, pool_size=1)
    analyst = Analyst(gate=True)
    work = asyncio.create_task(analyse_batch(one, org_id, analyst))
    await analyst.begun.wait()
    async with one.tenant(org_id) as tx:
        open_elsewhere = await tx.fetchval(
            """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND state LIKE 'idle in transaction%'"""
        )
    assert open_elsewhere == 0
    analyst.gate.set()
    assert await work == 1
    await one.close()


async def test_workers_share_what_waits_and_judge_each_call_once(db, org_id, path) -> None:
    callids = [f"call-{n:04d}" for n in range(2600)]
    await bring_in(db, org_id, write_jsonl(path, [spoken(callid) for callid in callids]))
    analysts = [Analyst(f"analyst-{n}") for n in range(4)]
    done = await asyncio.gather(*(analyse_pending(db, org_id, analyst) for analyst in analysts))
    assert sum(done) == 2600
    assert sorted(text for analyst in analysts for text in analyst.judged) == callids
    assert await told(db) == Counter(callids)
    assert await claims(db) == 0


async def test_what_is_claimed_is_nobody_elses_until_it_is_given_back(db, org_id, path) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a"), spoken("b")]))
    slow = Analyst(gate=True)
    work = asyncio.create_task(analyse_batch(db, org_id, slow))
    await slow.begun.wait()
    assert await analyse_batch(db, org_id, Analyst()) is None
    work.cancel()
    with suppress(asyncio.CancelledError):
        await work
    assert await claims(db) == 0
    assert await analyse_batch(db, org_id, Analyst("next")) == 2


class Broken:
    name = "broken"

    async def analyze(self, transcripts: Sequence[Sequence[Turn]]) -> list[Analysis]:
        raise ValueError(len(transcripts))


async def test_a_batch_whose_analysis_fails_is_free_at_once(db, org_id, path) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a")]))
    with pytest.raises(ValueError, match="1"):
        await analyse_batch(db, org_id, Broken())
    assert await claims(db) == 0
    assert await analyse_pending(db, org_id, Analyst()) == 1


async def test_a_call_whose_transcript_was_taken_away_holds_nobody_up(db, org_id, path) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a"), spoken("b")]))
    async with db.tenant(org_id) as tx:
        await tx.execute("DELETE FROM call_transcript WHERE callid = 'a'")
    async with asyncio.timeout(10):
        assert await analyse_pending(db, org_id, Analyst()) == 1
    assert await saved(db, org_id) == {"b": ("b", "analyst")}


async def test_a_claim_lasts_as_long_as_its_worker_works(db, org_id, path) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a")]))
    slow = Analyst("slow", gate=True)
    work = asyncio.create_task(analyse_batch(db, org_id, slow, lease=SHORT_S))
    await slow.begun.wait()
    await asyncio.sleep(3 * SHORT_S)
    assert await analyse_batch(db, org_id, Analyst("eager")) is None
    slow.gate.set()
    assert await work == 1
    assert await saved(db, org_id) == {"a": ("a", "slow")}


_WORKER = """
import asyncio, sys
from uuid import UUID
from ai_services.enrichment.analysis.pending import analyse_batch
from shared.data_access.relational.postgres import Postgres
from tests.ai_services.enrichment.analysis.test_pending import Analyst, SHORT_S
from tests.ai_services.enrichment.test_events import LISTENED

class Slow(Analyst):
    async def analyze(self, transcripts):
        print("judging", flush=True)
        await asyncio.sleep(SHORT_S)
        return await super().analyze(transcripts)

async def main(url, org):
    db = Postgres(url, pool_size=2, topics=LISTENED)
    told = lambda reason, calls: print(reason, calls, flush=True)
    print(await analyse_batch(db, UUID(org), Slow("slow"), told, lease=SHORT_S), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def worker(database_url: str, org_id: UUID) -> asyncio.subprocess.Process:
    """Another process that has claimed a batch and judges it for a while."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WORKER, database_url, str(org_id), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"judging\n"
    return process


async def test_what_a_killed_worker_had_claimed_comes_back_after_its_lease(
    database_url, db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a"), spoken("b")]))
    killed = await worker(database_url, org_id)
    killed.kill()
    await killed.wait()
    assert await analyse_batch(db, org_id, Analyst()) is None
    await asyncio.sleep(SHORT_S * 1.5)
    assert await analyse_pending(db, org_id, Analyst("next")) == 2
    assert await told(db) == Counter(["a", "b"])
    assert await claims(db) == 0


async def test_a_stalled_worker_that_comes_back_late_saves_nothing(
    database_url, db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a"), spoken("b")]))
    stalled = await worker(database_url, org_id)
    stalled.send_signal(signal.SIGSTOP)
    await asyncio.sleep(SHORT_S * 1.5)
    assert await analyse_pending(db, org_id, Analyst("fresh")) == 2
    stalled.send_signal(signal.SIGCONT)
    output, _ = await stalled.communicate()
    assert b"taken_over 2" in output
    assert output.splitlines()[-1] == b"0"
    assert await saved(db, org_id) == {"a": ("a", "fresh"), "b": ("b", "fresh")}
    assert await told(db) == Counter(["a", "b"])


async def test_a_stalled_worker_takes_nothing_from_who_works_on_its_batch_now(
    database_url, db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a")]))
    stalled = await worker(database_url, org_id)
    stalled.send_signal(signal.SIGSTOP)
    await asyncio.sleep(SHORT_S * 1.5)
    fresh = Analyst("fresh", gate=True)
    work = asyncio.create_task(analyse_batch(db, org_id, fresh))
    await fresh.begun.wait()
    stalled.send_signal(signal.SIGCONT)
    await stalled.communicate()
    assert await saved(db, org_id) == {}
    fresh.gate.set()
    assert await work == 1
    assert await told(db) == Counter(["a"])


async def test_a_lease_that_ends_while_nobody_wants_the_batch_does_no_harm(
    database_url, db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a")]))
    stalled = await worker(database_url, org_id)
    stalled.send_signal(signal.SIGSTOP)
    await asyncio.sleep(SHORT_S * 1.5)
    stalled.send_signal(signal.SIGCONT)
    output, _ = await stalled.communicate()
    assert output == b"1\n"
    assert await saved(db, org_id) == {"a": ("a", "slow")}


async def test_a_call_corrected_meanwhile_does_not_get_the_old_text_s_analysis(
    db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a", "old"), spoken("b"), spoken("c")]))
    slow, discards = Analyst(gate=True), Discards()
    work = asyncio.create_task(analyse_batch(db, org_id, slow, discards))
    await slow.begun.wait()
    # `a` has another text now, `b` only another figure.
    await bring_in(
        db, org_id, write_jsonl(path, [spoken("a", "new"), {**spoken("b"), "rounds": 9}])
    )
    slow.gate.set()
    assert await work == 2
    assert discards.told == {"corrected": 1}
    assert set(await saved(db, org_id)) == {"b", "c"}
    assert await analyse_pending(db, org_id, Analyst()) == 1
    assert (await saved(db, org_id))["a"][0] == "new"
    assert await told(db) == Counter(["a", "b", "c"])


async def test_saving_waits_for_a_correction_that_is_under_way(db, org_id, path, tmp_path) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a", "old")]))
    slow, discards = Analyst(gate=True), Discards()
    work = asyncio.create_task(analyse_batch(db, org_id, slow, discards))
    await slow.begun.wait()
    async with db.tenant(org_id) as tx:
        # As an import does: the call first, though nothing of it changes, then its transcript.
        await tx.execute(
            "SELECT FROM call_record_enriched WHERE org_id = $1 FOR NO KEY UPDATE", org_id
        )
        slow.gate.set()
        await _somebody_waits_for_a_lock(db)
        await tx.execute(
            """UPDATE call_transcript SET turns = '[{"role": "customer", "text": "new"}]'
               WHERE org_id = $1""",
            org_id,
        )
    assert await work == 0
    assert discards.told == {"corrected": 1}
    assert await saved(db, org_id) == {}


async def test_a_correction_waits_for_the_saving_and_forgets_what_was_saved(
    db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a", "old")]))
    async with db.tenant(org_id) as tx:
        claim = await store.claim(tx, org_id, 10, 30.0)
    assert claim is not None
    async with db.tenant(org_id) as tx:
        assert await store.end_claim(tx, org_id, claim.number)
        row = ("a", claim.calls[0]["version"], "neutral", 0.5, "low", "low", "old", "x")
        assert await store.save_analyses(tx, org_id, [row]) == ["a"]
        correction = asyncio.create_task(
            bring_in(db, org_id, write_jsonl(path, [spoken("a", "new")]))
        )
        await _somebody_waits_for_a_lock(db)
    await correction
    assert await saved(db, org_id) == {}
    assert await analyse_pending(db, org_id, Analyst()) == 1
    assert await saved(db, org_id) == {"a": ("new", "analyst")}


async def _somebody_waits_for_a_lock(db: Postgres) -> None:
    async with asyncio.timeout(10):
        while True:
            async with db.system() as tx:
                waiting = await tx.fetchval(
                    """SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
                       WHERE datname = current_database() AND NOT granted"""
                )
                blocked = await tx.fetchval(
                    """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                       AND cardinality(pg_blocking_pids(pid)) > 0"""
                )
            if waiting or blocked:
                return
            await asyncio.sleep(0.01)


async def test_postgres_going_away_between_loses_nothing_and_saves_nothing_twice(
    database_url, db, org_id, path
) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a"), spoken("b")]))
    async with proxied(database_url) as (url, proxy):
        far = Postgres(url, pool_size=2, acquire_timeout=0.3, topics=LISTENED)
        slow = Analyst("slow", gate=True)
        work = asyncio.create_task(analyse_batch(far, org_id, slow, lease=SHORT_S))
        await slow.begun.wait()
        await proxy.cut()
        slow.gate.set()
        with pytest.raises(StoreUnavailable):
            await work
        await far.close()
    assert await saved(db, org_id) == {}
    await asyncio.sleep(SHORT_S * 1.5)
    assert await analyse_pending(db, org_id, Analyst("next")) == 2
    assert await told(db) == Counter(["a", "b"])


async def test_postgres_away_for_a_moment_costs_no_claim(database_url, db, org_id, path) -> None:
    await bring_in(db, org_id, write_jsonl(path, [spoken("a")]))
    async with proxied(database_url) as (url, proxy):
        far = Postgres(url, pool_size=2, acquire_timeout=0.3, topics=LISTENED)
        slow = Analyst("slow", gate=True)
        work = asyncio.create_task(analyse_batch(far, org_id, slow, lease=3.0))
        await slow.begun.wait()
        await proxy.cut()
        await asyncio.sleep(1.2)  # a renewal fails
        await proxy.start()
        await asyncio.sleep(2.5)  # the next goes through
        slow.gate.set()
        assert await work == 1
        await far.close()
    assert await told(db) == Counter(["a"])


async def test_whatever_is_corrected_while_others_judge_ends_with_the_analysis_of_its_text(
    db, org_id, tmp_path
) -> None:
    callids = [f"call-{n:03d}" for n in range(120)]
    corrected = asyncio.Event()

    async def bring(part: int) -> None:
        for version in range(6):
            mine = [spoken(c, f"{c} {part}.{version}") for c in callids[part * 40 :][:80]]
            await bring_in(db, org_id, write_jsonl(tmp_path / f"{part}.jsonl", mine))

    async def judge(analyst: Analyst) -> None:
        while not corrected.is_set():
            await analyse_pending(db, org_id, analyst)
            await asyncio.sleep(0)

    analysts = [asyncio.create_task(judge(Analyst(f"analyst-{n}"))) for n in range(2)]
    await asyncio.gather(bring(0), bring(1))
    corrected.set()
    await asyncio.gather(*analysts)
    await analyse_pending(db, org_id, Analyst())
    async with db.tenant(org_id) as tx:
        rows = await tx.fetch("SELECT callid, turns FROM call_transcript WHERE org_id = $1", org_id)
    said = {row["callid"]: row["turns"][-1]["text"] for row in rows}
    assert {callid: quoted for callid, (quoted, _) in (await saved(db, org_id)).items()} == said
    assert await claims(db) == 0


async def test_an_analyzer_is_busy_while_it_is_asked() -> None:
    """Or its processes would be ended under somebody's transcripts."""
    async with pooled_analyzer(1) as analyzer:
        asked = asyncio.create_task(analyzer.analyze([to_turns(TURNS)] * 40))
        await asyncio.sleep(0)
        assert analyzer.busy
        assert len(await asked) == 40
        assert not analyzer.busy
