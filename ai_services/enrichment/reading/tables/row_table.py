"""Tables of cells, column by column as text, under the fields' names: header, blanks, totals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from ai_services.enrichment.reading.piece import Piece
from ai_services.enrichment.reading.refusal import refuse
from ai_services.enrichment.reading.tables.no_calls import NoCalls
from ai_services.enrichment.reading.tables.table_head import (
    LOOKED_AT,
    TableReader,
    best_row,
    clean_name,
)
from ai_services.enrichment.validation.reject import Problem

_TIME: Final = "started_at"
_NO_DIGITS: Final = (
    "is a number of more than 15 digits, of which the workbook keeps only the first",
    "format the column as text before the numbers are put in, and export it again",
)


@dataclass(slots=True)
class Rows:
    """Rows from `first_row` on, counted from 1, as columns of equal length. `dated` and `lost` are
    columns → their rows, from 0, that are times, or numbers without their last digits.
    """

    columns: Sequence[Sequence[str | None]]
    first_row: int
    dated: Mapping[int, Sequence[int]] = field(default_factory=dict)
    lost: Mapping[int, Sequence[int]] = field(default_factory=dict)

    @property
    def height(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def row(self, at: int) -> list[str]:
        return [column[at] or "" for column in self.columns]

    def behind(self, rows: int) -> Rows:
        """Without the first ones."""
        return Rows(
            [column[rows:] for column in self.columns],
            self.first_row + rows,
            {key: [at - rows for at in all_ if at >= rows] for key, all_ in self.dated.items()},
            {key: [at - rows for at in all_ if at >= rows] for key, all_ in self.lost.items()},
        )


@dataclass(frozen=True, slots=True)
class Head:
    """Where the names are: `line` is their row, `skipped` those before it that are not blank."""

    names: list[str]
    line: int
    skipped: int
    rest: Rows


def find_head(rows: Rows, reader: TableReader) -> Head | None:
    """None where all rows are blank."""
    begin = max(0, (reader.layout.skip_rows or 0) + 1 - rows.first_row)
    cells = {at: rows.row(at) for at in range(begin, min(rows.height, begin + LOOKED_AT))}
    filled = [at for at, row in cells.items() if any(cell.strip() for cell in row)]
    if not filled:
        return None
    first = filled[0]
    looked_at = filled[:1] if reader.layout.skip_rows is not None else filled
    at = best_row(((at, cells[at]) for at in looked_at), reader)
    if reader.expects_no_header(0 if at is None else reader.fit(cells[at])):
        names = reader.given_names(len(cells[first]))
        return Head(names, rows.first_row + first, 0, rows.behind(first))
    if at is None and (refused := reader.missing_header(cells[first])):
        raise refused
    at = first if at is None else at
    names = [clean_name(name) for name in cells[at]]
    return Head(names, rows.first_row + at, filled.index(at), rows.behind(at + 1))


class RowTable:
    """Turns rows behind a header into pieces with their tables."""

    def __init__(self, head: Head, positions: Mapping[str, int], reader: TableReader) -> None:
        self._names = head.names
        self._positions = positions
        self._no_calls = NoCalls(reader.layout, positions)
        self._reader = reader

    def piece(self, rows: Rows, bytes_read: int) -> tuple[Piece, list[pl.DataFrame]]:
        """Times that are typed are in a table apart from those that are text."""
        table = pl.DataFrame(
            {
                "line": pl.int_range(rows.height, dtype=pl.UInt64, eager=True) + rows.first_row,
                **{
                    name: pl.Series(rows.columns[at], dtype=pl.String)
                    if at < len(rows.columns)
                    else pl.repeat(None, rows.height, dtype=pl.String, eager=True)
                    for name, at in self._positions.items()
                },
            }
        )
        table, problems = self._without_lost(self._calls(table, rows), rows)

        def raw(line: int) -> str:
            return ",".join(rows.row(line - rows.first_row))

        size = int(table.estimated_size())
        return Piece(table, problems, raw, bytes_read, size), self._by_time(table, rows)

    def tell(self) -> None:
        """At the end: what was left out."""
        for note in self._no_calls.notes():
            self._reader.tell(note)

    def _calls(self, table: pl.DataFrame, rows: Rows) -> pl.DataFrame:
        """Without blank rows, totals, comments, and headers of further pages."""
        names = [self._names[at] for at in self._positions.values()]
        again = pl.all_horizontal(
            pl.col(field).str.strip_chars() == name
            for field, name in zip(self._positions, names, strict=True)
        )
        table = table.filter(~again.fill_null(value=False)) if any(names) else table
        none = []
        for line in table["line"].filter(self._no_calls.doubtful(table)).to_list():
            cells = rows.row(line - rows.first_row)
            if not any(cell.strip() for cell in cells) or self._no_calls.take(line, cells):
                none.append(line)
        return table.filter(~pl.col("line").is_in(none)) if none else table

    def _without_lost(
        self, table: pl.DataFrame, rows: Rows
    ) -> tuple[pl.DataFrame, list[tuple[int, Problem]]]:
        there = set(table["line"].to_list()) if rows.lost else set()
        problems: dict[int, Problem] = {}
        for name, column in self._positions.items():
            for at in rows.lost.get(column, ()):
                if (line := rows.first_row + at) in there:
                    value = rows.columns[column][at] or ""
                    problems.setdefault(line, Problem(name, value, *_NO_DIGITS))
        if not problems:
            return table, []
        return table.filter(~pl.col("line").is_in(list(problems))), sorted(
            problems.items(), key=lambda item: item[0]
        )

    def _by_time(self, table: pl.DataFrame, rows: Rows) -> list[pl.DataFrame]:
        dated = rows.dated.get(self._positions.get(_TIME, -1), ())
        if not dated:
            return [table]
        typed = pl.col("line").is_in([rows.first_row + at for at in dated])
        times = table.filter(typed).with_columns(pl.col(_TIME).str.to_datetime(time_unit="us"))
        return [times, table.filter(~typed)]


def no_calls_in(reader: TableReader) -> Exception:
    return refuse(reader.path, "is empty", "write a row of column names and one call per row")


def pieces_of(
    chunks: Iterator[tuple[Rows, int]], reader: TableReader
) -> Iterator[tuple[Piece, list[pl.DataFrame]]]:
    """Of a table that comes as chunks of rows with the bytes read so far."""
    table: RowTable | None = None
    for rows, bytes_read in chunks:
        if table is None:
            head = find_head(rows, reader)
            if head is None:
                continue
            table = RowTable(head, reader.choose(head.names), reader)
            reader.tell_skipped(head.line, head.skipped)
            yield table.piece(head.rest, bytes_read)
            continue
        yield table.piece(rows, bytes_read)
    if table is None:
        raise no_calls_in(reader)
    table.tell()
