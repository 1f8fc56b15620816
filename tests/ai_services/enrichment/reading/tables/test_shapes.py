"""CSV as exports write it: titles, totals, comments, odd separators and quotes, no header at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_services.enrichment.reading.file_format import FileRefused
from ai_services.enrichment.reading.presets.preset import parse_preset
from shared.errors import InvalidInput
from tests.ai_services.enrichment.calls_files import Folder

HEADER = "callid,user_id,started_at,call_status,duration_ms"
ROW = "c-1,u,2024-03-05T14:20:00+08:00,connected,65000"
SECOND = ROW.replace("c-1", "c-2")
ASTERISK = [
    (
        '"","2001","13800001111","from-internal","""Desk A"" <2001>","PJSIP/2001-a1","PJSIP/trunk-a2",'
        '"Dial","PJSIP/13800001111@trunk,30","2024-03-05 14:20:00","2024-03-05 14:20:08",'
        '"2024-03-05 14:21:13",73,65,"ANSWERED","DOCUMENTATION","1709619600.101",""'
    ),
    (
        '"","2002","13800002222","from-internal","""Desk B"" <2002>","PJSIP/2002-a3","","Dial",'
        '"PJSIP/13800002222@trunk,30","2024-03-05 14:22:00",,"2024-03-05 14:22:30",30,0,"NO ANSWER",'
        '"DOCUMENTATION","1709619720.102",""'
    ),
]
CDR = """
timezone = "Asia/Shanghai"
duration_unit = "s"
{head}
[columns]
callid = {callid}
user_id = {user_id}
started_at = {started_at}
duration_ms = {duration_ms}
call_status = {call_status}
phone = {phone}
[values.call_status]
ANSWERED = "connected"
"NO ANSWER" = "no_answer"
"""
NAMES = [
    "accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata",
    "start", "answer", "end", "duration", "billsec", "disposition", "amaflags", "uniqueid",
    "userfield",
]  # fmt: skip
BY_NAME = {
    "callid": '"uniqueid"', "user_id": '"src"', "started_at": '"start"', "duration_ms": '"billsec"',
    "call_status": '"disposition"', "phone": '"dst"',
}  # fmt: skip
BY_POSITION = {
    "callid": 17, "user_id": 2, "started_at": 10, "duration_ms": 14, "call_status": 15, "phone": 3,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def text(*lines: str) -> bytes:
    return "\n".join([*lines, ""]).encode()


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (["外呼通话记录"], "stand in line 2; the line before it is left out"),
        (["外呼通话记录", "导出时间,2024-03-06", ""], "stand in line 4; the 2 lines before it are"),
        (["Call report", "", "Exported: 2024-03-06 10:00", "", ""], "stand in line 6; the 2 lines"),
        (["# exported 2024-03-06"], "stand in line 2; the line before it"),
        (["报表,,,,", ",,,,", "日期:2024-03-06,,,,"], "stand in line 4; the 2 lines before it are"),
        (['"title with ""quotes"", and commas"', *["note"] * 40], "stand in line 42"),
        (["", ""], ""),
        (["sep=,"], ""),
    ],
)
def test_the_header_is_found_below_titles_dates_and_blank_lines(
    folder: Folder, before: list[str], told: str
) -> None:
    batch = folder.read("a.csv", text(*before, HEADER, ROW))
    assert batch.frame["callid"].to_list() == ["c-1"]
    assert batch.frame["line"].to_list() == [len(before) + 2]
    assert batch.rejects == []
    assert [told in note for note in batch.warnings] == ([True] if told else [])


def test_a_map_says_how_many_lines_stand_before_the_header(folder: Folder) -> None:
    preset = parse_preset("m", "skip_rows = 2\n[columns]\nuser_id = 'agent'\n")
    header = HEADER.replace("user_id", "agent")
    data = text("callid,agent,started_at,call_status,duration_ms", "-", header, ROW)
    batch = folder.read("a.csv", data, preset)
    assert batch.frame["line"].to_list() == [4]
    with pytest.raises(FileRefused, match="no header line"):
        folder.read("a.csv", text("title", header, ROW, ROW), preset)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "^"])
@pytest.mark.parametrize("sep_line", [True, False])
def test_separators_are_found_by_content(folder: Folder, separator: str, sep_line: bool) -> None:
    lines = [line.replace(",", separator) for line in (HEADER, ROW)]
    head = [f"sep={separator}"] if sep_line else []
    assert folder.read("a.csv", text(*head, *lines)).frame["callid"].to_list() == ["c-1"]


def test_a_map_names_another_separator(folder: Folder) -> None:
    preset = parse_preset("m", 'separator = "~"')
    data = text(*(line.replace(",", "~") for line in (HEADER, ROW)))
    assert folder.read("a.csv", data, preset).frame.height == 1


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (HEADER.replace("callid", '"CallID" '), ROW),
        (HEADER.replace(",", ", "), ROW.replace(",", ", ")),
        ('"callid", "user_id", "started_at", "call_status", "duration_ms"', ROW),
        (HEADER, ROW.replace("c-1,u", '"c-1" ,  "u"  ')),
        (HEADER, ROW.replace("c-1,u", '"c-1"\t,"u"')),
        (HEADER + ",,,", ROW + ",,,"),
        (HEADER + ",", ROW),
        (HEADER, ROW + ","),
        (HEADER, ROW + ",, ,"),
        ("'" + HEADER.replace(",", "','") + "'", "'" + ROW.replace(",", "','") + "'"),
        ("callid,'user_id',started_at,call_status,duration_ms", ROW),
        ("#" + HEADER, ROW),
        ("\ufeff" + HEADER, ROW),
    ],
)
def test_blanks_commas_and_quotes_around_cells(folder: Folder, header: str, row: str) -> None:
    batch = folder.read("a.csv", text(header, row, SECOND))
    assert batch.frame["callid"].to_list() == ["c-1", "c-2"]
    assert batch.rejects == []


def test_commas_behind_some_rows_only(folder: Folder) -> None:
    batch = folder.read("a.csv", text(HEADER, SECOND, ROW + ",", SECOND + ",x"))
    assert sorted(batch.frame["callid"]) == ["c-1", "c-2"]
    assert [(one.line, one.problem) for one in batch.rejects] == [
        (4, "has 6 fields; the header has 5")
    ]


def test_single_quotes_hold_separators_and_line_ends(folder: Folder) -> None:
    preset = parse_preset("m", "ignore = ['note']")
    data = text("'callid','user_id','started_at','call_status','duration_ms','note'",
                "'c-1','o''neill','2024-03-05T14:20:00+08:00','connected','1','a, b\nc'")  # fmt: skip
    assert folder.read("a.csv", data, preset).frame["user_id"].to_list() == ["o'neill"]


def test_single_quotes_below_a_plain_header(folder: Folder) -> None:
    rows = ["'" + row.replace(",", "','") + "'" for row in (ROW, SECOND)]
    assert folder.read("a.csv", text(HEADER, *rows)).frame["user_id"].to_list() == ["u", "u"]


def test_an_apostrophe_is_no_quote_where_the_header_has_none(folder: Folder) -> None:
    row = ROW.replace("c-1,u", "c-1,o'neill's")
    assert folder.read("a.csv", text(HEADER, row)).frame["user_id"].to_list() == ["o'neill's"]


@pytest.mark.parametrize(
    "total",
    [
        "合计,,,,65", "总计：,,,,65", "共1条", "共 1 条记录", "小计(1),,,,65", ",,合计,,65",
        "Total,,,,65", "TOTAL: 1 call,,,,", "Grand Total,,,,65", "Sum,1", "1 records", "Count: 1",
        "(1 rows)", '"合计",,,,"65"', "合計,,,,65", "记录数：1", "总条数:1,,,,", "--- end ---",
        "# done", "Total 1,,,,65", "Total calls: 1", "本页合计,,,,65", "平均,,,,65",
        "第1页/共1页", "Page 1 of 1", "导出时间：2024-03-06", "导出人:王芳,,,,", "Exported by: x",
        "End of report", "合计65秒",
    ],
)  # fmt: skip
def test_totals_are_no_calls_and_no_bad_rows(folder: Folder, total: str) -> None:
    batch = folder.read("a.csv", text(HEADER, ROW, total))
    assert batch.frame.height == 1
    assert batch.rejects == []
    (note,) = batch.warnings
    assert note.endswith("left out (line 3).")


def test_a_call_is_a_call_whatever_its_id(folder: Folder) -> None:
    batch = folder.read(
        "a.csv", text(HEADER, ROW.replace("c-1", "Total"), ROW.replace("c-1", "#1"))
    )
    assert batch.frame["callid"].to_list() == ["Total", "#1"]
    assert batch.warnings == []


@pytest.mark.parametrize(
    "row", ["合同,,,,65", "Totally,,,,65", "1234,,,,", "a,b", ",,,,65", "导出时间：x,u"]
)
def test_what_is_no_total_is_a_bad_row(folder: Folder, row: str) -> None:
    batch = folder.read("a.csv", text(HEADER, ROW, row))
    assert [one.line for one in batch.rejects] == [3]


def test_a_map_names_more_totals_and_comments(folder: Folder) -> None:
    preset = parse_preset("m", 'totals = ["Summe"]\ncomment = "//"')
    data = text("// made by x", HEADER, ROW, "// page 2", SECOND, "Summe,,,,130")
    batch = folder.read("a.csv", data, preset)
    assert batch.frame.height == 2
    assert batch.rejects == []
    notes = " ".join(batch.warnings)
    assert "totals is left out (line 6)" in notes
    assert "comments is left out (line 4)" in notes


@pytest.mark.parametrize("end", ["\x1a", "\n\x1a", "\n\x1a\n", "\r\n\x1a\x1a"])
def test_ctrl_z_ends_a_file(folder: Folder, end: str) -> None:
    batch = folder.read("a.csv", f"{HEADER}\n{ROW}{end}".encode())
    assert (batch.frame.height, batch.rejects) == (1, [])


@pytest.mark.parametrize(
    ("head", "columns"),
    [
        (f"header = {NAMES}", BY_NAME),
        (f"header = {[*NAMES[:17]]}", BY_NAME),
        ("header = false", BY_POSITION),
    ],
)
@pytest.mark.parametrize("trailing", ["", ","])
def test_a_file_without_a_header_line(
    folder: Folder, head: str, columns: dict[str, object], trailing: str
) -> None:
    preset = parse_preset("m", CDR.format(head=head, **columns))
    batch = folder.read("Master.csv", text(*(line + trailing for line in ASTERISK)), preset)
    assert batch.frame.select("line", "callid", "user_id", "duration_ms", "call_status").rows() == [
        (1, "1709619600.101", "2001", 65_000, "connected"),
        (2, "1709619720.102", "2002", 0, "no_answer"),
    ]
    assert (batch.rejects, batch.warnings) == ([], [])


def test_columns_in_their_order_are_names_enough(folder: Folder) -> None:
    preset = parse_preset("m", f"columns = {HEADER.split(',')}")
    assert folder.read("a.csv", text(ROW, SECOND), preset).frame.height == 2
    batch = folder.read("a.csv", text(HEADER, ROW), preset)  # it has a header after all
    assert (batch.frame.height, batch.rejects) == (1, [])
    assert batch.warnings == []


@pytest.mark.parametrize("first", ["a-1,u,connected,+86 1,", "a-1,u,x,7,", "x,14:20:33,,,"])
def test_any_value_in_the_first_line_tells_that_it_is_no_header(folder: Folder, first: str) -> None:
    with pytest.raises(FileRefused, match="has no header line"):
        folder.read("a.csv", text(first, first))


def test_a_missing_header_is_told_without_a_word_of_the_first_call(folder: Folder) -> None:
    preset = parse_preset("m", CDR.format(head="", **BY_NAME))
    for chosen in (preset, "calls"):
        with pytest.raises(FileRefused) as refused:
            folder.read("Master.csv", text(*ASTERISK), chosen)
        told = refused.value.message + str(refused.value.details)
        assert "has no header line" in told
        assert "header = false" in told
        for value in ("2001", "1380", "1111", "Desk", "from-internal", "1709"):
            assert value not in told


@pytest.mark.parametrize(
    ("text_of_map", "field"),
    [
        ("header = 1", "header"),
        ("header = []", "header"),
        ("header = [1]", "header"),
        ('skip_rows = "2"', "skip_rows"),
        ("skip_rows = -1", "skip_rows"),
        ("skip_rows = true", "skip_rows"),
        ('separator = "ab"', "separator"),
        ("separator = 'a'", "separator"),
        ('separator = "，"', "separator"),
        ('comment = ""', "comment"),
        ('totals = "x"', "totals"),
        ('sheet = ""', "sheet"),
        ("header = false\n[columns]\ncallid = 0", "columns.callid"),
        ("header = false\n[columns]\ncallid = 'id'", "columns.callid"),
        ("[columns]\ncallid = 3", "columns.callid"),
    ],
)
def test_mistakes_in_what_a_map_says_of_the_shape(text_of_map: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_preset("m", text_of_map)
    assert [detail.field for detail in refused.value.details] == [field]
    assert all(detail.fix for detail in refused.value.details)


def test_of_many_totals_the_first_lines_are_told(tmp_path: Path) -> None:
    data = "\n".join([HEADER, ROW, *["合计,,,,3"] * 40, SECOND]).encode()
    batch = Folder(tmp_path).read("a.csv", data)
    assert batch.frame.height == 2
    assert batch.warnings == ["40 rows of totals are left out (lines 3, 4, 5, 6, 7, …)."]
