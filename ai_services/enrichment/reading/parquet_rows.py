"""Read Parquet page by page, so that memory is bounded however large its row groups are.

That is why it is pyarrow that reads here: polars holds whole row groups.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ai_services.enrichment.reading.file_format import refuse
from ai_services.enrichment.reading.piece import Piece

_MAX_ROWS: Final = 4_096
_PIECE_BYTES: Final = 2 << 20
_BUFFER_BYTES: Final = 1 << 18
_EXACT: Final = 2.0**53


def parquet_pieces(
    path: Path, choose: Callable[[Sequence[str]], Mapping[str, int]]
) -> Iterator[Piece]:
    """Tables with `line` (the row number, from 1) and the columns that `choose` names."""
    with path.open("rb") as opened:
        try:
            file = pq.ParquetFile(opened, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        except (pa.ArrowException, OSError) as error:
            raise refuse(path, "is not a whole Parquet file", "copy or export it again") from error
        found: list[str] = file.schema_arrow.names
        names = {name: found[at] for name, at in choose(found).items()}
        total, size = file.metadata.num_rows, path.stat().st_size
        start = 0
        for table in _tables(path, file, sorted(set(names.values()))):
            cells = table.select(
                _as_cell(path, column, table.schema[column]).alias(name)
                for name, column in names.items()
            )
            end = start + table.height
            yield _piece(cells, start, size * end // max(1, total))
            start = end
        if start == 0:
            yield _piece(pl.DataFrame(schema=dict.fromkeys(names, pl.String)), 0, size)


def _tables(path: Path, file: Any, columns: list[str]) -> Iterator[pl.DataFrame]:
    read = 0
    try:
        for batch in file.iter_batches(
            _rows_at_once(file.metadata), columns=columns, use_threads=False
        ):
            table = pl.from_arrow(batch)
            if isinstance(table, pl.DataFrame):
                yield table
                read += table.height
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise refuse(path, f"is damaged after row {read}", "copy or export it again") from error


def _rows_at_once(metadata: Any) -> int:
    """As many rows as make a piece where rows are widest."""
    groups = [metadata.row_group(at) for at in range(metadata.num_row_groups)]
    widest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
    return int(max(1, min(_MAX_ROWS, _PIECE_BYTES / max(1, widest))))


def _piece(table: pl.DataFrame, start: int, bytes_read: int) -> Piece:
    numbers = pl.int_range(start + 1, start + 1 + table.height, dtype=pl.UInt64, eager=True)
    numbered = table.insert_column(0, numbers.alias("line"))

    def raw(line: int) -> str:
        row = numbered.row(line - start - 1, named=True)
        return json.dumps(row, ensure_ascii=False, default=str)

    return Piece(numbered, [], raw, bytes_read, int(table.estimated_size()))


def _as_cell(path: Path, name: str, dtype: pl.DataType) -> pl.Expr:
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
