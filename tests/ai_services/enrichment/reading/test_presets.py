"""The presets of public data sets against a second, plain reading of the same files."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ai_services.enrichment.reading.file_format import FileRefused
from ai_services.enrichment.reading.presets.bank_marketing import BankCalls
from ai_services.enrichment.reading.presets.built_in import BUILT_IN, load_preset
from ai_services.enrichment.reading.read_file import read_calls
from ai_services.enrichment.validation.record import FIELDS
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import NOW, Folder, as_csv, call, whole


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_every_derived_field_is_explained() -> None:
    for name in BUILT_IN:
        preset = load_preset(name)
        assert preset.about
        if preset.derive is not None:
            assert set(preset.derived) == set(FIELDS)


def test_an_unknown_preset_is_met_with_the_nearest() -> None:
    with pytest.raises(InvalidInput, match="did you mean bank_marketing"):
        load_preset("bank-marketing")


def test_star_gives_what_its_rules_say(shared_data: Path) -> None:
    path = shared_data / "star_dialogues" / "star.jsonl.gz"
    batches = list(read_calls(path, load_preset("star"), now=NOW))
    taken = {row["callid"]: row for row in whole(batches).iter_rows(named=True)}
    rejects = [reject for batch in batches for reject in batch.rejects]
    with gzip.open(path, "rt", encoding="utf-8") as file:
        dialogues = [json.loads(line) for line in file]
    timed = [one for one in dialogues if one["start_unix"] is not None]
    assert len(taken) == len(timed)
    assert len(rejects) == len(dialogues) - len(timed)
    assert {reject.field for reject in rejects} <= {"started_at"}
    assert all(not batch.warnings for batch in batches)
    for one in timed:
        row = taken[f"star-{one['id']}"]
        spoken = [turn for turn in one["turns"] if turn["role"] in ("customer", "agent")]
        assert row["started_at"].timestamp() == one["start_unix"]
        assert row["duration_ms"] == one["duration_s"] * 1000
        assert row["bill_ms"] == (row["duration_ms"] if spoken else 0)
        assert (row["user_id"], row["customer_id"]) == (one["agent"], one["user"])
        assert row["task_id"] == one["tasks"][0]
        assert row["agent_id"] == row["user_id"]
        assert row["call_status"] == ("connected" if spoken else "failed")
        assert row["rounds"] == sum(turn["role"] == "customer" for turn in spoken)
        last = spoken[-1]["role"] if spoken else None
        assert row["hangup_by"] == {"agent": 1, "customer": 2, None: None}[last]
        assert (row["level_name"], row["phone"]) == (None, None)
        turns = json.loads(row["turns"]) if row["turns"] else []
        assert turns == [
            {"role": t["role"], "at_ms": t["t"] * 1000, "text": t["text"]} for t in spoken
        ]


def test_bank_marketing_gives_what_its_rules_say(shared_data: Path) -> None:
    path = shared_data / "bank_marketing" / "bank_additional_full.csv.gz"
    batches = list(read_calls(path, load_preset("bank_marketing"), now=NOW))
    assert all(not (batch.rejects or batch.warnings or batch.duplicates) for batch in batches)
    taken = whole(batches).to_dicts()
    with gzip.open(path, "rt", encoding="utf-8") as file:
        source = list(csv.DictReader(file))
    assert [row["callid"] for row in taken] == [f"bank-{one['row_id']}" for one in source]
    lisbon = ZoneInfo("Europe/Lisbon")
    before, months = date(2008, 1, 1), Counter[tuple[int, str]]()
    for row, one in zip(taken, source, strict=True):
        connected = int(one["duration"]) > 0
        local = row["started_at"].astimezone(lisbon)
        day = local.date()
        assert f"{day:%b}".lower() == one["month"]
        assert f"{day:%a}".lower() == one["day_of_week"]
        assert (day.year, day.month) >= (before.year, before.month)
        assert day >= before or (before - day) < timedelta(days=7)  # a month that ran out of days
        assert (local.hour - 9) * 60 + local.minute == int(one["row_id"]) % 480
        before = day
        months[day.year, one["month"]] += 1
        assert row["duration_ms"] == int(one["duration"]) * 1000
        assert row["call_status"] == ("connected" if connected else "no_answer")
        assert row["level_name"] == ({"yes": "A", "no": "F"}[one["y"]] if connected else None)
        assert row["user_id"] == f"bank-{one['contact']}"
        assert row["customer_id"] == f"client-{one['row_id']}"
        assert (row["rounds"], row["turns"], row["hangup_by"]) == (0, None, None)
    # 26 runs of one month each in the file, May 2008 to November 2010.
    assert len(months) == 26
    assert {year for year, _ in months} == {2008, 2009, 2010}


def test_the_bank_calendar_follows_the_order_of_rows() -> None:
    calls = BankCalls()

    def day(month: str, weekday: str) -> str:
        row = {"row_id": "0", "contact": "x", "month": month, "day_of_week": weekday,
               "duration": "1", "y": "no"}  # fmt: skip
        derived = calls(row)
        assert isinstance(derived, dict)
        return str(datetime.fromisoformat(derived["started_at"]).date())

    assert day("may", "mon") == "2008-05-05"
    assert day("may", "mon") == "2008-05-05"
    assert day("may", "fri") == "2008-05-09"
    assert day("may", "thu") == "2008-05-15"
    assert [day("may", d) for d in ("wed", "tue", "mon", "fri", "thu")] == [
        "2008-05-21",
        "2008-05-27",
        "2008-05-26",  # no Monday is left: the last one
        "2008-05-30",
        "2008-05-29",
    ]
    assert day("jun", "sun") == "2008-06-01"
    assert day("mar", "mon") == "2009-03-02"


def test_rows_that_break_a_derivation_are_rejected_by_column(folder: Folder) -> None:
    good = {"row_id": 1, "contact": "cellular", "month": "may", "day_of_week": "mon",
            "duration": 10, "y": "yes"}  # fmt: skip
    rows = [good, {**good, "month": "foo"}, {**good, "duration": "-4"}, {**good, "contact": ""}]
    batch = folder.read("bank.csv", as_csv(rows), "bank_marketing")
    assert batch.frame.height == 1
    assert [(r.line, r.field, r.value) for r in batch.rejects] == [
        (3, "month", "foo"),
        (4, "duration", "-4"),
        (5, "contact", ""),
    ]


def test_a_preset_for_another_kind_of_file_is_refused(folder: Folder) -> None:
    with pytest.raises(FileRefused, match="is no jsonl"):
        folder.read("calls.csv", as_csv([call()]), "star")
    with pytest.raises(FileRefused, match="lacks 'row_id', 'contact'"):
        folder.read("calls.csv", as_csv([call()]), "bank_marketing")
