"""Legs are kept and joined with those that came before, whatever they come with and when."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_services.enrichment.customers.digests import Digests
from ai_services.enrichment.customers.erasing import Order, erase_call
from ai_services.enrichment.importing import ImportCounts, import_batches
from ai_services.enrichment.imports.store import get_import, imports
from ai_services.enrichment.legs import store
from ai_services.enrichment.legs.joining import pages
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.preset import Preset, parse_preset
from ai_services.enrichment.reading.read_file import read_calls
from ai_services.enrichment.staging import stage
from shared.data_access.relational.postgres import Postgres
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import Folder, as_csv, as_jsonl
from tests.ai_services.enrichment.calls_files import rows as read_rows
from tests.ai_services.enrichment.test_importing import KEY, organisation, rows

MAP = """
timezone = "Asia/Shanghai"
duration_unit = "s"
group_by = "linkedid"
ignore = ["sequence"]
[columns]
callid = "uniqueid"
user_id = "dst"
phone = "src"
started_at = "calldate"
duration_ms = "duration"
bill_ms = "billsec"
call_status = "disposition"
[values.call_status]
"ANSWERED" = "connected"
"NO ANSWER" = "no_answer"
"BUSY" = "busy"
"""
BY_CONTENT = parse_preset("legs.toml", MAP)
BY_SEQUENCE = parse_preset("legs.toml", MAP.replace('ignore = ["sequence"]', 'leg_id = "sequence"'))


def leg(
    call: int, own: int, dst: str, at: str, lengths: tuple[int, int], disposition: str, **more: Any
) -> dict[str, Any]:
    return {
        "linkedid": f"1709619600.{call}",
        "uniqueid": f"1709619600.{own}",
        "sequence": own,
        "calldate": f"2024-03-05 {at}",
        "src": "13812348000",
        "dst": dst,
        "duration": lengths[0],
        "billsec": lengths[1],
        "disposition": disposition,
        **more,
    }


# A queue call answered by 602 and passed on to 700; a call that rang out; one of a single row.
QUEUE = [
    leg(1, 1, "600", "14:20:00", (73, 65), "ANSWERED"),
    leg(1, 2, "601", "14:20:01", (7, 0), "NO ANSWER"),
    leg(1, 3, "602", "14:20:01", (72, 64), "ANSWERED"),
    leg(1, 4, "603", "14:20:01", (7, 0), "NO ANSWER"),
    leg(1, 5, "700", "14:21:13", (60, 55), "ANSWERED"),
]
RANG_OUT = [
    leg(6, 6, "601", "14:30:00", (20, 0), "NO ANSWER"),
    leg(6, 7, "602", "14:30:20", (1, 0), "BUSY"),
]
SINGLE = [leg(8, 8, "601", "14:40:00", (30, 25), "ANSWERED")]
ALL = [*QUEUE, *RANG_OUT, *SINGLE]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Postgres]:
    postgres = Postgres(database_url, pool_size=6)
    yield postgres
    await postgres.close()


@pytest.fixture
async def org_id(db: Postgres) -> UUID:
    return await organisation(db)


async def bring_in(
    db: Postgres,
    org_id: UUID,
    path: Path,
    legs: Sequence[dict[str, Any]],
    preset: Preset = BY_CONTENT,
    **options: Any,
) -> ImportCounts:
    path.write_bytes(as_csv(legs))
    batches = read_calls(path, preset, **options)
    cipher = PhoneCipher(KEY, org_id)
    return await import_batches(db, org_id, cipher, batches, source=path.name, preset=preset.name)


async def calls(db: Postgres, org_id: UUID) -> list[dict[str, Any]]:
    """But for the customers' ids, which are made of numbers, differently in each organisation."""
    return [{**row, "customer_id": None} for row in await rows(db, org_id)]


async def legs_of(db: Postgres, org_id: UUID, callid: str) -> list[dict[str, Any]]:
    async with db.tenant(org_id) as tx:
        return [dict(row) for row in await store.legs(tx, org_id, callid, 100)]


@given(st.lists(st.integers(1, 9)), st.integers(1, 12))
def test_calls_are_joined_in_pages_of_what_their_legs_weigh(weights: list[int], most: int) -> None:
    weighed = [(str(at), weight) for at, weight in enumerate(weights)]
    found = list(pages(weighed, most))
    assert [callid for page in found for callid in page] == [callid for callid, _ in weighed]
    of = dict(weighed)
    for page, following in pairwise(found):
        assert sum(map(of.__getitem__, [*page, following[0]])) > most
    assert all(len(page) == 1 or sum(map(of.__getitem__, page)) <= most for page in found)


async def test_what_the_legs_of_a_call_weigh_is_known_before_they_are_read(
    db, org_id, tmp_path
) -> None:
    said = [{"role": "agent", "at_ms": 0, "text": "".join(map(chr, range(0x4E00, 0x6200)))}]
    heavy = [{**one, "turns": said} for one in (QUEUE[4], QUEUE[0])]
    await bring_in(db, org_id, tmp_path / "cdr.csv", [*heavy, *RANG_OUT], BY_SEQUENCE)
    cipher = PhoneCipher(KEY, org_id)
    [batch] = read_calls(tmp_path / "cdr.csv", BY_SEQUENCE)
    async with db.tenant(org_id) as tx:
        await store.stage(tx, org_id, stage(batch.frame, cipher))
        (_, first), (_, second) = await store.staged_calls(tx, org_id)
        found = await store.legs_of(tx, org_id, [*(one["linkedid"] for one in heavy)], 1)
    assert [row["turns"] is not None for row in sorted(found, key=itemgetter("started_at"))] == [
        True, False,
    ]  # fmt: skip
    assert first > 2 * 2 * 2 * len(said[0]["text"])  # two legs, staged and kept
    assert 4 * 200 <= second < 1_000


async def transcripts(db: Postgres, org_id: UUID) -> list[Any]:
    async with db.tenant(org_id) as tx:
        return [row["turns"] for row in await tx.fetch("SELECT turns FROM call_transcript")]


async def test_legs_become_calls(db, org_id, tmp_path) -> None:
    counts = await bring_in(db, org_id, tmp_path / "cdr.csv", ALL)
    assert (counts.rows, counts.inserted, counts.duplicates) == (8, 3, 5)
    queue, rang_out, single = await rows(db, org_id)
    assert queue["callid"] == "1709619600.1"
    assert (queue["call_status"], queue["user_id"]) == ("connected", "600")
    # From 14:20:00 to 14:22:13; talked from 14:20:08 to :13 and from 14:21:18 to 14:22:13.
    assert (queue["duration_ms"], queue["bill_ms"]) == (133_000, 120_000)
    assert queue["phone_masked"] == "138****8000"
    assert (rang_out["call_status"], rang_out["user_id"]) == ("busy", "601")
    assert (rang_out["duration_ms"], rang_out["bill_ms"]) == (21_000, 0)
    assert (single["duration_ms"], single["bill_ms"]) == (30_000, 25_000)
    kept = await legs_of(db, org_id, queue["callid"])
    assert [one["user_id"] for one in kept] == ["600", "601", "603", "602", "700"]
    assert {one["phone_masked"] for one in kept} == {"138****8000"}


@pytest.mark.parametrize("preset", [BY_CONTENT, BY_SEQUENCE], ids=["content", "sequence"])
async def test_the_same_file_again_changes_nothing(db, org_id, tmp_path, preset) -> None:
    await bring_in(db, org_id, tmp_path / "cdr.csv", ALL, preset)
    before = await rows(db, org_id)
    counts = await bring_in(db, org_id, tmp_path / "cdr.csv", [*ALL, *QUEUE], preset)
    assert (counts.inserted, counts.updated, counts.unchanged) == (0, 0, 3)
    assert await rows(db, org_id) == before
    assert len(await legs_of(db, org_id, "1709619600.1")) == 5


async def test_legs_that_come_another_day_join_their_call(db, org_id, tmp_path) -> None:
    await bring_in(db, org_id, tmp_path / "monday.csv", QUEUE[1:2])
    [missed] = await rows(db, org_id)
    assert (missed["call_status"], missed["bill_ms"]) == ("no_answer", 0)
    counts = await bring_in(db, org_id, tmp_path / "tuesday.csv", [*QUEUE[2:], QUEUE[0]])
    assert (counts.inserted, counts.updated) == (0, 1)
    clean = await organisation(db)
    await bring_in(db, clean, tmp_path / "all.csv", QUEUE)
    assert await calls(db, org_id) == await calls(db, clean)


async def test_a_leg_that_comes_corrected_replaces_itself_where_it_has_an_id(
    db, org_id, tmp_path
) -> None:
    await bring_in(db, org_id, tmp_path / "cdr.csv", SINGLE, BY_SEQUENCE)
    corrected = [{**SINGLE[0], "disposition": "BUSY", "billsec": 0}]
    counts = await bring_in(db, org_id, tmp_path / "cdr.csv", corrected, BY_SEQUENCE)
    [call] = await rows(db, org_id)
    assert (counts.updated, call["call_status"], call["bill_ms"]) == (1, "busy", 0)
    assert len(await legs_of(db, org_id, call["callid"])) == 1


async def test_a_leg_that_comes_again_without_its_transcript_keeps_it(db, org_id, tmp_path) -> None:
    said = [
        {"role": "agent", "at_ms": 0, "text": "您好"},
        {"role": "customer", "at_ms": 900, "text": "喂"},
    ]
    answered = [QUEUE[0], {**QUEUE[2], "turns": said}]
    file = tmp_path / "cdr.csv"
    await bring_in(db, org_id, file, answered, BY_SEQUENCE)
    [before] = await transcripts(db, org_id)
    without = [{**leg, "turns": None} for leg in answered]
    await bring_in(db, org_id, file, without, BY_SEQUENCE)
    corrected = {**without[1], "billsec": 60}
    await bring_in(db, org_id, file, [corrected, {**QUEUE[4], "turns": said}], BY_SEQUENCE)
    [after] = await transcripts(db, org_id)
    assert [turn["text"] for turn in before] == ["您好", "喂"]
    assert [turn["text"] for turn in after] == ["您好", "喂", "您好", "喂"]
    missed = {**corrected, "disposition": "NO ANSWER", "billsec": 0}
    await bring_in(db, org_id, file, [missed], BY_SEQUENCE)
    [last] = await transcripts(db, org_id)
    assert [turn["text"] for turn in last] == ["您好", "喂"]
    [call] = await calls(db, org_id)
    assert call["rounds"] == 1


async def test_legs_from_before_they_named_agents_are_known_by_what_they_said(
    db, org_id, tmp_path
) -> None:
    await bring_in(db, org_id, tmp_path / "cdr.csv", QUEUE)
    naming = parse_preset(
        "legs.toml", MAP.replace("[values.call", 'agent_id = "dst"\n[values.call')
    )
    counts = await bring_in(db, org_id, tmp_path / "cdr.csv", QUEUE, naming)
    assert (counts.inserted, counts.updated) == (0, 1)
    kept = await legs_of(db, org_id, "1709619600.1")
    assert [one["agent_id"] for one in kept] == ["600", "601", "603", "602", "700"]
    [call] = await rows(db, org_id)
    assert call["agent_id"] == "600"
    other = [{**one, "agent_id": f"x-{one['sequence']}"} for one in QUEUE]
    await bring_in(db, org_id, tmp_path / "cdr.csv", other)
    assert len(await legs_of(db, org_id, "1709619600.1")) == 10


async def test_two_imports_of_one_calls_legs_at_once_make_one_call(db, org_id, tmp_path) -> None:
    many = [leg(1, n, f"6{n:02d}", "14:20:01", (n + 1, n), "ANSWERED") for n in range(60)]
    parts = [many[n::4] for n in range(4)]
    await asyncio.gather(
        *(
            bring_in(db, org_id, tmp_path / f"part-{n}.csv", part, batch_rows=5)
            for n, part in enumerate(parts)
        )
    )
    clean = await organisation(db)
    await bring_in(db, clean, tmp_path / "all.csv", many)
    assert await calls(db, org_id) == await calls(db, clean)
    assert len(await legs_of(db, org_id, "1709619600.1")) == 60


async def test_a_deleted_call_takes_its_legs_along(db, org_id, tmp_path) -> None:
    await bring_in(db, org_id, tmp_path / "cdr.csv", ALL)
    async with db.tenant(org_id) as tx:
        await tx.execute(
            "DELETE FROM call_record_enriched WHERE org_id = $1 AND callid = $2",
            org_id, "1709619600.1",
        )  # fmt: skip
    assert await legs_of(db, org_id, "1709619600.1") == []
    assert len(await legs_of(db, org_id, "1709619600.6")) == 2


async def test_legs_that_are_hardly_one_call_are_told(db, org_id, tmp_path) -> None:
    later = leg(1, 10, "601", "14:20:00", (5, 4), "ANSWERED", calldate="2024-05-05 14:20:00")
    other = [
        {**one, "linkedid": "1709619600.20", "uniqueid": f"b-{one['uniqueid']}"}
        for one in (QUEUE[0], later)
    ]
    counts = await bring_in(db, org_id, tmp_path / "cdr.csv", [*QUEUE, later, *other], batch_rows=6)
    async with db.tenant(org_id) as tx:
        run = await get_import(tx, org_id, counts.import_id)
        [listed] = await imports(tx, org_id, 10, None)
    assert run is not None
    [note] = run["notes"]  # once, though each batch has a call of them
    assert note.startswith("2 calls have legs more than a day apart")
    assert listed["notes"] == [note]
    assert {call["duration_ms"] for call in await rows(db, org_id)} == {86_400_000}


async def test_of_an_erased_call_no_leg_comes_back(db, org_id, tmp_path) -> None:
    await bring_in(db, org_id, tmp_path / "cdr.csv", QUEUE[:2])
    order = Order(Digests(KEY, org_id), "user:1")
    await erase_call(db, org_id, "1709619600.1", order)
    counts = await bring_in(db, org_id, tmp_path / "cdr.csv", ALL)
    assert counts.inserted == 2
    assert [row["callid"] for row in await rows(db, org_id)] == ["1709619600.6", "1709619600.8"]
    assert await legs_of(db, org_id, "1709619600.1") == []


async def test_legs_are_their_organisations(db, org_id, tmp_path) -> None:
    await bring_in(db, org_id, tmp_path / "cdr.csv", ALL)
    other = await organisation(db)
    async with db.tenant(other) as tx:
        assert await tx.fetchval("SELECT count(*) FROM call_leg") == 0


async def test_every_changed_call_is_announced(db, org_id, tmp_path) -> None:
    await bring_in(db, org_id, tmp_path / "cdr.csv", ALL)
    await bring_in(db, org_id, tmp_path / "cdr.csv", ALL)
    async with db.system() as tx:
        events = await tx.fetch(
            "SELECT payload FROM outbox WHERE org_id = $1 AND projection = 'search'", org_id
        )
    told = [callid for event in events for callid in event["payload"]["callids"]]
    assert sorted(told) == ["1709619600.1", "1709619600.6", "1709619600.8"]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), files=st.integers(1, 4), batch_rows=st.integers(1, 10))
def test_any_split_order_and_repetition_gives_the_same_calls(
    database_url: str, tmp_path: Path, seed: int, files: int, batch_rows: int
) -> None:
    chance = random.Random(seed)
    pile = [*ALL, *chance.choices(ALL, k=4)]
    chance.shuffle(pile)

    async def compare() -> None:
        db = Postgres(database_url, pool_size=2)
        try:
            clean, torn = await organisation(db), await organisation(db)
            await bring_in(db, clean, tmp_path / "all.csv", ALL)
            for part in [pile[n::files] for n in range(files)]:
                await bring_in(db, torn, tmp_path / "part.csv", part, batch_rows=batch_rows)
            assert await calls(db, torn) == await calls(db, clean)
        finally:
            await db.close()

    asyncio.run(compare())


def test_rows_without_a_group_are_calls_by_themselves(tmp_path: Path) -> None:
    batch = Folder(tmp_path).read("cdr.csv", as_csv([{**SINGLE[0], "linkedid": " "}]), BY_CONTENT)
    assert [row["callid"] for row in read_rows(batch)] == ["1709619600.8"]


def test_legs_in_json_lines_are_read_alike(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    from_csv = read_rows(folder.read("cdr.csv", as_csv(ALL), BY_SEQUENCE))
    from_json = read_rows(folder.read("cdr.jsonl", as_jsonl(ALL), BY_SEQUENCE))
    assert [{**row, "line": 0} for row in from_json] == [{**row, "line": 0} for row in from_csv]


def test_a_file_without_the_column_to_group_by_is_refused(tmp_path: Path) -> None:
    cells = [{name: value for name, value in one.items() if name != "linkedid"} for one in ALL]
    with pytest.raises(InvalidInput, match="linkedid"):
        Folder(tmp_path).read("cdr.csv", as_csv(cells), BY_CONTENT)


def test_a_wrong_row_is_rejected_by_itself(tmp_path: Path) -> None:
    bad = leg(1, 9, "604", "14:20:01", (7, 0), "NO_IDEA")
    batch = Folder(tmp_path).read("cdr.csv", as_csv([*QUEUE, bad]), BY_CONTENT)
    assert [(one.field, one.callid) for one in batch.rejects] == [("call_status", "1709619600.1")]
    assert (batch.frame.height, batch.calls, batch.duplicates) == (5, 1, 4)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('leg_id = "sequence"', "leg_id"),
        ("group_by = 3", "group_by"),
        ('group_by = " "', "group_by"),
    ],
)
def test_mistakes_in_a_map_are_told(text: str, wrong: str) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        parse_preset("legs.toml", text)
