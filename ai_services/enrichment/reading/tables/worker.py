"""The process that takes a workbook apart, apart from the others: a workbook of a few kilobytes may
need any amount of memory. It has a limit, and dies alone.

It runs from its file, without the rest of the product. On stdin come a line of JSON (`Task`), the
workbook's bytes, and one byte per sheet that is shown: `y` to go on with it, `n` for the next one.
On stdout go frames, each of 4 bytes of length and that much MessagePack (`Frame`).
"""

from __future__ import annotations

import io
import re
import resource
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, BinaryIO, Final
from xml.etree import ElementTree as ET

import msgspec
import python_calamine as calamine

HEAD_ROWS: Final = 64
_ROWS: Final = 4_000
_CHUNK: Final = 1 << 20
_EXACT: Final = 2.0**53  # above it, not every whole number is a number of a workbook
_SECONDS: Final = 600
_MIDNIGHT: Final = time()
_HOUR: Final = 3600
# A cell with a formula whose result was never stored.
_UNCOMPUTED: Final = re.compile(
    rb'<c r="([A-Z]{1,3})\d+"[^<>]*+><f[^<>]*+(?:(?<=/)>|>[^<]*+</f>)(?:<v\s*+/>|<v></v>)?</c>'
)
_MANIFEST: Final = "META-INF/manifest.xml"
_BOF: Final = b"\x09\x08\x10\x00\x00\x06\x05\x00"  # of the workbook, in BIFF8
_FIRST_RECORDS: Final = 8
_LONGEST_CELL: Final = 1 << 16
_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


class Task(msgspec.Struct):
    """`sheet`: the only one that is wanted. `memory`, `unpacked`: the most bytes of each."""

    size: int
    sheet: str | None
    memory: int
    unpacked: int


class Frame(msgspec.Struct):
    """Rows of a sheet: `columns` has the cells, column by column, as text; row numbers begin at
    `first_row`. A frame with a `sheet` is the first of one. `dated`: column → its rows, counted from
    0, that are times; `lost`: column → rows with numbers whose digits the workbook has not kept.
    `uncomputed` are columns with formulas that have no result. `refused` is what ends it all.
    """

    columns: list[list[str | None]] = []
    first_row: int = 1
    dated: dict[int, list[int]] = {}
    lost: dict[int, list[int]] = {}
    sheet: str | None = None
    hidden: bool = False
    rows: int = 0  # of the sheet
    uncomputed: list[int] = []
    sheets: list[str] = []  # of the workbook
    last: bool = False  # of the sheet, or of the workbook where there is none
    refused: tuple[str, str] | None = None  # problem, fix


def main() -> None:
    """Serve one workbook."""
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    _limit(resource.RLIMIT_AS, task.memory)
    _limit(resource.RLIMIT_CPU, _SECONDS)
    try:
        data = sys.stdin.buffer.read(task.size)
        for frame in _frames(data, task, sys.stdin.buffer):
            _send(frame)
    except _Refused as refused:
        _send(Frame(refused=refused.told))
    except calamine.PasswordError:
        _send(Frame(refused=("is protected with a password", "save it without one")))
    except (calamine.CalamineError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        what = re.sub(r"\s+", " ", str(error))[:200]
        fix = "open and save it again, or save the sheet as CSV (UTF-8)"
        _send(Frame(refused=(f"can't be read as a workbook ({what})", fix)))
    except MemoryError:
        sys.exit(1)


def _limit(what: int, most: int) -> None:
    allowed = resource.getrlimit(what)[1]
    most = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
    resource.setrlimit(what, (most, most))


class _Refused(ValueError):
    def __init__(self, problem: str, fix: str) -> None:
        self.told = (problem, fix)


def _send(frame: Frame) -> None:
    data = msgspec.msgpack.encode(frame)
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()


def _frames(data: bytes, task: Task, answers: BinaryIO) -> Iterator[Frame]:
    if _has_password(data):
        raise calamine.PasswordError
    uncomputed = _unpack(data, task.unpacked) if data.startswith(b"PK") else {}
    book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    names = [
        one.name for one in book.sheets_metadata if one.typ is calamine.SheetTypeEnum.WorkSheet
    ]
    hidden = {
        one.name
        for one in book.sheets_metadata
        if one.visible is not calamine.SheetVisibleEnum.Visible
    }
    if task.sheet is not None and task.sheet not in names:
        listed = ", ".join(map(repr, names[:20])) or "none"
        raise _Refused(f"has no sheet {task.sheet!r}", f"name one that is there: {listed}")
    wanted = names if task.sheet is None else [task.sheet]
    for name in sorted(wanted, key=lambda one: one in hidden):
        sheet = book.get_sheet_by_name(name)
        frames = _of_sheet(sheet, uncomputed.get(name, set()))
        head = next(frames)
        head.sheet, head.hidden, head.sheets = name, name in hidden, names
        yield head
        if answers.read(1) == b"y":
            yield from frames
            return
        del sheet, frames
    yield Frame(last=True, sheets=names)


def _of_sheet(sheet: calamine.CalamineSheet, uncomputed: set[int]) -> Iterator[Frame]:
    """Its first rows, and then the others."""
    left = sheet.start[1] if sheet.start else 0
    rows = iter(sheet.iter_rows())
    merged = _Merged(sheet, left)
    number, size = 1, HEAD_ROWS
    total = sheet.total_height
    while True:
        taken = list(islice(rows, size))
        merged.fill(taken, number)
        frame = _frame(taken, number)
        frame.rows, frame.last = total, len(taken) < size
        frame.uncomputed = sorted(column - left for column in uncomputed)
        yield frame
        if frame.last:
            return
        number, size = number + len(taken), _ROWS


class _Merged:
    """Cells merged over several rows have their value in the first; it is meant for all of them."""

    def __init__(self, sheet: calamine.CalamineSheet, left: int) -> None:
        self._from: dict[int, list[tuple[int, int]]] = {}
        for (top, first), (bottom, _) in sheet.merged_cell_ranges or ():
            if bottom > top and first >= left:
                self._from.setdefault(top + 1, []).append((first - left, bottom + 1))
        self._open: dict[int, tuple[int, Any]] = {}

    def fill(self, rows: Sequence[list[Any]], number: int) -> None:
        """`rows` begin with the row `number`, from 1."""
        if not self._from:
            return
        for at, row in enumerate(rows, number):
            for column, (last, value) in list(self._open.items()):
                if at > last:
                    del self._open[column]
                elif column < len(row):
                    row[column] = value
            for column, last in self._from.get(at, ()):
                if column < len(row):
                    self._open[column] = (last, row[column])


def _frame(rows: list[list[Any]], number: int) -> Frame:
    frame = Frame(first_row=number)
    for at, values in enumerate(zip(*rows, strict=True)):
        cells, lost = values, []
        kinds = set(map(type, values))
        if kinds == {str}:
            frame.columns.append(list(values))
            continue
        if float in kinds or int in kinds:
            lost = [row for row, value in enumerate(values) if _is_lost(value)]
        if datetime in kinds:  # what is midnight is shown as a date
            cells = tuple(
                datetime.combine(one, _MIDNIGHT) if type(one) is date else one for one in values
            )
            frame.dated[at] = [row for row, one in enumerate(cells) if type(one) is datetime]
        frame.columns.append([_AS_TEXT[type(cell)](cell) for cell in cells])
        if lost:
            frame.lost[at] = lost
    return frame


def _is_lost(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) > _EXACT


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _duration(value: timedelta) -> str:
    seconds, rest = divmod(value.days * 24 * _HOUR + value.seconds, 60)
    told = f"{seconds // 60}:{seconds % 60:02}:{rest:02}"
    return f"{told}.{value.microseconds:06}".rstrip("0") if value.microseconds else told


_AS_TEXT: Final[dict[type, Callable[[Any], str | None]]] = {
    str: lambda text: text or None,
    int: str,
    float: _number,
    bool: lambda value: "true" if value else "false",
    datetime: datetime.isoformat,
    date: date.isoformat,
    time: time.isoformat,
    timedelta: _duration,
    type(None): lambda _: None,
}


def _has_password(data: bytes) -> bool:
    """Of an OLE file: a package that is encrypted, or FILEPASS among the first records of BIFF."""
    if data.startswith(b"PK"):
        return False
    if "EncryptedPackage".encode("utf-16-le") in data:
        return True
    at = data.find(_BOF)
    for _ in range(_FIRST_RECORDS if at >= 0 else 0):
        kind, size = data[at : at + 2], int.from_bytes(data[at + 2 : at + 4], "little")
        if kind == b"\x2f\x00":
            return True
        at += 4 + size
    return False


def _unpack(data: bytes, most: int) -> dict[str, set[int]]:
    """Sheet → its columns with formulas that have no result. Counts what really comes out of the
    archive, whatever its directory says.
    """
    found: dict[str, set[int]] = {}
    left = most
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            if info.flag_bits & 0x1:
                raise calamine.PasswordError
            said, info.file_size = info.file_size, sys.maxsize  # read on, whatever it says
            columns: set[int] = set()
            tail, size = b"", 0
            is_sheet = info.filename.endswith(".xml") and "/worksheets/" in info.filename
            with archive.open(info) as member:
                while chunk := member.read(_CHUNK):
                    size += len(chunk)
                    if size > left:
                        raise _Refused(f"unpacks to more than {most >> 20:,} MiB", "split it")
                    if info.filename == _MANIFEST and b"encryption-data" in chunk:
                        raise calamine.PasswordError
                    if is_sheet:
                        tail = _note_uncomputed(tail + chunk, columns)
            if size != said:
                raise _Refused("is damaged: a part of it is of another size", "save it again")
            left -= size
            if columns:
                found[info.filename] = columns
        return _by_sheet(archive, found) if found else {}


def _note_uncomputed(chunk: bytes, columns: set[int]) -> bytes:
    if b"<f" in chunk:
        columns.update(_column(match[1]) for match in _UNCOMPUTED.finditer(chunk))
    return chunk[max(chunk.rfind(b"<c "), len(chunk) - _LONGEST_CELL) :]


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _by_sheet(archive: zipfile.ZipFile, found: dict[str, set[int]]) -> dict[str, set[int]]:
    """Under the names of the sheets whose parts these are."""
    try:
        book = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - in a process with limits
        relations = ET.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314
    except (KeyError, ET.ParseError):
        return {}
    targets = {one.get("Id"): (one.get("Target") or "").lstrip("/") for one in relations}
    parts: dict[str, set[int]] = {}
    for sheet in book.iterfind(".//{*}sheet"):
        target = targets.get(sheet.get(_RELATION)) or ""
        columns = found.get(target) or found.get(f"xl/{target}")
        if columns:
            parts[sheet.get("name") or ""] = columns
    return parts


if __name__ == "__main__":
    main()
