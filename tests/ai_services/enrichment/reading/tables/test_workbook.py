"""Workbooks, HTML that is named like one, and archives."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from openpyxl.workbook.properties import CalcProperties

from ai_services.enrichment.reading.presets.preset import parse_preset
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import Folder, as_csv, call
from tests.ai_services.enrichment.reading.tables.workbooks import compound, ods, repacked, xls, xlsx

NAMES = ["callid", "user_id", "started_at", "call_status", "duration_ms", "phone"]
AT = datetime(2024, 3, 5, 14, 20, 33)
UTC_AT = datetime(2024, 3, 5, 6, 20, 33, tzinfo=UTC)
MAP = parse_preset("m", 'timezone = "Asia/Shanghai"')
ROW = ["0012", "王芳", AT, "connected", 65_000, 13812345678]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def refusal(folder: Folder, name: str, data: bytes, **options: Any) -> str:
    with pytest.raises(InvalidInput) as refused:
        folder.batches(name, data, MAP, **options)
    assert all(detail.fix for detail in refused.value.details)
    return refused.value.message


@pytest.mark.parametrize("name", ["a.xlsx", "a.xlsm", "a.csv", "upload"])
def test_cells_keep_what_they_are(folder: Folder, name: str) -> None:
    data = xlsx(
        ("通话", [NAMES, ROW, ["c-2", 7, AT + timedelta(milliseconds=123), "busy", 0, None]])
    )
    batch = folder.read(name, data, MAP)
    assert batch.frame.select("line", *NAMES).rows() == [
        (2, "0012", "王芳", UTC_AT, "connected", 65_000, "+8613812345678"),
        (3, "c-2", "7", UTC_AT + timedelta(milliseconds=123), "busy", 0, None),
    ]
    assert (batch.rejects, batch.warnings) == ([], [])


def test_excel_97_and_open_document(folder: Folder) -> None:
    rows = [NAMES, ROW]
    for name, data in (
        ("a.xls", xls("通话", rows)),
        ("b.xls", xls("通话", rows, from_1904=True)),
        ("a.ods", ods("通话", rows)),
    ):
        batch = folder.read(name, data, MAP)
        assert batch.frame["started_at"].to_list() == [UTC_AT]
        assert batch.frame["callid"].to_list() == ["0012"]
        assert batch.frame["phone"].to_list() == ["+8613812345678"]


def test_the_days_of_1904(folder: Folder) -> None:
    def from_1904(book: Any) -> None:
        book.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904

    data = xlsx(("a", [NAMES, ROW]), change=from_1904)
    assert folder.read("a.xlsx", data, MAP).frame["started_at"].to_list() == [UTC_AT]


def test_times_as_text_and_as_numbers_in_one_column(folder: Folder) -> None:
    midnight = datetime(2024, 3, 6)
    rows = [
        ["c-1", "u", "2024-03-05T14:20:33+08:00", "busy", 0, None],
        ["c-2", "u", AT, "busy", 0, None],
        ["c-3", "u", "yesterday", "busy", 0, None],
        ["c-4", "u", midnight, "busy", 0, None],
    ]
    batch = folder.read("a.xlsx", xlsx(("a", [NAMES, *rows])), MAP)
    assert batch.frame.select("line", "started_at").rows() == [
        (2, UTC_AT),
        (3, UTC_AT),
        (5, datetime(2024, 3, 5, 16, tzinfo=UTC)),
    ]
    assert [(one.line, one.field) for one in batch.rejects] == [(4, "started_at")]


def test_dates_times_and_durations_apart_are_written_plainly(folder: Folder) -> None:
    preset = parse_preset("m", '[constants]\nstarted_at = "2024-03-05T14:20:33Z"\n[columns]\n'
                          'callid = "d"\nuser_id = "t"\ntask_id = "s"\ncustomer_id = "b"')  # fmt: skip
    names = ["d", "t", "s", "b", "call_status", "duration_ms"]
    row = [date(2024, 3, 5), time(14, 20), timedelta(hours=30, seconds=5), True, "busy", 0]
    batch = folder.read("a.xlsx", xlsx(("a", [names, row])), preset)
    assert batch.frame.select("callid", "user_id", "task_id", "customer_id").rows() == [
        ("2024-03-05", "14:20:00", "30:00:05", "true")
    ]


def test_numbers_whose_digits_are_lost_are_no_ids(folder: Folder) -> None:
    rows = [[1234567890123456789, *ROW[1:]], [123456789012345, *ROW[1:]]]
    batch = folder.read("a.xlsx", xlsx(("a", [NAMES, *rows])), MAP)
    assert batch.frame["callid"].to_list() == ["123456789012345"]
    (reject,) = batch.rejects
    assert (reject.line, reject.field) == (2, "callid")
    assert "more than 15 digits" in reject.problem
    assert "as text" in reject.fix


def test_errors_are_empty_cells(folder: Folder) -> None:
    rows = [[*ROW[:5], "#N/A"], ["#REF!", *ROW[1:]]]
    batch = folder.read("a.xlsx", xlsx(("a", [NAMES, *rows])), MAP)
    assert batch.frame["phone"].to_list() == [None]
    assert [(one.line, one.field) for one in batch.rejects] == [(3, "callid")]


def test_titles_blank_rows_and_totals(folder: Folder) -> None:
    rows = [["外呼通话记录"], ["导出时间", AT], [], NAMES, ROW, [], NAMES, ["c-2", *ROW[1:]],
            ["合计", None, None, None, 130]]  # fmt: skip
    batch = folder.read("a.xlsx", xlsx(("a", rows)), MAP)
    assert batch.frame["line"].to_list() == [5, 8]
    assert batch.rejects == []
    assert batch.warnings == [
        "The names of the columns stand in line 4; the 2 lines before it are left out.",
        "A row of totals is left out (line 9).",
    ]


def test_a_table_that_does_not_begin_in_the_first_cell(folder: Folder) -> None:
    rows = [[], [], [None, None, *NAMES], [None, None, *ROW]]
    batch = folder.read("a.xlsx", xlsx(("a", rows)), MAP)
    assert batch.frame["line"].to_list() == [4]


def test_merged_cells_are_meant_for_all_of_their_rows(folder: Folder) -> None:
    def merge(book: Any) -> None:
        book.active.merge_cells("A1:F1")
        book.active.merge_cells("B3:B4")

    rows = [["通话记录"], NAMES, ROW, ["c-2", None, *ROW[2:]], ["c-3", "李娜", *ROW[2:]]]
    batch = folder.read("a.xlsx", xlsx(("a", rows), change=merge), MAP)
    assert batch.frame["user_id"].to_list() == ["王芳", "王芳", "李娜"]


def test_the_sheet_with_the_calls_is_found(folder: Folder) -> None:
    summary = ("Summary", [["agent", "calls"], ["王芳", 1]])
    data = xlsx(("Empty", []), summary, ("通话", [NAMES, ROW]), ("Other", [["x"]]))
    batch = folder.read("a.xlsx", data, MAP)
    assert batch.frame.height == 1
    assert batch.warnings == [
        "The sheet '通话' is read; others are not: 'Empty', 'Summary', 'Other'."
    ]
    assert "lacks" in refusal(folder, "a.xlsx", data, sheet="Summary")
    assert "has no sheet 'Calls': name one that is there: 'Empty'" in refusal(
        folder, "a.xlsx", data, sheet="Calls"
    )
    by_map = parse_preset("m", 'timezone = "Asia/Shanghai"\nsheet = "通话"')
    assert folder.read("a.xlsx", data, by_map).frame.height == 1
    assert "leave the sheet out" in refusal(folder, "a.csv", as_csv([call()]), sheet="通话")


def test_the_sheet_that_lacks_least_is_told_of(folder: Folder) -> None:
    data = xlsx(("a", [["x"], [1]]), ("b", [NAMES[:2], ROW[:2]]))
    message = refusal(folder, "a.xlsx", data)
    assert "lacks 'started_at'" in message
    assert "'callid', 'user_id'" in message


def test_a_hidden_sheet_is_the_last_choice_and_told(folder: Folder) -> None:
    def hide(book: Any) -> None:
        book["old"].sheet_state = "hidden"

    other = ["c-9", *ROW[1:]]
    both = xlsx(("old", [NAMES, other]), ("new", [NAMES, ROW]), change=hide)
    assert folder.read("a.xlsx", both, MAP).frame["callid"].to_list() == ["0012"]
    alone = xlsx(("old", [NAMES, other]), ("new", []), change=hide)
    batch = folder.read("a.xlsx", alone, MAP)
    assert batch.frame["callid"].to_list() == ["c-9"]
    assert "hidden sheet 'old'" in batch.warnings[0]


def test_formulas_have_the_results_that_were_stored(folder: Folder) -> None:
    rows = [NAMES, ["c-1", "u", AT, "connected", "=1000*65", None]]
    data = xlsx(("a", rows), change=lambda book: setattr(book, "calculation", CalcProperties()))
    message = refusal(folder, "a.xlsx", data)
    assert "has formulas without results in the sheet 'a': 'duration_ms'" in message

    def compute(name: str, content: bytes) -> bytes:
        return content.replace(b"<v />", b"<v>65000</v>").replace(b"<v></v>", b"<v>65000</v>")

    batch = folder.read("a.xlsx", repacked(data, compute), MAP)
    assert batch.frame["duration_ms"].to_list() == [65_000]
    unused = xlsx(("a", [[*NAMES, "note"], [*ROW, "=1+1"]]))
    assert folder.read("a.xlsx", unused, MAP).frame.height == 1


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.xlsx", xlsx(("a", [])), "is empty"),
        ("a.xlsx", xlsx(("a", [NAMES[:3], ROW[:3]])), "lacks 'duration_ms', 'call_status'"),
        ("a.xlsx", compound({"EncryptedPackage": b"x", "EncryptionInfo": b""}), "password"),
        (
            "a.xls",
            compound({"Workbook": bytes.fromhex("0908100000060500") + bytes(12) + b"\x2f\0\6\0" + bytes(6)}),
            "password",
        ),
        ("a.xls", compound({"WordDocument": b"x"}), "can't be read as a workbook"),
        ("a.xlsx", xlsx(("a", [NAMES, ROW]))[:-100], "damaged zip archive or workbook"),
        ("a.xlsx", b"PK\3\4" + bytes(100), "damaged zip archive or workbook"),
        ("a.xlsx", repacked(xlsx(("a", [NAMES, ROW])), lambda name, data: b"<x" + data), "can't be read"),
    ],
)  # fmt: skip
def test_workbooks_that_can_not_be_read(
    folder: Folder, name: str, data: bytes, message: str
) -> None:
    assert message in refusal(folder, name, data)


def test_a_workbook_that_unpacks_to_more_than_is_taken(folder: Folder) -> None:
    zeros = repacked(
        xlsx(("a", [NAMES, ROW])),
        lambda name, data: data + b" " * (40 << 20) if "sheet1" in name else data,
    )
    assert len(zeros) < 1 << 20
    message = refusal(folder, "a.xlsx", zeros, max_unpacked=32 << 20)
    assert "unpacks to more than 32 MiB" in message
    assert folder.read("a.xlsx", zeros, MAP, max_unpacked=64 << 20).frame.height == 1


def test_an_archive_that_lies_about_what_is_in_it(folder: Folder) -> None:
    big = b" " * (8 << 20)
    data = repacked(
        xlsx(("a", [NAMES, ROW])), lambda name, old: old + big if "sheet1" in name else old
    )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    lying = data.replace(size.to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    assert lying != data
    assert "is of another size" in refusal(folder, "a.xlsx", lying)
    assert "unpacks to more than" in refusal(folder, "a.xlsx", lying, max_unpacked=4 << 20)


def test_a_workbook_that_needs_any_amount_of_memory_is_refused(folder: Folder) -> None:
    def far(book: Any) -> None:
        book.active["XFD1048576"] = 1

    data = xlsx(("a", [NAMES, ROW]), change=far)
    assert len(data) < 10_000
    assert "that needs more than the" in refusal(folder, "a.xlsx", data)


def test_a_workbook_that_is_left_early_leaves_no_process(folder: Folder) -> None:
    from ai_services.enrichment.reading.read_file import read_calls

    rows = [[f"c-{at}", *ROW[1:]] for at in range(3_000)]
    path = folder.write("a.xlsx", xlsx(("a", [NAMES, *rows])))
    batches = read_calls(path, MAP, batch_rows=100)
    next(batches)
    children = Path("/proc/self/task").glob("*/children")
    assert any(one.read_text().strip() for one in children)
    batches.close()
    workers = [
        pid
        for one in Path("/proc/self/task").glob("*/children")
        for pid in one.read_text().split()
        if b"worker.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert workers == []


def test_many_rows_come_in_batches(folder: Folder) -> None:
    rows = [[f"c-{at}", *ROW[1:]] for at in range(5_000)]
    batches = folder.batches("a.xlsx", xlsx(("a", [NAMES, *rows])), MAP, batch_rows=1_000)
    assert [batch.frame.height for batch in batches] == [1_000] * 5
    assert batches[-1].frame["line"][-1] == 5_001


HTML = """<html xmlns:x="urn:schemas-microsoft-com:office:excel"><head><meta charset="{charset}">
<style>td {{mso-number-format:"\\@"}}</style><title>导出</title></head><body>
<table border=1><tr><th colspan=6>外呼通话记录</th></tr>
<tr><th>callid<th>user_id</th><th>started_at</th><th>call_status</th><th>duration_ms</th><th>phone</th></tr>
<tr><td>0012</td><td rowspan="2">王芳 &amp; 李娜</td><td>2024-03-05<br/>14:20:33</td><td>connected</td>
<td x:num="65000">65,000</td><td x:num="13812345678">1.38E+10</td></tr>
<TR><TD>c-2&nbsp;</TD><TD>2024-03-05 14:20:33</TD><TD>busy</TD><TD></TD><TD/></TR>
<tr><td>合计</td><td></td><td></td><td></td><td>65,000</td></tr>
</table></body></html>"""


@pytest.mark.parametrize(
    ("charset", "name"), [("utf-8", "a.xls"), ("gb2312", "a.xls"), ("utf-16", "a.html")]
)
def test_html_that_is_named_like_a_workbook(folder: Folder, charset: str, name: str) -> None:
    content = HTML.replace("<br/>", " ").format(charset=charset).encode(charset)
    batch = folder.read(name, content, MAP)
    assert batch.rejects == []
    assert batch.frame.select(NAMES).rows() == [
        ("0012", "王芳 & 李娜", UTC_AT, "connected", 65_000, "+8613812345678"),
        ("c-2", "王芳 & 李娜", UTC_AT, "busy", 0, None),
    ]
    assert any("is HTML" in note for note in batch.warnings)


@pytest.mark.slow
def test_html_that_unfolds_to_anything_is_bounded(folder: Folder) -> None:
    row = "<tr>" + "<td colspan=99999>" * 40 + "</tr>"
    head = "<table><tr>" + "".join(f"<td>{name}</td>" for name in NAMES) + "</tr>"
    call = "<tr><td>c-1<td>u<td>2024-03-05 14:20:33<td>busy<td>0<td></tr>"
    batches = folder.batches("a.xls", (head + call + row * 2_000).encode(), MAP)
    assert sum(batch.frame.height for batch in batches) == 1
    for endless in ("<td>" + "<b>x</b>" * 400_000, "<td " + "x" * 400_000, "<!--" + "x" * 400_000):
        message = refusal(folder, "a.xls", (head + endless).encode(), max_line_bytes=100_000)
        assert "more than 100,000 characters" in message


def test_the_xml_of_excel_2003(folder: Folder) -> None:
    def cells(row: list[Any]) -> str:
        kind = {datetime: "DateTime", int: "Number"}
        return "".join(
            f'<Cell><Data ss:Type="{kind.get(type(one), "String")}">'
            f"{one.isoformat() if isinstance(one, datetime) else one}</Data></Cell>"
            for one in row
        )

    rows = "".join(f"<Row>{cells(row)}</Row>" for row in (NAMES, ROW))
    data = (
        '<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?>'
        '<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet" '
        'xmlns:ss="urn:schemas-microsoft-com:office:spreadsheet">'
        f'<Worksheet ss:Name="a"><Table>{rows}</Table></Worksheet></Workbook>'
    )
    batch = folder.read("a.xls", data.encode(), MAP)
    assert batch.frame.select(NAMES).rows() == [
        ("0012", "王芳", UTC_AT, "connected", 65_000, "+8613812345678")
    ]


def test_text_that_is_named_like_a_workbook(folder: Folder) -> None:
    for separator in ("\t", ","):
        for encoding in ("utf-8", "utf-16", "gbk"):
            data = as_csv([call(user_id="王芳")], separator).decode().encode(encoding)
            assert folder.read("a.xls", data).frame["user_id"].to_list() == ["王芳"]


def archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(
                name.replace("_of_", "/").replace("a__", "a.").replace("/__D", "/.D"), data
            )
    return out.getvalue()


def test_an_archive_with_one_file(folder: Folder) -> None:
    text = as_csv([call(user_id="王芳")])
    for data in (
        archive(a__csv=text),
        archive(a__csv=text.decode().encode("gbk")),
        archive(folder_of_a__xlsx=xlsx(("a", [NAMES, ["0012", *ROW[1:]]]))),
        archive(a__csv=text, folder_of___DS_Store=b"y", __MACOSX_of_a__csv=b"z"),
    ):
        batch = folder.read("calls.zip", data, MAP)
        assert batch.frame["user_id"].to_list() == ["王芳"]
        assert "The archive's file 'a." in batch.warnings[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (archive(a__csv=b"x", b__csv=b"y"), "is a zip archive of 2 files"),
        (archive(), "is a zip archive of 0 files"),
        (archive(a__zip=archive(b__csv=b"x")), "is an archive in an archive"),
        (archive(a__csv=b""), "is empty"),
    ],
)
def test_archives_that_are_refused(folder: Folder, data: bytes, message: str) -> None:
    assert message in refusal(folder, "calls.zip", data)


def test_a_damaged_member_is_told(folder: Folder) -> None:
    data = bytearray(archive(a__csv=as_csv([call(callid=f"c-{at}") for at in range(2_000)])))
    data[400:420] = bytes(20)
    assert "damaged zip archive" in refusal(folder, "calls.zip", bytes(data))


def test_numbers_in_names_of_files_sheets_and_columns_are_masked(folder: Folder) -> None:
    number = "13812348000"
    odd = as_csv([{**call(), number: "x"}])
    [packed] = folder.batches("a.zip", archive_of(f"{number}.csv", odd))
    sheets = xlsx((f"calls {number}", [[*NAMES, f"of {number}"], [*ROW, "x"]]), ("other", [["a"]]))
    [book] = folder.batches("a.xlsx", sheets, MAP)
    assert len(packed.warnings) == len(book.warnings) == 2
    for note in (*packed.warnings, *book.warnings):
        assert "138****8000" in note
        assert number not in note


def archive_of(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, data)
    return out.getvalue()
