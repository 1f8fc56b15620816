from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.presets.preset import parse_preset
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import Folder, as_csv, as_jsonl, call, rows

DIALER = """
timezone = "Asia/Shanghai"
time_format = "%Y/%m/%d %H:%M:%S"
duration_unit = "s"
null_values = ["-"]
ignore = ["备注"]

[columns]
callid = "Call ID"
customer_id = "客户"
started_at = "呼叫时间"
duration_ms = "时长"
call_status = "结果"
level_name = "意向"
hangup_by = "挂断方"
turns = "对话"

[constants]
user_id = "team-7"

[values.call_status]
"接通" = "connected"
"无人接听" = "no_answer"

[values.hangup_by]
"客户" = 2
"0" = 1

[values.role]
robot = "agent"
user = "customer"

[turns]
role = "speaker"
at_ms = "start"
text = "content"
time_unit = "s"
"""

ROW = {
    "Call ID": "x-1",
    "客户": "-",
    "呼叫时间": "2024/03/05 14:20:00",
    "时长": "61.5",
    "结果": "接通",
    "意向": "a",
    "挂断方": "客户",
    "对话": [
        {"speaker": "robot", "start": 0, "content": "喂"},
        {"speaker": "user", "start": 1.25, "content": "嗯"},
    ],
    "备注": "回访",
}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def column_map(folder: Folder, text: str):
    path = folder.path / "columns.toml"
    path.write_text(text, encoding="utf-8")
    return load_preset(str(path))


def mistakes(folder: Folder, text: str) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        column_map(folder, text)
    assert caught.value.details
    return {detail.field: f"{detail.problem}: {detail.fix}" for detail in caught.value.details}


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_foreign_export_is_mapped(folder: Folder, kind: str) -> None:
    preset = column_map(folder, DIALER)
    missed = {**ROW, "Call ID": "x-2", "结果": "无人接听", "意向": "-", "挂断方": 0, "对话": None}
    data = (as_csv if kind == "csv" else as_jsonl)([ROW, missed])
    batch = folder.read(f"export.{kind}", data, preset)
    assert batch.rejects == []
    first, second = rows(batch)
    assert json.loads(first.pop("turns")) == [
        {"role": "agent", "at_ms": 0, "text": "喂"},
        {"role": "customer", "at_ms": 1250, "text": "嗯"},
    ]
    assert str(first.pop("started_at")) == "2024-03-05 06:20:00+00:00"
    assert first == {
        "line": 2 if kind == "csv" else 1,
        "callid": "x-1",
        "task_id": None,
        "agent_id": None,
        "user_id": "team-7",
        "customer_id": None,
        "phone": None,
        "duration_ms": 61_500,
        "bill_ms": 61_500,
        "rounds": 1,
        "level_name": "A",
        "call_status": "connected",
        "hangup_by": 2,
    }
    assert (second["call_status"], second["level_name"], second["turns"]) == (
        "no_answer",
        None,
        None,
    )
    assert [w for w in batch.warnings if "Unknown" in w] == []


def test_seconds_are_exact_to_the_millisecond(folder: Folder) -> None:
    preset = column_map(folder, DIALER)
    data = as_csv([{**ROW, "Call ID": n, "时长": f"{n / 1000}"} for n in range(0, 20_000, 7)])
    assert folder.read("a.csv", data, preset).frame["duration_ms"].to_list() == list(
        range(0, 20_000, 7)
    )


@pytest.mark.parametrize("value", ["-1", "1e3", "nan", "61 x", "1:75", "86401"])
def test_wrong_seconds_are_rejected(folder: Folder, value: str) -> None:
    preset = column_map(folder, DIALER)
    [reject] = folder.read("a.csv", as_csv([{**ROW, "时长": value}]), preset).rejects
    assert (reject.field, reject.value) == ("duration_ms", value)


def test_typed_rows_are_mapped_too(folder: Folder) -> None:
    preset = column_map(
        folder,
        'time_format = "unix_ms"\nnull_values = ["-"]\n'
        '[columns]\ncallid = "id"\nstarted_at = "ts"\n[constants]\nuser_id = 5\n'
        '[values.call_status]\nok = "connected"\n[values.hangup_by]\n2 = 1\n',
    )
    row = {"id": 9, "ts": 1709619600500, "duration_ms": 5, "call_status": "ok", "hangup_by": 2,
           "task_id": "-"}  # fmt: skip
    [taken] = rows(folder.read("a.jsonl", as_jsonl([row]), preset))
    assert (taken["callid"], taken["user_id"], taken["hangup_by"]) == ("9", "5", 1)
    assert taken["task_id"] is None
    assert taken["started_at"].microsecond == 500_000


def test_a_mapped_column_that_is_missing_is_told(folder: Folder) -> None:
    preset = column_map(folder, '[columns]\ntask_id = "Task"\n')
    row = {"callid": 1, "user_id": 1, "started_at": "2024-03-05T14:20:00Z", "duration_ms": 1,
           "call_status": "connected"}  # fmt: skip
    batch = folder.read("a.csv", as_csv([row]), preset)
    assert batch.warnings == ["The file has no column 'Task'; task_id stays empty."]


def test_two_fields_may_come_from_one_column(folder: Folder) -> None:
    preset = column_map(folder, '[columns]\ncustomer_id = "user_id"\n')
    row = {"callid": 1, "user_id": "u", "started_at": "2024-03-05T14:20:00Z", "duration_ms": 1,
           "call_status": "connected"}  # fmt: skip
    for name, data in (("a.csv", as_csv([row])), ("a.jsonl", as_jsonl([row]))):
        [taken] = rows(folder.read(name, data, preset))
        assert (taken["user_id"], taken["customer_id"]) == ("u", "u")


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("colums = 1", "colums", "did you mean columns?"),
        ("columns = 1", "columns", "is not a table"),
        ("[columns]\ncall_id = 'x'", "columns.call_id", "did you mean callid?"),
        ("[columns]\ncallid = 5", "columns.callid", "is no column name"),
        ("[columns]\ncallid = ' '", "columns.callid", "is no column name"),
        ("[constants]\ncallid = 'x'", "constants.callid", "differs from call to call"),
        ("[constants]\nuser_id = true", "constants.user_id", "is no text"),
        ("[columns]\nuser_id='u'\n[constants]\nuser_id='x'", "constants.user_id", "as well"),
        ("timezone = 'Mars/Base'", "timezone", "is no time zone"),
        ("timezone = 8", "timezone", "is no time zone"),
        ("time_format = 'rfc'", "time_format", "is no time format"),
        ("time_format = '%Q'", "time_format", "is no time format"),
        ("time_format = '%Y-%m-%d'", "time_format", "is no time format"),
        ("duration_unit = 'min'", "duration_unit", "is neither s nor ms"),
        ("null_values = 'x'", "null_values", "is not a list"),
        ("ignore = [1]", "ignore", "is not a list"),
        ("[values.call_status]\nx='answered'", "values.call_status.x", "write one of connected"),
        ("[values.call_status]\nx=true", "values.call_status.x", "is no text"),
        ("[values]\ncall_status='x'", "values.call_status", "is not a table"),
        ("[values.turns]\nx='y'", "values.turns", "is no field"),
        ("[turns]\nspeaker='x'", "turns.speaker", "is not known"),
        ("[turns]\ntime_unit='h'", "turns.time_unit", "is neither"),
        ("reads = ['x']", "reads", "is not known"),
        ("derive = 'star'", "derive", "is not known"),
    ],
)
def test_mistakes_in_a_column_map_are_named(
    folder: Folder, text: str, place: str, told: str
) -> None:
    found = mistakes(folder, text)
    assert told in found[place]


def test_all_mistakes_are_told_at_once(folder: Folder) -> None:
    text = "timezone = 1\n[columns]\nx = 'y'\n[turns]\nz = 'y'\n"
    assert set(mistakes(folder, text)) == {"timezone", "columns.x", "turns.z"}


def test_what_is_no_toml_is_refused(folder: Folder) -> None:
    assert "columns.toml" in mistakes(folder, "callid = ")


def test_a_missing_column_map_is_refused(folder: Folder) -> None:
    with pytest.raises(InvalidInput, match="can't be read"):
        load_preset(str(folder.path / "none.toml"))


def test_a_map_may_say_the_encoding_of_its_files(folder: Folder) -> None:
    content = as_csv([call(task_id="外呼")]).decode().encode("gbk")
    preset = parse_preset("map", 'encoding = "gbk"')
    assert rows(folder.read("calls.csv", content, preset))[0]["task_id"] == "外呼"
    assert folder.read("calls.csv", content, preset, encoding="utf-8").rejects  # said at the call


@pytest.mark.parametrize("value", ["[]", "{a=1}", "1", '"\\u0000"', '"utf-17"', "1979-05-27"])
@pytest.mark.parametrize("key", ["encoding", "duration_unit", "timezone", "turns.time_unit"])
def test_any_wrong_value_of_a_setting_is_a_mistake_that_is_named(key: str, value: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_preset("map", f"{key} = {value}")
    assert raised.value.details[0].field == key


@pytest.mark.parametrize("text", ["a = " + "[" * 3000, "a = " + "{a=" * 900 + "1" + "}" * 900])
def test_a_map_that_is_nested_without_end_is_no_map(text: str) -> None:
    with pytest.raises(InvalidInput, match="not valid TOML"):
        parse_preset("map", text)
