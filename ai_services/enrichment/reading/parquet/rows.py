"""Read Parquet piece by piece, so that memory is bounded however large its row groups are and
whatever they unpack to.

That is why it is pyarrow that reads here: polars holds whole row groups. A file of 100 KB may unpack
to many gigabytes: a text of megabytes that a dictionary holds once and a million rows name, a page
that compresses to nothing. So pages are looked at before they are read (pages.py), texts are
read as the dictionaries that they are, and become rows in as small portions as their lengths ask for.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.file_format import FileRefused, refuse
from ai_services.enrichment.reading.parquet.pages import pages
from ai_services.enrichment.reading.parquet.sizes import Sizes, row_sizes
from ai_services.enrichment.reading.piece import Piece, too_long
from shared.errors import InvalidInput

_MAX_ROWS: Final = 4_096
_PIECE_BYTES: Final = 2 << 20
_BUFFER_BYTES: Final = 1 << 18
_MOST_HELD: Final = 128 << 20  # of pages: a page and a dictionary of each column
_MOST_VALUES: Final = 1 << 27  # of a column of lists in a row group: a row may have all of them
_SHOWN_CHARS: Final = 8_192
_SHOWN_ITEMS: Final = 100
_EXACT: Final = 2.0**53


def parquet_pieces(
    path: CallFile,
    choose: Callable[[Sequence[str]], Mapping[str, int]],
    *,
    max_row_bytes: int,
    max_unpacked: int | None = None,
) -> Iterator[Piece]:
    """Tables with `line` (the row number, from 1) and the columns that `choose` names.

    Rows of more than `max_row_bytes` are passed over. Raises FileRefused for what can't be read
    within bounds, InvalidInput once its rows take more than `max_unpacked` bytes.
    """
    with path.open("rb") as opened:
        size = opened.seek(0, io.SEEK_END)
        reading = _Reading(path, opened, choose)
        read, unpacked = 0, 0
        for rows in reading.batches(max_row_bytes):
            unpacked += int(rows.sizes.sum())
            if max_unpacked is not None and unpacked > max_unpacked:
                fix = "split it into several files, or look at what it holds"
                raise InvalidInput.of("file", "unpacks to more than is taken of one file", fix)
            read += len(rows.sizes)
            yield reading.piece(rows, size * read // max(1, reading.rows), max_row_bytes)
        if read == 0:
            yield reading.nothing(size)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Neighbouring rows: as they were read, what each takes once its texts are written out, how many
    come before; and those of them that aren't too long, written out.
    """

    batch: Any
    sizes: Sizes
    before: int
    table: pl.DataFrame


class _Reading:
    """One file; `names` are the columns that are read, by what they are called here."""

    def __init__(
        self,
        path: CallFile,
        opened: BinaryIO,
        choose: Callable[[Sequence[str]], Mapping[str, int]],
    ) -> None:
        self._path = path
        self._opened = opened
        first = self._open([])
        schema, self._metadata = first.schema_arrow, first.metadata
        found: list[str] = schema.names
        self.names = {name: found[at] for name, at in choose(found).items()}
        self.rows: int = self._metadata.num_rows
        chosen = set(self.names.values())
        self._columns = sorted(chosen)
        leaves = self._metadata.schema
        self._leaves = [
            at
            for at in range(len(leaves))
            if any(f"{leaves.column(at).path}.".startswith(f"{name}.") for name in chosen)
        ]
        self._texts = [
            leaves.column(at).path
            for at in self._leaves
            if leaves.column(at).physical_type == "BYTE_ARRAY"
        ]
        self._plain = pa.schema(
            [pa.field(name, _plain(schema.field(name).type)) for name in self._columns]
        )
        self._check_types()

    def _open(self, dictionaries: list[str]) -> Any:
        try:
            return pq.ParquetFile(
                self._opened,
                pre_buffer=False,
                buffer_size=_BUFFER_BYTES,
                read_dictionary=dictionaries,
            )
        except (pa.ArrowException, OSError) as error:
            raise self._refuse("is not a whole Parquet file", "copy or export it again") from error

    def _check_types(self) -> None:
        empty = pl.from_arrow(self._plain.empty_table())
        assert isinstance(empty, pl.DataFrame)
        for name in self._columns:
            _as_cell(self._path, name, empty.schema[name])

    def batches(self, max_row_bytes: int) -> Iterator[_Rows]:
        """The rows in order, a portion at a time."""
        read = 0
        try:
            file = self._open(self._texts)
            for group in range(self._metadata.num_row_groups):
                at_once = self._rows_at_once(group)
                for batch in file.iter_batches(
                    at_once, row_groups=[group], columns=self._columns, use_threads=False
                ):
                    for start, end, sizes in _portions(row_sizes(batch)):
                        rows = batch.slice(start, end - start)
                        fits = pa.array(sizes <= max_row_bytes)
                        table = pl.from_arrow(rows.filter(fits).cast(self._plain))
                        assert isinstance(table, pl.DataFrame)
                        yield _Rows(rows, sizes, read, table)
                        read += end - start
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
            fix = "copy or export it again"
            raise self._refuse(f"is damaged after row {read}", fix) from error

    def _rows_at_once(self, group: int) -> int:
        """As many rows of a row group as make a piece where its pages hold most per row."""
        metadata = self._metadata.row_group(group)
        held, widest = 0, 1.0
        for at in self._leaves:
            column = metadata.column(at)
            is_list = self._metadata.schema.column(at).max_repetition_level > 0
            if is_list and column.num_values > _MOST_VALUES:
                raise self._refuse(
                    f"has more than {_MOST_VALUES:,} values of {column.path_in_schema} in a row group",
                    "write it with smaller row groups",
                )
            per_row = column.num_values / max(1, metadata.num_rows)
            dictionary, page, width = 0, 0, 0.0
            for one in pages(self._opened, *_extent(column)):
                if one.dictionary:
                    dictionary = one.size
                else:
                    page = max(page, one.size)
                    width = max(width, one.size / (one.rows or max(1.0, one.values / per_row)))
                if held + dictionary + page > _MOST_HELD:
                    raise self._refuse(
                        f"unpacks to more than {_MOST_HELD >> 20} MiB at once",
                        "write it with pages of 1 MiB, or with smaller row groups",
                    )
            held += dictionary + page
            widest += width
        return int(max(1, min(_MAX_ROWS, _PIECE_BYTES / widest)))

    def piece(self, rows: _Rows, bytes_read: int, max_row_bytes: int) -> Piece:
        fits, table = rows.sizes <= max_row_bytes, rows.table
        cells = table.select(
            _as_cell(self._path, column, table.schema[column]).alias(name)
            for name, column in self.names.items()
        )
        lines = np.arange(rows.before + 1, rows.before + 1 + len(fits), dtype=np.uint64)
        numbered = cells.insert_column(0, pl.Series("line", lines[fits]))
        problems = [
            (int(lines[at]), too_long(int(rows.sizes[at]), max_row_bytes))
            for at in np.flatnonzero(~fits)
        ]

        places = np.cumsum(fits) - 1

        def raw(line: int) -> str:
            at = line - rows.before - 1
            row = numbered.row(int(places[at]), named=True) if fits[at] else self._cut(rows, at)
            return json.dumps(row, ensure_ascii=False, default=str)

        return Piece(numbered, problems, raw, bytes_read, int(table.estimated_size()))

    def _cut(self, rows: _Rows, at: int) -> dict[str, object]:
        """A row that is too long, as it begins."""
        row = rows.batch.slice(at, 1)
        cells = {name: _start(row.column(column)[0]) for name, column in self.names.items()}
        return {"line": rows.before + at + 1, **cells}

    def nothing(self, bytes_read: int) -> Piece:
        """Of a file without rows."""
        schema = {"line": pl.UInt64, **dict.fromkeys(self.names, pl.String)}
        return Piece(pl.DataFrame(schema=schema), [], str, bytes_read, 0)

    def _refuse(self, problem: str, fix: str) -> FileRefused:
        return refuse(self._path, problem, fix)


def _extent(column: Any) -> tuple[int, int, int]:
    """Where a chunk begins, its length, and how many values it has: as pyarrow takes them."""
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < (column.dictionary_page_offset or 0) < start:
        start = column.dictionary_page_offset
    return start, column.total_compressed_size, column.num_values


def _portions(sizes: Sizes) -> Iterator[tuple[int, int, Sizes]]:
    """Neighbours that make a piece together: from, to, and their sizes."""
    start, ends = 0, np.cumsum(sizes)
    while start < len(sizes):
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + _PIECE_BYTES, side="right")))
        yield start, end, sizes[start:end]
        start = end


def _plain(kind: Any) -> Any:
    """The type without dictionaries."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    return kind


def _start(cell: Any) -> object:
    """A cell as it is shown, or how a long one begins."""
    if pa.types.is_list(cell.type) or pa.types.is_large_list(cell.type):
        values = cell.values
        few = None if values is None else values.slice(0, _SHOWN_ITEMS)
        return None if few is None else [_start(one) for one in few]
    if pa.types.is_struct(cell.type):
        return {name: _start(value) for name, value in cell.items()} if cell.is_valid else None
    value = cell.as_py()
    return value[:_SHOWN_CHARS] if isinstance(value, str | bytes) else value


def _as_cell(path: CallFile, name: str, dtype: pl.DataType) -> pl.Expr:
    """Text, except for transcripts in nested form and timestamps, which keep their type."""
    column = pl.col(name)
    if isinstance(dtype, pl.List | pl.Datetime):
        return column
    if isinstance(dtype, pl.Binary | pl.Struct | pl.Array | pl.Object):
        raise refuse(path, f"has the column {name!r} of type {dtype}", "store it as text", name)
    if dtype.is_float():  # whole numbers with gaps, as pandas writes them
        whole = (column.floor() == column) & (column.abs() < _EXACT)
        return (
            pl.when(whole)
            .then(column.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(column.cast(pl.String))
        )
    return column.cast(pl.String)
