"""Workbooks: rows/s that are read from one and validated, beside the same rows as CSV.

The figures have the prefixes `xlsx` and `csv`; the workbook is as Excel writes it, with shared texts
and times as days.
"""

from __future__ import annotations

import csv
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ai_services.enrichment.reading.presets.preset import parse_preset
from ai_services.enrichment.reading.read_file import read_calls

ROWS: Final = 100_000
_QUICK_ROWS: Final = 20_000
_FIRST: Final = datetime(2024, 1, 1, tzinfo=UTC)
_DAYS_BEFORE: Final = (_FIRST - datetime(1899, 12, 30, tzinfo=UTC)).days
_NAMES: Final = (
    "callid", "task_id", "agent_id", "user_id", "customer_id", "phone", "started_at",
    "duration_ms", "bill_ms", "rounds", "level_name", "call_status", "hangup_by",
)  # fmt: skip
_COLUMNS: Final = "ABCDEFGHIJKLM"
_SPACE: Final = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_RELATIONS: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PARTS: Final = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    f'<Relationship Id="r1" Type="{_RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook {_SPACE} xmlns:r="{_RELATIONS}"><sheets>'
    '<sheet name="calls" sheetId="1" r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
    f'relationships"><Relationship Id="r1" Type="{_RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="r2" Type="{_RELATIONS}/styles" Target="styles.xml"/>'
    f'<Relationship Id="r3" Type="{_RELATIONS}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
    "xl/styles.xml": f'<styleSheet {_SPACE}><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22"/>'
    "</cellXfs></styleSheet>",
}


def run(*, quick: bool) -> Mapping[str, float]:
    """Every figure, from files of one size."""
    rows = _QUICK_ROWS if quick else ROWS
    return {"xlsx_rows_per_s": xlsx_rows_per_s(rows), "csv_rows_per_s": csv_rows_per_s(rows)}


def xlsx_rows_per_s(rows: int) -> float:
    """From the closed workbook to the last validated batch."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "calls.xlsx")
        write_workbook(path, rows)
        return _rate(path, rows)


def csv_rows_per_s(rows: int) -> float:
    """The same rows as text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "calls.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_NAMES)
            writer.writerows(_calls(rows))
        return _rate(path, rows)


def _rate(path: Path, rows: int) -> float:
    started = time.perf_counter()
    read = sum(
        batch.frame.height
        for batch in read_calls(path, parse_preset("utc", 'timezone = "Asia/Shanghai"'))
    )
    seconds = time.perf_counter() - started
    if read != rows:
        raise RuntimeError(f"{read} of {rows} rows were read")
    return rows / seconds


def _calls(rows: int) -> Iterator[list[str | int]]:
    for at in range(rows):
        started = (_FIRST + timedelta(seconds=97 * at)).replace(tzinfo=None)
        yield [
            f"call-{at}", f"task-{at % 50}", f"坐席 {at % 200}", f"账号 {at % 20}", f"customer-{at % 40_000}",
            13_800_000_000 + at, started.isoformat(), 1000 + at % 90_000, 1000 + at % 90_000, at % 9,
            "ABCDEF"[at % 6], "connected", 1 + at % 2,
        ]  # fmt: skip


def write_workbook(path: Path, rows: int) -> None:
    """One sheet of calls, of 13 columns."""
    texts: dict[str, int] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in _PARTS.items():
            archive.writestr(name, content)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(f"<worksheet {_SPACE}><sheetData>".encode())
            sheet.write(_row(1, list(_NAMES), texts))
            for number, call in enumerate(_calls(rows), 2):
                sheet.write(_row(number, call, texts))
            sheet.write(b"</sheetData></worksheet>")
        items = "".join(f"<si><t>{text}</t></si>" for text in texts)
        archive.writestr("xl/sharedStrings.xml", f"<sst {_SPACE}>{items}</sst>")


def _row(number: int, cells: list[str | int], texts: dict[str, int]) -> bytes:
    written = []
    for column, name, cell in zip(_COLUMNS, _NAMES, cells, strict=True):
        place = f'<c r="{column}{number}"'
        if isinstance(cell, int):
            written.append(f"{place}><v>{cell}</v></c>")
        elif name == "started_at" and number > 1:
            days = datetime.fromisoformat(cell).replace(tzinfo=UTC) - _FIRST
            since = _DAYS_BEFORE + days / timedelta(days=1)
            written.append(f'{place} s="1"><v>{since!r}</v></c>')
        else:
            written.append(f'{place} t="s"><v>{texts.setdefault(cell, len(texts))}</v></c>')
    return f'<row r="{number}">{"".join(written)}</row>'.encode()
