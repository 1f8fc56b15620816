"""Read the sheet of a workbook that has the calls, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import polars as pl

from ai_services.enrichment.reading.piece import Piece
from ai_services.enrichment.reading.refusal import FileRefused, refuse
from ai_services.enrichment.reading.tables.open_workbook import Workbook
from ai_services.enrichment.reading.tables.row_table import (
    Head,
    Rows,
    RowTable,
    find_head,
    no_calls_in,
)
from ai_services.enrichment.reading.tables.table_head import TableReader
from ai_services.enrichment.reading.tables.worker import Frame

_SHOWN: Final = 10
Tables = tuple[Piece, list[pl.DataFrame]]


def workbook_pieces(reader: TableReader, most: int | None) -> Iterator[Tables]:
    """Pieces of the sheet that the map names, else of the first whose header fits; with each, its
    tables. Lines are rows as the sheet numbers them.
    """
    with Workbook(reader.path, reader.layout.sheet, most) as book:
        frames = iter(book)
        head, table, frame = _choose(book, frames, reader)
        yield table.piece(head.rest, 0)
        for more in () if frame.last else frames:
            rows = _rows(more)
            done = more.first_row + rows.height
            yield table.piece(rows, book.size * done // max(done, frame.rows + 1))
        table.tell()


def _choose(
    book: Workbook, frames: Iterator[Frame], reader: TableReader
) -> tuple[Head, RowTable, Frame]:
    """Go through the sheets up to the one that has what is needed."""
    refused: list[tuple[int, FileRefused]] = []
    for frame in frames:
        if frame.sheet is None:
            break
        try:
            head = find_head(_rows(frame), reader)
            if head is not None:
                positions = reader.choose(head.names)
                _refuse_uncomputed(frame, head, list(positions.values()), reader)
                book.answer(take=True)
                _tell(frame, reader)
                reader.tell_skipped(head.line, head.skipped)
                return head, RowTable(head, positions, reader), frame
        except FileRefused as error:
            refused.append((reader.fit(head.names) if head else 0, error))
        book.answer(take=False)
    if not refused:
        raise no_calls_in(reader)
    raise max(refused, key=lambda one: one[0])[1]


def _rows(frame: Frame) -> Rows:
    return Rows(frame.columns, frame.first_row, frame.dated, frame.lost)


def _refuse_uncomputed(
    frame: Frame, head: Head, positions: Sequence[int], reader: TableReader
) -> None:
    columns = [head.names[at] for at in frame.uncomputed if at in positions]
    if columns:
        listed = ", ".join(map(repr, columns))
        problem = f"has formulas without results in the sheet {frame.sheet!r}: {listed}"
        fix = "open it in a spreadsheet program, which computes them, and save it again"
        raise refuse(reader.path, problem, fix, columns[0])


def _tell(frame: Frame, reader: TableReader) -> None:
    others = [name for name in frame.sheets if name != frame.sheet]
    hidden = "hidden " if frame.hidden else ""
    if others:
        listed = ", ".join(map(repr, others[:_SHOWN])) + (", …" if len(others) > _SHOWN else "")
        reader.tell(f"The {hidden}sheet {frame.sheet!r} is read; others are not: {listed}.")
    elif frame.hidden:
        reader.tell(f"The hidden sheet {frame.sheet!r} is read.")
