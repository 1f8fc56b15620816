"""The sheet of a workbook that looks most like calls, or the rows of a page of HTML, as a table: read by
the reader's own process and with its rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.content.lines import ByteStream
from ai_services.enrichment.reading.content.recoded import Recoded
from ai_services.enrichment.reading.file_format import FileFormat
from ai_services.enrichment.reading.read_file import MAX_LINE_BYTES
from ai_services.enrichment.reading.refusal import refuse
from ai_services.enrichment.reading.tables.html_table import html_rows
from ai_services.enrichment.reading.tables.layout import Layout
from ai_services.enrichment.reading.tables.no_calls import NoCalls
from ai_services.enrichment.reading.tables.open_workbook import Workbook
from ai_services.enrichment.reading.tables.row_table import Rows
from ai_services.enrichment.reading.tables.table_head import LOOKED_AT, clean_name
from ai_services.enrichment.reading.tables.worker import Frame
from ai_services.enrichment.suggesting.guess import guess
from ai_services.enrichment.suggesting.table import MOST_ROWS, Table, header_at
from ai_services.enrichment.validation.record import REQUIRED

_WANTED: Final = (*REQUIRED, "duration_ms")
_MOST_COLUMNS: Final = 500
_LOOKED_AT: Final = MOST_ROWS + LOOKED_AT
_FIX: Final = "send the sheet that has one call per row, or save it as CSV"


def read_workbook(file: CallFile, sheet: str | None, most: int | None) -> Table:
    """Of the sheet that is named, else of the one with most of the columns that every call needs; of
    equal ones the first. FileRefused for what is no workbook, has a password, or unpacks to more than
    `most` bytes; for one without a table.
    """
    best: tuple[int, Frame] | None = None
    with Workbook(file, sheet, most) as book:
        frames = iter(book)
        for frame in frames:
            if frame.sheet is None:
                break
            if sheet is not None or len(frame.sheets) == 1:
                return _of_sheet(file, frame, _taken(book, frames, frame))
            fit = _fit(frame)
            best = (fit, frame) if best is None or fit > best[0] else best
            book.answer(take=False)
    if best is None:
        raise refuse(file, "has no sheet of cells", _FIX)
    with Workbook(file, best[1].sheet, most) as book:
        frames = iter(book)
        return _of_sheet(file, best[1], _taken(book, frames, next(frames)))


def _of_sheet(file: CallFile, frame: Frame, rows: Rows) -> Table:
    table = table_of(rows)
    if table is None:
        raise refuse(file, "has no table of two columns or more", _FIX)
    others = [name for name in frame.sheets if name != frame.sheet]
    return replace(table, sheet=frame.sheet, others=others)


def read_html(form: FileFormat) -> Table:
    """Of all tables of the page. FileRefused for one without any."""
    with form.file.open("rb") as opened:
        stream = Recoded(ByteStream(opened, gzipped=form.gzipped), form.encoding)
        first = next(html_rows(form.file, stream, MAX_LINE_BYTES), None)
    table = None if first is None else table_of(first[0])
    if table is None:
        raise refuse(form.file, "has no table of two columns or more", _FIX)
    return table


def _fit(frame: Frame) -> int:
    """How many of the columns that every call needs its first rows seem to have."""
    table = table_of(_rows(frame))
    found = () if table is None else guess(table).fields
    return sum(field in found for field in _WANTED)


def _taken(book: Workbook, frames: Iterator[Frame], head: Frame) -> Rows:
    """The sheet's first rows, MOST_ROWS and more where there are so many."""
    book.answer(take=True)
    return _rows(head) if head.last else _joined(_rows(head), _rows(next(frames)))


def _rows(frame: Frame) -> Rows:
    return Rows(frame.columns, frame.first_row, frame.dated)


def _joined(one: Rows, other: Rows) -> Rows:
    if not other.columns:
        return one
    columns = [[*a, *b] for a, b in zip(one.columns, other.columns, strict=True)]
    dated = {
        column: [
            *one.dated.get(column, ()),
            *(one.height + row for row in other.dated.get(column, ())),
        ]
        for column in {*one.dated, *other.dated}
    }
    return Rows(columns, one.first_row, dated)


def table_of(rows: Rows) -> Table | None:
    """None where there are not two columns. What is above the header, totals and comments below it, and
    headers of further pages are left out, as the reader does.
    """
    rows = _beginning(rows)
    found = {at: cells for at, cells in _filled(rows) if any(cells)}
    first = list(found)[:LOOKED_AT]
    widest = max((_count(found[at]) for at in first), default=0)
    if widest < 2:
        return None
    full = [(at, found[at]) for at in first if _count(found[at]) * 2 >= widest]
    head = header_at(full, full[0][0])
    if head is None:
        names = [f"column {number}" for number in range(1, len(rows.columns) + 1)]
        return Table(
            names, list(found.values())[:MOST_ROWS], "utf-8", header=False,
            typed=_typed(rows, names, 0),
        )  # fmt: skip
    names = [clean_name(cell) for cell in found[head]]
    no_calls = NoCalls(Layout(), {})
    below = [
        cells
        for at, cells in found.items()
        if at > head and cells != found[head] and not no_calls.take(at, cells)
    ]
    return Table(names, below[:MOST_ROWS], "utf-8", typed=_typed(rows, names, head + 1))


def _beginning(rows: Rows) -> Rows:
    """So much of them as is looked at."""
    columns = [column[:_LOOKED_AT] for column in rows.columns[:_MOST_COLUMNS]]
    dated = {
        column: [at for at in found if at < _LOOKED_AT]
        for column, found in rows.dated.items()
        if column < _MOST_COLUMNS
    }
    return Rows(columns, rows.first_row, dated)


def _filled(rows: Rows) -> Iterator[tuple[int, list[str]]]:
    for at in range(rows.height):
        yield at, [cell.strip() for cell in rows.row(at)]


def _count(cells: Sequence[str]) -> int:
    return sum(map(bool, cells))


def _typed(rows: Rows, names: Sequence[str], begin: int) -> Mapping[str, frozenset[str]]:
    """Column → its cells that are times by their type."""
    return {
        names[column]: frozenset(
            rows.columns[column][at] or "" for at in found if at >= begin
        )
        for column, found in rows.dated.items()
    }  # fmt: skip
