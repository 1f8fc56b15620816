"""What a column map says about the values of cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_services.enrichment.reading.file_format import FileRefused
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import Folder, as_csv, as_jsonl
from tests.ai_services.enrichment.test_column_map import column_map


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


PLAIN = {"callid": "1", "user_id": "u", "started_at": "2024-03-05T14:20:00Z", "duration_ms": 65,
         "call_status": "connected"}  # fmt: skip


def test_values_are_known_in_any_case_and_the_rest_has_a_default(folder: Folder) -> None:
    preset = column_map(
        folder,
        '[values.call_status]\nANSWERED = "connected"\nNA = "no_answer"\n"*" = "failed"\n'
        '[values.level_name]\nhot = "A"\n"*" = ""\n',
    )
    words = ["ANSWERED", "answered", " Answered ", "na", "CALLBK", "Busy", ""]
    calls = [{**PLAIN, "callid": n, "call_status": word} for n, word in enumerate(words)]
    calls += [
        {**PLAIN, "callid": f"l-{level}", "level_name": level} for level in ("HOT", "cold", "b")
    ]
    batch = folder.read("a.csv", as_csv(calls), preset)
    assert batch.frame["call_status"].to_list()[:6] == [
        "connected", "connected", "connected", "no_answer", "failed", "busy",
    ]  # fmt: skip
    assert [(reject.line, reject.problem) for reject in batch.rejects] == [(8, "is missing")]
    assert batch.frame["level_name"].to_list()[-3:] == ["A", None, "B"]
    assert batch.notes == []
    typed = folder.read(
        "a.jsonl", as_jsonl([{**call, "level_name": None} for call in calls[:6]]), preset
    )
    assert typed.frame["call_status"].to_list() == batch.frame["call_status"].to_list()[:6]


def test_of_two_spellings_in_a_map_the_exact_one_counts(folder: Folder) -> None:
    preset = column_map(folder, '[values.call_status]\nNA = "no_answer"\nna = "failed"\n')
    calls = [{**PLAIN, "callid": word, "call_status": word} for word in ("NA", "na")]
    found = folder.read("a.csv", as_csv(calls), preset).frame["call_status"].to_list()
    assert found == ["no_answer", "failed"]


def test_null_tokens_mean_nothing_in_any_case(folder: Folder) -> None:
    preset = column_map(folder, 'null_values = ["anonymous", "N/A"]\n')
    calls = [
        {**PLAIN, "callid": n, "phone": phone}
        for n, phone in enumerate(["Anonymous", "n/a", " N/A "])
    ]
    batch = folder.read("a.csv", as_csv(calls), preset)
    assert batch.frame["phone"].null_count() == 3
    assert batch.notes == []


@pytest.mark.parametrize(
    ("date", "time"),
    [("2024-03-05", "14:20:00"), ("2024/3/5", "2:20 PM"), ("2024-03-05 00:00:00", "14:20"),
     ("2024-03-05 14:20", ""), ("2024-03-05T00:00:00.000", "14:20:00")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_date_and_a_time_may_stand_in_two_columns(
    folder: Folder, date: str, time: str, kind: str
) -> None:
    preset = column_map(folder, 'timezone = "UTC"\n[columns]\nstarted_at = ["Date", "Time"]\n')
    row = {**PLAIN, "Date": date, "Time": time}
    del row["started_at"]
    data = as_csv([row]) if kind == "csv" else as_jsonl([row])
    batch = folder.read(f"a.{kind}", data, preset)
    assert batch.rejects == []
    assert batch.warnings == []
    assert str(batch.frame["started_at"][0]) == "2024-03-05 14:20:00+00:00"


def test_the_second_column_of_a_time_must_be_there(folder: Folder) -> None:
    preset = column_map(folder, '[columns]\nstarted_at = ["started_at", "Uhrzeit"]\n')
    with pytest.raises(FileRefused, match="Uhrzeit"):
        folder.read("a.csv", as_csv([PLAIN]), preset)


def test_a_map_may_name_several_formats_and_a_country(folder: Folder) -> None:
    preset = column_map(
        folder,
        'timezone = "Europe/Berlin"\ncountry = "DE"\ntime_format = ["%d.%m.%Y %H:%M", "unix_us"]\n',
    )
    calls = [{**PLAIN, "callid": n, "started_at": at, "phone": "030 123456"}
             for n, at in enumerate(["05.03.2024 14:20", "1709619600123456"])]  # fmt: skip
    batch = folder.read("a.csv", as_csv(calls), preset)
    assert batch.rejects == []
    assert batch.frame["phone"].to_list() == ["+4930123456"] * 2


@pytest.mark.parametrize("value", ['="0012345"', "0012345"])
@pytest.mark.parametrize("field", ["callid", "user_id", "customer_id", "task_id"])
def test_the_formula_of_a_spreadsheet_is_taken_off(folder: Folder, field: str, value: str) -> None:
    batch = folder.read("a.csv", as_csv([{**PLAIN, field: value}]))
    assert batch.frame[field].to_list() == ["0012345"]
    bare = as_csv([{**PLAIN, field: "@"}]).replace(b"@", value.encode())
    assert folder.read("b.csv", bare).frame[field].to_list() == ["0012345"]


@pytest.mark.parametrize(
    ("toml", "place", "problem"),
    [
        ("time_format = []", "time_format", "is an empty list"),
        ("time_format = ['iso', 'rfc']", "time_format", "'rfc' is no time format"),
        ("country = 'XX'", "country", "'XX' is no country"),
        ("[columns]\nstarted_at = ['Date', 5]", "columns.started_at", "is no list of column names"),
        ("[columns]\ncallid = ['a', 'b']", "columns.callid", "is no column name"),
        ("[values.call_status]\n'*' = ''", "values.call_status.*", "'' is no call_status"),
    ],
)
def test_mistakes_in_what_a_map_says_of_values_are_told(
    folder: Folder, toml: str, place: str, problem: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        column_map(folder, toml)
    [detail] = refused.value.details
    assert (detail.field, detail.problem) == (place, problem)


@pytest.mark.parametrize(
    ("unit", "value", "example"),
    [("ms", "12.5", "12500"), ("ms", "x", "12500"), ("s", "x", "12.5")],
)
def test_the_example_of_a_wrong_duration_is_in_its_unit(
    folder: Folder, unit: str, value: str, example: str
) -> None:
    preset = column_map(folder, f'duration_unit = "{unit}"\n')
    [reject] = folder.read("a.csv", as_csv([{**PLAIN, "duration_ms": value}]), preset).rejects
    assert f"for example {example}" in reject.fix
