"""Workbooks for tests: of Excel, of Excel 97, of OpenDocument."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from xml.sax.saxutils import escape

import openpyxl

_SECTOR: Final = 512
_END, _FAT, _FREE = 0xFFFFFFFE, 0xFFFFFFFD, 0xFFFFFFFF


def xlsx(
    *sheets: tuple[str, Sequence[Sequence[Any]]], change: Callable[[Any], None] | None = None
) -> bytes:
    """`change` gets the openpyxl workbook before it is saved."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    if change is not None:
        change(book)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def repacked(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """An archive with its members changed."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as old,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()


def ods(name: str, rows: Sequence[Sequence[Any]]) -> bytes:
    body = "".join(
        f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>" for row in rows
    )
    spaces = "".join(
        f' xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{short}:1.0"'
        for short in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content{spaces}><office:body>'
        f'<office:spreadsheet><table:table table:name="{escape(name)}">{body}</table:table>'
        "</office:spreadsheet></office:body></office:document-content>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr("content.xml", content)
    return out.getvalue()


def _ods_cell(value: Any) -> str:
    if isinstance(value, datetime):
        kind = f'office:value-type="date" office:date-value="{value.isoformat()}"'
    elif isinstance(value, int | float):
        kind = f'office:value-type="float" office:value="{value}"'
    else:
        kind = 'office:value-type="string"'
    return f"<table:table-cell {kind}><text:p>{escape(str(value))}</text:p></table:table-cell>"


def xls(name: str, rows: Sequence[Sequence[str | float]], *, from_1904: bool = False) -> bytes:
    """BIFF8, with texts and numbers; a number in a cell of a datetime is one of its days."""
    records = [_record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0005, 0, 0, 0, 0))]
    records.append(_record(0x0022, struct.pack("<H", from_1904)))
    general = struct.pack("<HHHBBBBIIH", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    dated = struct.pack("<HHHBBBBIIH", 0, 22, 0, 0, 0, 0, 0, 0, 0, 0)
    records += [_record(0x00E0, general), _record(0x00E0, dated)]
    size = sum(map(len, records)) + 4 + 8 + 2 * len(name) + 4
    title = struct.pack("<IBBBB", size, 0, 0, len(name), 1) + name.encode("utf-16-le")
    records += [_record(0x0085, title), _record(0x000A, b"")]
    records.append(_record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0010, 0, 0, 0, 0)))
    width = max(map(len, rows))
    records.append(_record(0x0200, struct.pack("<IIHHH", 0, len(rows), 0, width, 0)))
    for at, row in enumerate(rows):
        for column, value in enumerate(row):
            records.append(_xls_cell(at, column, value, from_1904=from_1904))
    records.append(_record(0x000A, b""))
    return compound({"Workbook": b"".join(records)})


def _xls_cell(row: int, column: int, value: Any, *, from_1904: bool) -> bytes:
    if isinstance(value, str):
        text = struct.pack("<HHHHB", row, column, 0, len(value), 1) + value.encode("utf-16-le")
        return _record(0x0204, text)
    style = 0
    if isinstance(value, datetime):
        first = (
            datetime(1904, 1, 1, tzinfo=UTC) if from_1904 else datetime(1899, 12, 30, tzinfo=UTC)
        )
        value, style = (value.replace(tzinfo=UTC) - first).total_seconds() / 86_400, 1
    return _record(0x0203, struct.pack("<HHHd", row, column, style, value))


def _record(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def compound(streams: Mapping[str, bytes]) -> bytes:
    """An OLE2 compound file ([MS-CFB]) whose streams are all of 4,096 bytes or more."""
    fat: list[int] = [_FAT, _END]
    entries = [_entry("Root Entry", 5, _END, 0, child=1)]
    body = b""
    padded = {name: data.ljust(4096, b"\0") for name, data in streams.items()}
    for at, (name, data) in enumerate(padded.items(), 1):
        count = -(-len(data) // _SECTOR)
        start = len(fat)
        fat += [*range(start + 1, start + count), _END]
        body += data.ljust(count * _SECTOR, b"\0")
        right = at + 1 if at < len(streams) else _FREE
        entries.append(_entry(name, 2, start, len(data), right=right))
    assert len(fat) <= _SECTOR // 4
    assert len(entries) <= 4
    header = struct.pack(
        "<8s16sHHHHH6sIIIIIIIIII", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"", 0x3E, 3, 0xFFFE, 9, 6,
        b"", 0, 1, 1, 0, 4096, _END, 0, _END, 0, 0,
    ) + struct.pack("<108I", *[_FREE] * 108)  # fmt: skip
    table = struct.pack("<128I", *fat, *[_FREE] * (128 - len(fat)))
    return header + table + b"".join(entries).ljust(_SECTOR, b"\0") + body


def _entry(
    name: str, kind: int, start: int, size: int, *, right: int = _FREE, child: int = _FREE
) -> bytes:
    title = name.encode("utf-16-le")
    return struct.pack(
        "<64sHBBIII16sIQQIQ", title, len(title) + 2, kind, 1, _FREE, right, child, b"", 0, 0, 0,
        start, size,
    )  # fmt: skip
