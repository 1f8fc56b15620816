"""Maps that are suggested for workbooks: what is suggested reads the same file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from ai_services.enrichment.reading.presets.preset import parse_preset
from ai_services.enrichment.suggesting.suggest import SentFile, Suggestion, suggest
from shared.errors import InvalidInput
from tests.ai_services.enrichment.reading.tables.workbooks import compound, ods, xls, xlsx
from tests.ai_services.enrichment.suggesting.samples import UNKNOWN
from tests.ai_services.enrichment.suggesting.test_suggest import calls_of

AT = datetime(2024, 3, 5, 14, 20)
UTC_AT = datetime(2024, 3, 5, 6, 20, tzinfo=UTC)
NAMES = ["通话编号", "坐席", "被叫号码", "呼叫时间", "通话时长", "通话状态"]
ROWS = [
    [f"t-{n}", "张三", 13812348000 + n, AT + timedelta(minutes=n), 65, "接通" if n % 2 else "占线"]
    for n in range(6)
]
SUMMARY = [["坐席", "数量"], ["张三", 6]]


def suggested(data: bytes, name: str = "calls.xlsx", sheet: str | None = None) -> Suggestion:
    return suggest(SentFile(name, data), sheet=sheet)


def brought_in(tmp_path: Path, data: bytes, name: str = "calls.xlsx") -> dict[str, dict[str, Any]]:
    """By the map that is suggested for it."""
    found = suggested(data, name)
    assert (found.missing, found.tried.problem, found.tried.rejects) == ([], "", [])
    path = tmp_path / name
    path.write_bytes(data)
    taken = calls_of(path, found.column_map)
    assert found.tried.calls == len(taken)
    return taken


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.xlsx", xlsx(("通话", [NAMES, *ROWS]))),
        pytest.param("a.xls", xls("通话", [NAMES, *ROWS]), marks=pytest.mark.slow),
        pytest.param("a.ods", ods("通话", [NAMES, *ROWS]), marks=pytest.mark.slow),
    ],
    ids=["xlsx", "xls", "ods"],
)
def test_calls_of_any_workbook_come_in(tmp_path: Path, name: str, data: bytes) -> None:
    taken = brought_in(tmp_path, data, name)
    assert list(taken) == [f"t-{n}" for n in range(6)]
    one = taken["t-0"]
    assert (one["started_at"], one["duration_ms"], one["user_id"]) == (UTC_AT, 65_000, "张三")
    assert (one["phone"], one["call_status"]) == ("+8613812348000", "busy")


@pytest.mark.slow
@pytest.mark.parametrize("first", ["汇总", "通话"])
def test_the_sheet_with_the_calls_is_named(tmp_path: Path, first: str) -> None:
    sheets = [("汇总", SUMMARY), ("通话", [NAMES, *ROWS]), ("空", [])]
    data = xlsx(*sorted(sheets, key=lambda one: one[0] != first))
    told = suggested(data).column_map
    assert 'sheet = "通话"  # others are not read: ' in told
    assert len(brought_in(tmp_path, data)) == 6


@pytest.mark.slow
def test_of_two_sheets_with_calls_one_may_be_named() -> None:
    data = xlsx(("三月", [NAMES, *ROWS]), ("四月", [NAMES, *ROWS[:2]]))
    assert suggested(data).tried.calls == 6
    april = suggested(data, sheet="四月")
    assert (april.tried.calls, parse_preset("m", april.column_map).layout.sheet) == (2, "四月")
    with pytest.raises(InvalidInput, match=r"has no sheet '五月'.*'三月', '四月'"):
        suggested(data, sheet="五月")
    with pytest.raises(InvalidInput, match="no workbook"):
        suggested(b"a,b\n1,2\n", "calls.csv", sheet="三月")


@pytest.mark.slow
def test_titles_above_and_totals_below_are_no_calls(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        ["三月通话清单"], ["导出时间：2024-04-01 09:00"], [], NAMES, *ROWS[:3], NAMES, *ROWS[3:], [],
        ["合计", None, None, None, 390],
    ]  # fmt: skip

    def merge(book: Any) -> None:
        book["通话"].merge_cells("A1:F1")

    assert len(brought_in(tmp_path, xlsx(("通话", rows), change=merge))) == 6


@pytest.mark.slow
def test_names_in_two_rows_of_merged_cells_are_found(tmp_path: Path) -> None:
    rows: list[list[Any]] = [
        [*NAMES[:3], "通话", None, None],
        [None, None, None, *NAMES[3:]],
        *ROWS,
    ]

    def merge(book: Any) -> None:
        for cells in ("A1:A2", "B1:B2", "C1:C2", "D1:F1"):
            book["通话"].merge_cells(cells)

    taken = brought_in(tmp_path, xlsx(("通话", rows), change=merge))
    assert taken["t-5"]["call_status"] == "connected"


@pytest.mark.slow
def test_an_account_that_stands_once_for_its_calls_is_that_of_all(tmp_path: Path) -> None:
    rows = [list(row) for row in ROWS]
    for row in rows[1:3]:
        row[1] = None

    def merge(book: Any) -> None:
        book["通话"].merge_cells("B2:B4")

    taken = brought_in(tmp_path, xlsx(("通话", [NAMES, *rows]), change=merge))
    assert {one["user_id"] for one in taken.values()} == {"张三"}


@pytest.mark.slow
def test_times_that_are_partly_text_are_read_and_doubted(tmp_path: Path) -> None:
    """A spreadsheet program that takes 05/03 for a day in May leaves 25/03 a text."""
    rows = [list(row) for row in ROWS]
    for row in rows[3:]:
        row[3] = "25/03/2024 14:20"
    data = xlsx(("通话", [NAMES, *rows]))
    told = suggested(data).column_map
    assert 'time_format = "%d/%m/%Y %H:%M"  # some cells are dates, some text' in told
    taken = brought_in(tmp_path, data)
    assert taken["t-0"]["started_at"] == UTC_AT
    assert taken["t-5"]["started_at"] == UTC_AT + timedelta(days=20)


@pytest.mark.slow
def test_durations_that_are_times_of_day_are_durations(tmp_path: Path) -> None:
    rows = [[*row[:4], time(0, 1, 5), row[5]] for row in ROWS]
    assert brought_in(tmp_path, xlsx(("a", [NAMES, *rows])))["t-0"]["duration_ms"] == 65_000


@pytest.mark.slow
def test_a_long_sheet_is_looked_at_in_part(tmp_path: Path) -> None:
    """A word that comes late is known all the same."""
    rows = [[f"t-{n}", *ROWS[0][1:5], "接通" if n < 300 else "奇怪"] for n in range(301)]
    found = suggested(xlsx(("通话", [NAMES, *rows])))
    assert (found.tried.rows, found.tried.calls) == (301, 300)
    assert '# "奇怪" = "?"' in found.column_map


def _html(rows: Sequence[Sequence[Any]]) -> bytes:
    body = "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in rows)
    return f"<html><meta charset=utf-8><table>{body}</table></html>".encode()


def _zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(name, data)
    return out.getvalue()


ROBOT = next(one for one in UNKNOWN if one.name == "robot-gbk.csv")


@pytest.mark.parametrize(
    ("name", "data", "calls"),
    [
        ("calls.xls", _html([NAMES, *ROWS]), 6),
        ("calls.zip", _zipped("robot.csv", ROBOT.data), 5),
        pytest.param(
            "calls.zip",
            _zipped("a.xlsx", xlsx(("通话", [NAMES, *ROWS]))),
            6,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["html", "zipped-csv", "zipped-workbook"],
)
def test_what_is_named_like_one_or_packed(
    tmp_path: Path, name: str, data: bytes, calls: int
) -> None:
    assert len(brought_in(tmp_path, data, name)) == calls


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/worksheets/sheet1.xml", b" " * (3 << 20))
    return out.getvalue()


def _of_one_sheet(rows: Sequence[Sequence[Any]]) -> Callable[[], bytes]:
    return lambda: xlsx(("a", rows))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: compound({"EncryptedPackage": b"x"}), "is protected with a password"),
        (_bomb, "unpacks to more than 2 MiB"),
        (lambda: xlsx(("a", [NAMES]))[:-60], "damaged zip archive or workbook"),
        (_of_one_sheet([]), "has no table of two columns or more"),
        (_of_one_sheet([["one"], ["two"]]), "has no table of two columns or more"),
        (lambda: b"<p>no table</p>", "XML or HTML without a table"),
    ],
    ids=["password", "bomb", "cut", "empty", "one-column", "no-table"],
)
def test_what_is_no_workbook_of_calls_says_why(make: Callable[[], bytes], told: str) -> None:
    with pytest.raises(InvalidInput, match=told) as refused:
        suggest(SentFile("calls.xlsx", make()), most=2 << 20)
    assert all(detail.fix for detail in refused.value.details)
