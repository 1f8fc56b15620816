"""Imports end in the same rows whatever happens to them on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ai_services.enrichment.analysis.pending import analyse_pending, pooled_analyzer
from ai_services.enrichment.importing import ImportCounts, import_batches, read_ahead
from ai_services.enrichment.imports import store as import_store
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import Batch, read_calls
from shared.data_access.relational.postgres import Postgres
from shared.errors import NotFound
from tests.ai_services.enrichment.records import TURNS, missed, record, write_jsonl

KEY = b"k" * 64


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Postgres]:
    postgres = Postgres(database_url, pool_size=6)
    yield postgres
    await postgres.close()


@pytest.fixture
async def org_id(db: Postgres) -> UUID:
    return await organisation(db)


async def organisation(db: Postgres, timezone: str = "Asia/Shanghai") -> UUID:
    async with db.system() as tx:
        org_id: UUID = await tx.fetchval(
            "INSERT INTO organisation (slug, name, timezone) VALUES ($1, $1, $2) RETURNING org_id",
            f"org-{uuid4().hex[:12]}",
            timezone,
        )
    return org_id


async def bring_in(db: Postgres, org_id: UUID, path: Path, **options: Any) -> ImportCounts:
    return await import_batches(
        db,
        org_id,
        PhoneCipher(KEY, org_id),
        read_calls(path, load_preset("calls"), **options),
        source=path.name,
        preset="calls",
    )


async def rows(db: Postgres, org_id: UUID) -> list[dict[str, Any]]:
    """Everything that an import decides, in order."""
    async with db.tenant(org_id) as tx:
        found = await tx.fetch(
            """SELECT c.callid, c.task_id, c.agent_id, c.user_id, c.customer_id, c.call_date,
                      c.started_at, c.duration_ms, c.bill_ms, c.rounds, c.level_name, c.hangup_by, c.call_status,
                      c.phone_masked, c.has_transcript, t.turns
               FROM call_record_enriched c LEFT JOIN call_transcript t USING (org_id, callid)
               WHERE org_id = $1 ORDER BY callid""",
            org_id,
        )
    return [dict(row) for row in found]


async def test_a_file_goes_in_and_comes_again_without_a_trace(db, org_id, tmp_path) -> None:
    path = write_jsonl(
        tmp_path / "calls.jsonl", [record("a", turns=TURNS), record("b"), missed("c")]
    )
    first = await bring_in(db, org_id, path)
    before = await rows(db, org_id)
    again = await bring_in(db, org_id, path)
    assert (first.inserted, first.updated, first.unchanged) == (3, 0, 0)
    assert (again.inserted, again.updated, again.unchanged) == (0, 0, 3)
    assert await rows(db, org_id) == before


async def test_a_corrected_record_updates_and_moves_its_local_date(db, org_id, tmp_path) -> None:
    path = write_jsonl(tmp_path / "calls.jsonl", [record("a")])
    await bring_in(db, org_id, path)
    write_jsonl(path, [record("a", started_at="2024-12-04T23:30:00Z", level_name="A")])
    counts = await bring_in(db, org_id, path)
    (row,) = await rows(db, org_id)
    assert (counts.inserted, counts.updated) == (0, 1)
    assert str(row["call_date"]) == "2024-12-05"  # 07:30 the next day in Shanghai
    assert row["level_name"] == "A"


async def test_the_last_of_several_rows_with_one_callid_wins(db, org_id, tmp_path) -> None:
    path = write_jsonl(
        tmp_path / "calls.jsonl", [record("a", rounds=n) for n in range(5)] + [record("b")]
    )
    one_batch = await bring_in(db, org_id, path)
    assert (one_batch.inserted, one_batch.duplicates) == (2, 4)
    other = await organisation(db)
    await bring_in(db, other, path, batch_rows=1)
    assert await rows(db, other) == await rows(db, org_id)
    assert (await rows(db, org_id))[0]["rounds"] == 4


async def test_phone_numbers_are_encrypted_and_masked(db, org_id, tmp_path) -> None:
    await bring_in(db, org_id, write_jsonl(tmp_path / "calls.jsonl", [record("a")]))
    async with db.tenant(org_id) as tx:
        row = await tx.fetchrow("SELECT * FROM call_record_enriched WHERE org_id = $1", org_id)
    assert row["phone_masked"] == "138****8000"
    assert b"13812348000" not in row["phone_cipher"]
    assert PhoneCipher(KEY, org_id).reveal(row["phone_cipher"]) == "+8613812348000"
    assert "13812348000" not in str(dict(row))


HOSTILE = [
    "Robert'); DROP TABLE call_record_enriched;--",
    "}) DETACH DELETE n //",
    "<script>alert(1)</script>",
    "😀👩‍👩‍👧 مرحبا שלום \u202etxet",
    '"quoted", comma\nnewline\ttab\\backslash \\N',
    "",
]


async def test_hostile_text_is_kept_to_the_letter(db, org_id, tmp_path) -> None:
    turns = [{"role": "customer", "at_ms": n, "text": text} for n, text in enumerate(HOSTILE)]
    ids = ["'; DROP TABLE x;--", "<b>1<b>", "😀", "NULL", 'a,b"c']
    path = write_jsonl(
        tmp_path / "calls.jsonl", [record(i, task_id=i, user_id=i, turns=turns) for i in ids]
    )
    counts = await bring_in(db, org_id, path)
    found = await rows(db, org_id)
    assert (counts.inserted, counts.rejected) == (len(ids), 0)
    assert {row["callid"] for row in found} == {row["task_id"] for row in found} == set(ids)
    assert all([turn["text"] for turn in row["turns"]] == HOSTILE for row in found)


async def test_a_transcript_of_200000_characters_goes_in_and_is_analysed(
    db, org_id, tmp_path
) -> None:
    turns = [{"role": "customer", "at_ms": None, "text": "不好 not good " * 20_000}]
    path = write_jsonl(tmp_path / "calls.jsonl", [record("a", turns=turns)])
    await bring_in(db, org_id, path)
    async with pooled_analyzer(1) as analyzer:
        assert await analyse_pending(db, org_id, analyzer) == 1


async def test_rejected_rows_are_kept_with_line_field_problem_and_fix(db, org_id, tmp_path) -> None:
    path = write_jsonl(
        tmp_path / "calls.jsonl",
        [record("a"), record("b", duration_ms=-5), record("c", started_at="2024-02-30T00:00:00Z")],
    )
    counts = await bring_in(db, org_id, path)
    async with db.tenant(org_id) as tx:
        kept = await tx.fetch("SELECT * FROM import_reject WHERE org_id = $1 ORDER BY line", org_id)
        run = await tx.fetchrow("SELECT * FROM import_run WHERE org_id = $1", org_id)
    assert (counts.inserted, counts.rejected) == (1, 2)
    assert [(row["line"], row["field"]) for row in kept] == [(2, "duration_ms"), (3, "started_at")]
    assert all(row["problem"] and row["fix"] and row["raw"] for row in kept)
    assert (run["inserted"], run["rejected"]) == (1, 2)
    assert run["finished_at"] is not None


async def test_rejects_without_end_are_counted_and_not_all_kept(db, org_id) -> None:
    async with db.tenant(org_id) as tx:
        import_id = await import_store.start_import(tx, org_id, "endless.csv", "none")
        for batch in range(3):
            rows = [(batch * 2 + at, "phone", "x", "is none", "send one", "raw") for at in (1, 2)]
            await import_store.keep_rejects(tx, org_id, import_id, rows, most=4)
            await import_store.count_import(tx, org_id, import_id, rejected=len(rows))
        kept = await import_store.rejects(tx, org_id, import_id, 0, 100)
        run = await import_store.get_import(tx, org_id, import_id)
    assert [row["line"] for row in kept] == [1, 2, 3, 4]
    assert run["rejected"] == 6


async def test_notes_are_kept_with_their_import_and_counted(db, org_id, tmp_path) -> None:
    path = write_jsonl(
        tmp_path / "calls.jsonl",
        [
            record("a", phone="anonymous", level_name="?"),
            record("b", phone="138****8000"),
            record("c", duration_ms=-1, phone="anonymous"),
        ],
    )
    counts = await bring_in(db, org_id, path)
    assert counts.noted == {"phone": 2, "level_name": 1}
    async with db.tenant(org_id) as tx:
        run = await import_store.get_import(tx, org_id, counts.import_id)
        kept = await import_store.notes(tx, org_id, counts.import_id, (0, 0), 100)
        after = await import_store.notes(
            tx, org_id, counts.import_id, (kept[0]["line"], kept[0]["number"]), 1
        )
    assert run["noted"] == {"phone": 2, "level_name": 1}
    assert [(note["line"], note["field"], note["value"]) for note in kept] == [
        (1, "level_name", "?"), (1, "phone", "anonymous"), (2, "phone", "138****8000"),
    ]  # fmt: skip
    assert [dict(note) for note in after] == [dict(kept[1])]


async def test_notes_without_end_are_counted_and_not_all_kept(db, org_id) -> None:
    async with db.tenant(org_id) as tx:
        import_id = await import_store.start_import(tx, org_id, "endless.csv", "none")
        for batch in range(3):
            rows = [(batch * 2 + at, "phone", "x", "is none", "send one") for at in (1, 2)]
            await import_store.keep_notes(tx, org_id, import_id, rows, most=4)
            await import_store.count_import(tx, org_id, import_id, noted={"phone": len(rows)})
        kept = await import_store.notes(tx, org_id, import_id, (0, 0), 100)
        run = await import_store.get_import(tx, org_id, import_id)
    assert [row["line"] for row in kept] == [1, 2, 3, 4]
    assert run["noted"] == {"phone": 6}


async def test_a_missing_transcript_keeps_the_stored_one_a_new_one_replaces_it(
    db, org_id, tmp_path
) -> None:
    path = write_jsonl(tmp_path / "calls.jsonl", [record("a", turns=TURNS)])
    await bring_in(db, org_id, path)
    async with pooled_analyzer(1) as analyzer:
        await analyse_pending(db, org_id, analyzer)
        await bring_in(db, org_id, write_jsonl(path, [record("a", rounds=7)]))
        (row,) = await rows(db, org_id)
        assert (row["rounds"], row["turns"]) == (7, TURNS)
        assert await analyse_pending(db, org_id, analyzer) == 0
        happy = [{"role": "customer", "at_ms": 0, "text": "非常满意，谢谢！"}]
        await bring_in(db, org_id, write_jsonl(path, [record("a", rounds=7, turns=happy)]))
        assert await analyse_pending(db, org_id, analyzer) == 1
    async with db.tenant(org_id) as tx:
        sentiment = await tx.fetchval(
            "SELECT sentiment FROM call_record_enriched WHERE org_id = $1", org_id
        )
    assert sentiment == "positive"


async def test_two_imports_of_overlapping_files_at_once(db, org_id, tmp_path) -> None:
    calls = [record(f"call-{n:05d}", turns=TURNS if n % 3 else None) for n in range(3000)]
    one = write_jsonl(tmp_path / "one.jsonl", calls[:2000])
    two = write_jsonl(tmp_path / "two.jsonl", list(reversed(calls[1000:])))
    results = await asyncio.gather(
        bring_in(db, org_id, one, batch_rows=150), bring_in(db, org_id, two, batch_rows=150)
    )
    clean = await organisation(db)
    await bring_in(db, clean, write_jsonl(tmp_path / "all.jsonl", calls))
    assert sum(result.inserted for result in results) == 3000
    assert await rows(db, org_id) == await rows(db, clean)


_IMPORTER = """
import asyncio, sys
from pathlib import Path
from uuid import UUID
from ai_services.enrichment.importing import import_batches
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import Batch, read_calls
from shared.data_access.relational.postgres import Postgres

async def main(url, org, path):
    db = Postgres(url, pool_size=2)
    batches = read_calls(Path(path), load_preset("calls"), batch_rows=200)
    told = lambda counts, batch: print(counts.inserted, flush=True)
    await import_batches(db, UUID(org), PhoneCipher(b"k" * 64, UUID(org)), batches,
                         source="x", preset="calls", on_progress=told)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_an_import_killed_in_the_middle_and_run_again_equals_a_clean_one(
    db, org_id, database_url, tmp_path
) -> None:
    calls = [record(f"call-{n:05d}", turns=TURNS) for n in range(4000)]
    path = write_jsonl(tmp_path / "calls.jsonl", calls)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _IMPORTER, database_url, str(org_id), str(path),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    while int(await process.stdout.readline()) < 800:
        pass
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    partial = len(await rows(db, org_id))
    assert 800 <= partial < 4000
    assert partial % 200 == 0  # whole batches only
    await bring_in(db, org_id, path)
    clean = await organisation(db)
    await bring_in(db, clean, path)
    assert await rows(db, org_id) == await rows(db, clean)


async def test_an_unknown_organisation_is_a_clear_error(db, tmp_path) -> None:
    path = write_jsonl(tmp_path / "calls.jsonl", [record("a")])
    with pytest.raises(NotFound):
        await bring_in(db, uuid4(), path)


async def test_every_changed_call_is_announced_once_per_projection(db, org_id, tmp_path) -> None:
    calls = [record(f"call-{n}") for n in range(50)]
    path = write_jsonl(tmp_path / "calls.jsonl", calls)
    await bring_in(db, org_id, path)
    await bring_in(db, org_id, path)
    async with db.system() as tx:
        events = await tx.fetch("SELECT projection, payload FROM outbox WHERE org_id = $1", org_id)
    for projection in ("search", "graph"):
        told = [c for e in events if e["projection"] == projection for c in e["payload"]["callids"]]
        assert sorted(told) == sorted(call["callid"] for call in calls)


@pytest.mark.slow
async def test_several_analysts_at_once_judge_each_call_once(db, org_id, tmp_path) -> None:
    calls = [record(f"call-{n:05d}", turns=TURNS) for n in range(1200)]
    await bring_in(db, org_id, write_jsonl(tmp_path / "calls.jsonl", calls))
    async with pooled_analyzer(1) as one, pooled_analyzer(1) as two:
        done = await asyncio.gather(
            analyse_pending(db, org_id, one), analyse_pending(db, org_id, two)
        )
    assert sum(done) == 1200
    async with db.tenant(org_id) as tx:
        row = await tx.fetchrow(
            """SELECT count(*) AS n, min(sentiment) AS sentiment, min(complaint_risk) AS complaint,
                      min(analyzer) AS analyzer, min(reason) AS reason
               FROM call_record_enriched WHERE org_id = $1 AND llm_analyzed_at IS NOT NULL""",
            org_id,
        )
    assert (row["n"], row["sentiment"], row["complaint"]) == (1200, "negative", "high")
    assert row["analyzer"].startswith("local")
    assert "投诉" in row["reason"] or "cancel" in row["reason"]


@pytest.mark.parametrize("preset", ["star", "bank_marketing"])
async def test_the_presets_bring_the_public_sets_in(db, org_id, shared_data, preset) -> None:
    file = {
        "star": "star_dialogues/star.jsonl.gz",
        "bank_marketing": "bank_marketing/bank_additional_full.csv.gz",
    }[preset]
    path = shared_data / file
    counts = await import_batches(
        db, org_id, PhoneCipher(KEY, org_id), read_calls(path, load_preset(preset)),
        source=path.name, preset=preset,
    )  # fmt: skip
    expected = {"star": 4989, "bank_marketing": 30891}[preset]
    assert counts.rows == expected
    assert counts.rejected == {"star": 93, "bank_marketing": 0}[preset]
    assert counts.inserted == expected - counts.rejected


async def test_what_is_in_already_is_passed_over_a_batch_at_a_time(org_id, tmp_path) -> None:
    """Whoever goes on with a long file can be stopped meanwhile."""
    path = write_jsonl(tmp_path / "calls.jsonl", [record(f"call-{n:04d}") for n in range(1000)])
    cipher, seen = PhoneCipher(KEY, org_id), list[int]()

    def stop(batch: Batch) -> None:
        seen.append(batch.last_line)
        if len(seen) == 3:
            raise NotFound("Enough.")

    def batches() -> Iterator[Batch]:
        return read_calls(path, load_preset("calls"), batch_rows=100)

    with pytest.raises(NotFound):
        await anext(read_ahead(batches(), cipher, 800, stop))
    assert seen == [100, 200, 300]
    passed: list[Batch] = []
    left = [batch async for batch, _ in read_ahead(batches(), cipher, 850, passed.append)]
    assert len(passed) == 8
    assert [batch.frame["line"][0] for batch in left] == [851, 901]
