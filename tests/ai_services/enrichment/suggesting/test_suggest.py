"""A suggested map reads the file that it was made for."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ai_services.enrichment.legs.join import chosen, join
from ai_services.enrichment.legs.leg import Leg
from ai_services.enrichment.reading.presets.built_in import DIALLERS
from ai_services.enrichment.reading.presets.preset import parse_preset
from ai_services.enrichment.reading.read_file import read_calls
from ai_services.enrichment.suggesting.suggest import (
    MOST_BYTES,
    SentFile,
    Suggestion,
    suggest,
)
from shared.errors import InvalidInput
from tests.ai_services.enrichment.reading.presets.samples import SAMPLES
from tests.ai_services.enrichment.suggesting.samples import UNKNOWN, Unknown


def suggested(name: str, data: bytes) -> Suggestion:
    return suggest(SentFile(name, data))


def calls_of(path: Path, column_map: str) -> dict[str, dict[str, Any]]:
    """By callid, legs joined."""
    [batch] = read_calls(path, parse_preset("suggested.toml", column_map))
    rows = batch.frame.to_dicts()
    if not batch.of_legs:
        return {row["callid"]: row for row in rows}
    found: dict[str, list[Leg]] = {}
    for number, row in enumerate(rows):
        said = {name: row.get(name) for name in Leg._fields}
        leg = Leg(**{**said, "leg_id": str(number), "phone_cipher": None, "turns": None})
        found.setdefault(row["callid"], []).append(leg)
    return {callid: join(chosen(legs)) for callid, legs in found.items()}


@pytest.mark.parametrize("unknown", UNKNOWN, ids=[one.name for one in UNKNOWN])
def test_the_suggested_map_reads_the_file_rightly(tmp_path: Path, unknown: Unknown) -> None:
    found = suggested(unknown.name, unknown.data)
    path = tmp_path / unknown.name
    path.write_bytes(unknown.data)
    taken = calls_of(path, found.column_map)
    for callid, said in unknown.calls.items():
        expected = dict(said)
        if "started_at" in expected:
            expected["started_at"] = datetime.fromisoformat(expected["started_at"])
        assert {name: taken[callid][name] for name in expected} == expected, found.column_map
    assert found.missing == []
    assert found.tried.problem == ""
    assert found.tried.calls == len(taken)


@pytest.mark.parametrize("preset", DIALLERS)
def test_a_known_export_is_known_by_its_columns(preset: str) -> None:
    sample = SAMPLES[preset]
    found = suggested(sample.name, sample.text.encode())
    assert found.preset == preset
    first = found.column_map.splitlines()[0]
    assert first == f"# This looks like what the preset {preset} reads: --preset {preset}"
    parse_preset("suggested.toml", found.column_map)


def test_our_own_names_need_no_map() -> None:
    data = (
        b"callid,user_id,started_at,duration_ms,call_status\n"
        b"a,u,2024-03-05T06:20:00Z,65000,connected\n"
    )
    assert suggested("calls.csv", data).preset == "calls"


def test_numbers_and_names_are_told_to_nobody() -> None:
    """What is printed may end in a ticket."""
    data = "编号,来源,号码,呼叫时间,时长,状态\n" + "".join(
        f"x-{n},1381234800{n},1391234800{n},2024-03-05 14:2{n}:00,6{n},奇怪{n} 13712348000\n"
        for n in range(5)
    )
    told = suggested("calls.csv", data.encode()).column_map
    assert not any(f"1{head}1234800" in told for head in (37, 38, 39))
    assert "137****8000" in told


def test_a_day_that_may_be_a_month_is_doubted() -> None:
    data = "id,agent,start time,duration,status\n" + "".join(
        f"{n},ann,0{n}/03/2024 14:20:00,6{n},busy\n" for n in range(1, 6)
    )
    told = suggested("calls.csv", data.encode()).column_map
    assert "day or month first?" in told


def test_what_a_map_can_not_do_without_is_told() -> None:
    data = b"agent,phone,notes\nann,13812348000,x\nbob,13812348001,y\n"
    found = suggested("calls.csv", data)
    assert {"callid", "started_at", "call_status", "duration_ms"} >= set(found.missing)
    assert "started_at" in found.missing
    assert '# started_at = "?"' in found.column_map
    parse_preset("suggested.toml", found.column_map)


def test_a_file_without_header_is_read_by_position(tmp_path: Path) -> None:
    data = "".join(
        f"x-{n},13812348{n:03d},2024-03-05 14:{n:02d}:00,{n * 7 % 90},{s}\n"
        for n, s in enumerate(["接通", "占线", "接通", "关机"] * 5)
    ).encode()
    found = suggested("calls.csv", data)
    assert 'header = ["column 1", "column 2"' in found.column_map
    by_field = {name: one.column for name, one in found.fields.items()}
    assert by_field["started_at"] == "column 3"
    assert (by_field["phone"], by_field["call_status"]) == ("column 2", "column 5")
    assert (by_field["callid"], by_field["duration_ms"]) == ("column 1", "column 4")
    path = tmp_path / "calls.csv"
    path.write_bytes(data)
    assert len(calls_of(path, found.column_map)) == 20


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"\0\1\2\0\0\0", b"one\ntwo\n", b"{not json}\n", b'["a"]\n'],
    ids=["empty", "blank", "binary", "one-column", "no-json", "array"],
)
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        suggested("calls.csv", data)


def test_a_head_that_is_cut_in_a_row_is_enough() -> None:
    [robot] = [one for one in UNKNOWN if one.name == "robot.csv"]
    header, *rows = robot.data.splitlines(keepends=True)
    row = rows[0]
    many = header + b"".join(row.replace(b"t-1", b"t-%d" % n) for n in range(20_000))
    assert len(many) > MOST_BYTES
    found = suggested("calls.csv", many[:MOST_BYTES])
    assert found.missing == []
    assert found.tried.rejects == []


def test_half_a_character_of_json_is_told_as_another_mark() -> None:
    found = suggested(
        "calls.jsonl", b'{"callid": "a", "\\ud83d": "\\ud83d", "started_at": "2024-03-05"}'
    )
    assert "?" in found.fields or "?" in found.column_map
    found.column_map.encode()


ROWS = "id,agent,start time,duration,status\n" + "".join(
    f"{n},{{name}},2024-03-05 14:20:0{n},6{n},{{status}}\n" for n in range(1, 6)
)


@pytest.mark.parametrize(
    ("encoding", "name", "said"),
    [
        ("utf-16", "王芳", ""), ("utf-16-be", "ann", ""),
        ("big5", "張偉的客戶來電話號碼錯誤", 'encoding = "cp950"  # the file is not UTF-8'),
        ("gbk", "王芳的客户电话", 'encoding = "gb18030"  # the file is not UTF-8'),
        ("cp1252", "Zoë Müller", 'encoding = "cp1252"  # a guess'),
        ("cp1252", "JosÉÁlvarez", 'encoding = "cp1252"  # a guess'),  # would do as GB18030
    ],
)  # fmt: skip
def test_the_encoding_is_found_as_it_is_when_the_file_is_read(
    tmp_path: Path, encoding: str, name: str, said: str
) -> None:
    data = ROWS.format(name=name, status="busy").encode(encoding)
    found = suggested("calls.csv", data)
    assert said in found.column_map
    assert found.tried.rejects == []
    path = tmp_path / "calls.csv"
    path.write_bytes(data)
    taken = calls_of(path, found.column_map)
    assert {one["user_id"] for one in taken.values()} == {name}


@pytest.mark.parametrize(
    "word", ["RINGNOANSWER", "久叫不应", "Did not answer", "NO_ANSWER", "voicemail"]
)
def test_words_that_the_readers_know_are_known(word: str) -> None:
    found = suggested("calls.csv", ROWS.format(name="ann", status=word).encode())
    assert found.fields["call_status"].column == "status"
    assert '"?"' not in found.column_map
    assert found.tried.rejects == []


def test_roles_are_those_of_the_readers() -> None:
    said = [{"speaker": who, "content": "x"} for who in ("话务员", "被访者", "IVR", "seat")]
    row = {"callid": "a", "user_id": "u", "started_at": "2024-03-05T06:20:00Z", "call_status": "connected",
           "duration_ms": 65_000, "dialog": said}  # fmt: skip
    found = suggested("calls.jsonl", (json.dumps(row, ensure_ascii=False) + "\n").encode())
    assert '"seat" = "agent"' in found.column_map
    assert '"?"' not in found.column_map
    assert (found.tried.calls, found.tried.rejects) == (1, [])
