from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from ai_services.enrichment.reading.file_format import FileRefused
from ai_services.enrichment.validation.record import FIELDS, FRAME_SCHEMA
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import (
    TURNS,
    Folder,
    as_csv,
    as_jsonl,
    call,
    whole,
)

CALLS = [
    call(callid="a", turns=TURNS),
    call(callid="b", turns=None, rounds=None, bill_ms=None, phone=None),
    call(callid="c", call_status="busy", rounds=None, level_name=None, hangup_by=None, turns=None),
    call(callid="d", task_id=None, customer_id=None, turns=TURNS[:1], rounds=None),
]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    out = io.BytesIO()
    pl.DataFrame(rows).write_parquet(out, **options)
    return out.getvalue()


def refusal(folder: Folder, name: str, data: bytes, **options: Any) -> str:
    with pytest.raises(FileRefused) as caught:
        folder.batches(name, data, **options)
    assert caught.value.status == 422
    assert all(detail.fix for detail in caught.value.details)
    return caught.value.message


def test_every_format_gives_the_same_records(folder: Folder) -> None:
    expected = folder.read("calls.jsonl", as_jsonl(CALLS)).frame.drop("line")
    assert expected.height == 4
    text = [{**row, "turns": json.dumps(row["turns"]) if row["turns"] else None} for row in CALLS]
    files = {
        "calls.jsonl.gz": as_jsonl(CALLS),
        "calls.csv": as_csv(CALLS),
        "calls.csv.gz": as_csv(CALLS, separator=";"),
        "calls.tsv": as_csv(CALLS, separator="\t"),
        "bom.csv": codecs.BOM_UTF8 + as_csv(CALLS),
        "bom.jsonl": codecs.BOM_UTF8 + as_jsonl(CALLS),
        "windows.csv": as_csv(CALLS).replace(b"\n", b"\r\n"),
        "nested.parquet": parquet(CALLS),
        "text.parquet": parquet(text),
        "no_extension": as_jsonl(CALLS),
        "wrong_extension.csv": as_jsonl(CALLS),
    }
    for name, data in files.items():
        batch = folder.read(name, data)
        assert batch.rejects == [], name
        assert batch.frame.schema == dict(FRAME_SCHEMA)
        assert_frame_equal(batch.frame.drop("line"), expected)
        assert batch.bytes_read == (folder.path / name).stat().st_size


def test_pyarrow_and_pandas_habits_in_parquet(folder: Folder) -> None:
    table = pa.table(
        {
            "callid": pa.array([1.0, 2.0, 3.5]),
            "user_id": pa.array([7, 8, 9]),
            "started_at": pa.array([1709619600000] * 3, pa.timestamp("ms", "Asia/Shanghai")),
            "duration_ms": pa.array([61_000.0, None, 1.5]),
            "call_status": pa.array(["connected", "busy", "connected"]).dictionary_encode(),
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out)
    batch = folder.read("pandas.parquet", out.getvalue())
    assert batch.frame["callid"].to_list() == ["1", "2"]
    assert batch.frame["user_id"].to_list() == ["7", "8"]
    assert str(batch.frame["started_at"][0]) == "2024-03-05 06:20:00+00:00"
    assert [(r.line, r.field, r.value) for r in batch.rejects] == [(3, "duration_ms", "1.5")]


def test_parquet_timestamps_without_zone_need_one(folder: Folder) -> None:
    rows = pl.DataFrame([call()]).with_columns(
        pl.lit("2024-03-05T14:20:00").str.to_datetime().alias("started_at")
    )
    out = io.BytesIO()
    rows.write_parquet(out)
    [reject] = folder.read("naive.parquet", out.getvalue()).rejects
    assert reject.problem == "has no time zone"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_large_file_comes_in_bounded_batches_and_loses_nothing(folder: Folder, kind: str) -> None:
    calls = [call(callid=f"c-{n}", duration_ms=n if n % 50 else -1) for n in range(25_000)]
    data = {"csv": as_csv, "jsonl": as_jsonl, "parquet": parquet}[kind](calls)
    batches = folder.batches(f"calls.{kind}", data, batch_rows=4_000)
    assert all(batch.frame.height <= 4_000 for batch in batches)
    assert len(batches) >= 7
    frame = whole(batches)
    assert frame["duration_ms"].to_list() == [n for n in range(25_000) if n % 50]
    first_line = 2 if kind == "csv" else 1
    rejects = [reject.line for batch in batches for reject in batch.rejects]
    assert rejects == [n + first_line for n in range(25_000) if not n % 50]
    position = [batch.bytes_read for batch in batches]
    assert position == sorted(position)
    assert position[-1] == len(data)


def test_a_batch_ends_after_so_many_bytes(folder: Folder) -> None:
    calls = [call(callid=f"c-{n}", turns=TURNS) for n in range(20_000)]
    batches = folder.batches("calls.jsonl", as_jsonl(calls), batch_bytes=2 << 20)
    assert len(batches) > 2
    assert whole(batches).height == 20_000


def test_the_last_of_a_callid_wins_and_the_others_are_counted(folder: Folder) -> None:
    calls = [call(rounds=1), call(callid="x"), call(rounds=2), call(rounds=3), call(duration_ms=-1)]
    batch = folder.read("calls.jsonl", as_jsonl(calls))
    assert batch.frame.select("callid", "rounds").rows() == [("x", 2), ("c-1", 3)]
    assert batch.duplicates == 2
    assert len(batch.rejects) == 1


def test_a_header_alone_is_no_calls(folder: Folder) -> None:
    batch = folder.read("calls.csv", as_csv([]))
    assert batch.frame.is_empty()
    assert batch.frame.schema == dict(FRAME_SCHEMA)
    assert (batch.rejects, batch.duplicates, batch.cut) == ([], 0, False)


def test_unknown_columns_are_told_once_with_the_nearest_name(folder: Folder) -> None:
    calls = [call(callid=f"c-{n}", custmer_id=1, colour="red") for n in range(3_000)]
    for name, data in {
        "a.csv": as_csv(calls),
        "b.jsonl": as_jsonl(calls),
        "c.parquet": parquet(calls),
    }.items():
        batches = folder.batches(name, data, batch_rows=500)
        assert whole(batches).height == 3_000
        assert [text for batch in batches for text in batch.warnings] == [
            "Unknown columns are not imported: "
            + ("'colour', 'custmer_id' (did you mean 'customer_id'?)." if name == "b.jsonl" else
               "'custmer_id' (did you mean 'customer_id'?), 'colour'.")
        ]  # fmt: skip
        assert "did you mean 'customer_id'?" in refusal(folder, name, data, strict_columns=True)


def test_column_names_are_compared_without_case_and_blanks(folder: Folder) -> None:
    data = as_csv([call()]).replace(b"callid", b" CallID ", 1)
    batch = folder.read("calls.csv", data)
    assert batch.frame["callid"].to_list() == ["c-1"]
    assert batch.warnings == []


def test_a_json_key_in_another_case_is_another_key(folder: Folder) -> None:
    batch = folder.read("a.jsonl", as_jsonl([{**call(phone=None), "Phone": "13812348000"}]))
    assert batch.frame["phone"].to_list() == [None]
    assert batch.warnings == ["Unknown columns are not imported: 'Phone' (did you mean 'phone'?)."]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_missing_required_column_refuses_the_file(folder: Folder, kind: str) -> None:
    calls = [call(), call()]
    for one in calls:
        del one["started_at"]
    data = {"csv": as_csv, "jsonl": as_jsonl, "parquet": parquet}[kind](calls)
    message = refusal(folder, f"calls.{kind}", data)
    assert "lacks 'started_at'" in message
    assert "'callid', 'task_id'" in message


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_columns_that_may_be_the_missing_ones_are_told_as_a_map(folder: Folder, kind: str) -> None:
    names = {
        "callid": "Call ID",
        "user_id": "坐席工号",
        "started_at": "开始时间",
        "call_status": "disposition",
    }
    calls = [{names.get(name, name): value for name, value in call().items()}]
    data = {"csv": as_csv, "jsonl": as_jsonl, "parquet": parquet}[kind](calls)
    with pytest.raises(FileRefused) as refused:
        folder.read(f"calls.{kind}", data)
    message, details = refused.value.message, refused.value.details
    assert message.count("Columns found") == message.count("'task_id'") == 1
    assert [detail.field for detail in details] == [
        "callid",
        "user_id",
        "started_at",
        "call_status",
    ]
    for field, source in names.items():
        assert f'  {field} = "{source}"' in message
    assert all("found" not in detail.problem for detail in details)


def test_a_first_call_taken_for_the_header_shows_no_number(folder: Folder) -> None:
    first = b'2001,13800001111,"+86 139 1234 5678",2024-03-05 14:20:00,010-68888888\n'
    with pytest.raises(FileRefused) as refused:
        folder.read("Master.csv", first * 2)
    told = " ".join(
        [refused.value.message, *(f"{one.problem} {one.fix}" for one in refused.value.details)]
    )
    assert "has no header line: its first line looks like a call (5 columns)" in told
    for digits in ("13800001111", "1111", "1234 5678", "5678", "68888888", "2001"):
        assert digits not in told


def test_unknown_columns_that_are_numbers_are_masked(folder: Folder) -> None:
    batch = folder.read("a.jsonl", as_jsonl([{**call(), "13812345678": 1}]))
    assert "138****5678" in batch.warnings[0]


@pytest.mark.parametrize(
    ("durations", "told"),
    [([65, 120, 33], True), ([65, 120], False), ([65, 120, 33_000], False), ([1, 1, 1, 0], False)],
)
def test_durations_that_look_like_seconds_are_noted(
    folder: Folder, durations: list[int], told: bool
) -> None:
    rows = [call(callid=f"c-{at}", duration_ms=one) for at, one in enumerate(durations)]
    notes = folder.read("a.csv", as_csv(rows)).warnings
    assert any("look like seconds" in note for note in notes) == told


def test_a_column_that_stands_twice_refuses_the_file(folder: Folder) -> None:
    data = as_csv([call()]).replace(b"task_id", b"callid", 1)
    assert "'callid' stands twice" in refusal(folder, "calls.csv", data)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.jsonl", b"\n \n", "is empty"),
        ("a.csv.gz", b"", "is empty"),
        ("a.csv", codecs.BOM_UTF8, "is empty"),
        ("a.csv", "callid".encode("utf-16"), "lacks 'user_id'"),
        ("a.csv", b"\0\0\0\0callid,user_id", "not a text file"),
        ("a.csv", bytes(range(256)) * 2 + bytes(100), "not a text file"),
        ("a.xlsx", b"PK\x03\x04....", "damaged zip archive or workbook"),
        ("a.json", b'[{"callid": 1}]', "lacks 'user_id'"),
        ("a.xml", b"<?xml version='1.0'?><calls/>", "XML or HTML without a table"),
        ("a.csv", "José,1\nMüller,2\n".encode("cp1252"), "byte 0xE9 at position 4 of line 1"),
        ("a.csv", gzip.compress(b"x", mtime=0)[:5], "gzip"),
        ("a.csv", b"callid,user_id\r1,2\r", "CR alone"),
        ("a.csv", b'"callid,user_id\n1,2\n', "malformed header"),
        ("a.csv", "呼叫,用户\n1,2\n".encode("gbk"), "lacks 'callid'"),
        ("a.parquet", b"PAR1....", "not a whole Parquet file"),
        ("a.csv", b"hello world\n", "lacks 'callid', 'user_id'"),
    ],
)
def test_what_can_not_be_read_is_refused_with_a_reason(
    folder: Folder, name: str, data: bytes, message: str
) -> None:
    assert message in refusal(folder, name, data)


def test_a_missing_file_and_a_folder_are_refused(folder: Folder) -> None:
    from ai_services.enrichment.reading.presets.built_in import load_preset
    from ai_services.enrichment.reading.read_file import read_calls

    for path in (folder.path / "none.csv", folder.path):
        with pytest.raises(FileRefused, match="can't be opened"):
            next(read_calls(path, load_preset("calls")))


def test_lines_that_are_not_utf8_are_rejected_with_the_way_out(folder: Folder) -> None:
    good, bad = call(callid="好"), call(callid="坏")
    for name, make in (("a.csv", as_csv), ("a.jsonl", as_jsonl)):
        head, *lines = make([good, bad, good]).split(b"\n")
        at = 1 if name == "a.csv" else 0
        lines[at] = lines[at].decode().encode("gbk")
        data = b"\n".join([head, *lines])
        batch = folder.read(name, data)
        assert batch.frame.height + batch.duplicates == 2
        [reject] = batch.rejects
        assert reject.line == at + 2
        assert "is not utf-8: byte 0x" in reject.problem
        assert "--encoding gbk" in reject.fix
        assert "u-1" in reject.raw


@pytest.mark.parametrize("encoding", ["gbk", "GB18030", "big5"])
def test_other_encodings_are_read_when_named(folder: Folder, encoding: str) -> None:
    turns = [{"role": "customer", "at_ms": 0, "text": "你好，誠功許蓋"}]
    calls = [call(turns=turns)]
    for name, make in (("a.csv", as_csv), ("a.jsonl", as_jsonl)):
        data = make(calls).decode().encode(encoding)
        batch = folder.read(name, data, encoding=encoding)
        assert json.loads(batch.frame["turns"][0]) == turns


@pytest.mark.parametrize("encoding", ["utf-17", "klingon", "base64", "idna"])
def test_encodings_that_can_not_be_cut_into_lines_are_refused(
    folder: Folder, encoding: str
) -> None:
    assert "can't be read" in refusal(folder, "a.csv", as_csv([call()]), encoding=encoding)


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl.gz"])
def test_a_cut_gzip_file_gives_what_is_readable_and_says_where_it_ends(
    folder: Folder, name: str
) -> None:
    calls = [call(callid=os.urandom(16).hex()) for _ in range(5_000)]
    data = (as_csv if "csv" in name else as_jsonl)(calls)
    path = folder.write(name, data)
    path.write_bytes(path.read_bytes()[:-20_000])
    from ai_services.enrichment.reading.presets.built_in import load_preset
    from ai_services.enrichment.reading.read_file import read_calls

    batches = list(read_calls(path, load_preset("calls"), batch_rows=1_000))
    frame = whole(batches)
    assert 1_000 < frame.height < 5_000
    assert frame["callid"].to_list() == [one["callid"] for one in calls[: frame.height]]
    assert [batch.cut for batch in batches] == [False] * (len(batches) - 1) + [True]
    [reject] = [reject for batch in batches for reject in batch.rejects]
    assert reject.line == frame["line"][-1] + 1
    assert "cut off or damaged" in reject.problem


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
def test_an_overlong_line_is_rejected_unread(folder: Folder, name: str) -> None:
    long = [{"role": "agent", "at_ms": 0, "text": "x" * 3_000_000}]
    calls = [call(callid="a"), call(callid="b", turns=long), call(callid="c")]
    data = (as_csv if "csv" in name else as_jsonl)(
        [{**one, "turns": one.get("turns")} for one in calls]
    )
    batch = folder.read(name, data, max_line_bytes=1 << 20)
    assert batch.frame["callid"].to_list() == ["a", "c"]
    [reject] = batch.rejects
    assert reject.line == (3 if "csv" in name else 2)
    assert reject.problem.startswith("is 3,000,")
    assert len(reject.raw) <= 2_000


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{oops", "is not valid JSON: Expecting property name"),
        (b'{"callid": "a"} trailing', "is not valid JSON: Extra data"),
        (b"[1, 2]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b'"text"', "is not a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"callid": "a\x01"}', "Invalid control character"),
        (b'{"callid": "\xff"}', "is not utf-8"),
    ],
)
def test_broken_json_lines_are_rejected_one_by_one(
    folder: Folder, line: bytes, problem: str
) -> None:
    good = as_jsonl([call()])
    batch = folder.read("a.jsonl", good + line + b"\n" + good)
    assert batch.frame.height + batch.duplicates == 2
    [reject] = batch.rejects
    assert (reject.line, reject.field) == (2, "")
    assert problem in reject.problem


def test_a_nul_spoils_its_row_only(folder: Folder) -> None:
    calls = [call(callid="a"), call(callid="b\0"), call(callid="c")]
    for name, make in (("a.csv", as_csv), ("a.jsonl", as_jsonl)):
        batch = folder.read(name, make(calls))
        assert batch.frame["callid"].to_list() == ["a", "c"]
        [reject] = batch.rejects
        assert (reject.field, reject.fix) == ("callid", "remove it")
    raw = as_jsonl([call(callid="a"), call(callid="bX"), call(callid="c")]).replace(b"X", b"\0")
    [reject] = folder.read("raw.jsonl", raw).rejects
    assert "Invalid control character" in reject.problem


@pytest.mark.slow
def test_rejects_do_not_pile_up(folder: Folder) -> None:
    calls = [call(duration_ms=-1)] * 30_000
    batches = folder.batches("a.jsonl", as_jsonl(calls))
    assert max(len(batch.rejects) for batch in batches) < 20_000
    assert sum(len(batch.rejects) for batch in batches) == 30_000


def test_blank_lines_are_no_rows(folder: Folder) -> None:
    data = b"\n" + as_jsonl([call()]) + b"\n  \n" + as_jsonl([call(callid="z")])
    assert folder.read("a.jsonl", data).frame["line"].to_list() == [2, 5]


def test_rejects_show_the_row_as_it_stands(folder: Folder) -> None:
    batch = folder.read("a.csv", as_csv([call(), call(duration_ms=-1)]))
    [reject] = batch.rejects
    assert reject.raw == (
        "c-1,t-1,a-1,u-1,k-1,138****8000,2024-03-05T14:20:00+08:00,-1,120000,2,B,connected,2"
    )
    assert (reject.line, reject.field, reject.value) == (3, "duration_ms", "-1")


def test_many_unknown_keys_do_not_stop_the_reading(folder: Folder) -> None:
    calls = [call(callid=f"c-{n}", **{f"key-{n}": n}) for n in range(3_000)]
    batches = folder.batches("a.jsonl", as_jsonl(calls), batch_rows=1_000)
    assert whole(batches).height == 3_000


def test_column_order_does_not_matter(folder: Folder) -> None:
    turned = {name: call()[name] for name in reversed(FIELDS) if name != "turns"}
    straight = folder.read("a.csv", as_csv([call()])).frame
    assert_frame_equal(folder.read("b.csv", as_csv([turned])).frame, straight)


MEASURE = """
import sys
from pathlib import Path
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import read_calls
rows = sum(b.frame.height + len(b.rejects) + b.duplicates for b in read_calls(Path(sys.argv[1]), load_preset("calls")))
# Not ru_maxrss: that of a child begins at its parent's.
status = Path("/proc/self/status").read_text()
print(rows, int(status.split("VmHWM:")[1].split()[0]) // 1024)
"""


def measure(path: Path) -> tuple[int, int]:
    """Rows read and peak memory in MiB, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    rows, megabytes = done.stdout.split()
    return int(rows), int(megabytes)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("kind", ["jsonl", "csv", "bad.jsonl", "parquet", "line.jsonl.gz"])
def test_memory_stays_bounded_whatever_the_file(folder: Folder, kind: str) -> None:
    path = folder.path / f"calls.{kind}"
    text = [{"role": "customer", "at_ms": 0, "text": "字" * 700}]
    rows = 100_000
    if kind == "parquet":
        frame = pl.DataFrame([call(turns=json.dumps(text, ensure_ascii=False))] * rows)
        noise = [os.urandom(500).hex() for _ in range(rows)]
        told = pl.Series("noise", noise)
        frame = frame.with_columns(
            pl.format('[{{"role":"customer","at_ms":0,"text":"{}"}}]', told).alias("turns")
        )
        frame.write_parquet(path, row_group_size=rows)
    elif kind == "line.jsonl.gz":
        rows = 2
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(as_jsonl([call()]))
            for _ in range(512):
                file.write(b"x" * (1 << 20))
    else:
        make = as_csv if kind == "csv" else as_jsonl
        one = call(turns=text, duration_ms=-1 if "bad" in kind else 1)
        block = make([one] * 1_000)
        head, _, body = block.partition(b"\n")
        with path.open("wb") as file:
            file.write(head + b"\n" if kind == "csv" else b"")
            for _ in range(rows // 1_000):
                file.write(body if kind == "csv" else block)
    read, megabytes = measure(path)
    assert read == rows
    assert megabytes < 300


def test_a_file_read_again_from_any_line_on_gives_the_rest(folder: Folder) -> None:
    """Whatever its batches were: those that go on need not be those that began."""
    lines = [call(callid=f"c-{number % 37}") for number in range(100)]
    lines[20]["duration_ms"] = lines[99]["duration_ms"] = "long"
    content = as_csv(lines)
    for size in (1, 7, 30, 1000):
        batches = folder.batches("calls.csv", content, batch_rows=size)
        assert batches[-1].last_line == 101
        for line in (1, 22, 50, 100, 101):
            left = [batch.after(line) for batch in batches if batch.last_line > line]
            seen = sorted(
                [at for one in left for at in one.frame["line"]]
                + [reject.line for one in left for reject in one.rejects]
                + [at for one in left for at in one.replaced]
            )
            assert seen == list(range(line + 1, 102))


def test_no_more_of_a_compressed_file_is_unpacked_than_is_said(folder: Folder) -> None:
    content = as_csv([call(callid=f"c-{number}") for number in range(3000)])
    (whole,) = folder.batches("a.csv.gz", content, max_unpacked=len(content))
    assert whole.frame.height == 3000
    with pytest.raises(InvalidInput, match="unpacks to more"):
        folder.batches("a.csv.gz", content, max_unpacked=len(content) - 1)
    (plain,) = folder.batches("a.csv", content, max_unpacked=1)  # it is as large as it seems
    assert plain.frame.height == 3000
