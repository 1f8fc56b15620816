"""Read Parquet in slices whose size follows the width of the rows, so that memory is bounded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from ai_services.enrichment.file_format import refuse
from ai_services.enrichment.piece import Piece

_FIRST_ROWS: Final = 256
_MAX_ROWS: Final = 20_000
_GROWTH: Final = 8
_SLICE_BYTES: Final = 8 << 20
_EXACT: Final = 2.0**53


def parquet_pieces(
    path: Path, choose: Callable[[Sequence[str]], Mapping[int, str]]
) -> Iterator[Piece]:
    """Tables with `line` (the row number, from 1) and the columns that `choose` names."""
    scan = pl.scan_parquet(path, glob=False)
    try:
        schema = scan.collect_schema()
        total = scan.select(pl.len()).collect().item()
    except pl.exceptions.PolarsError as error:
        raise refuse(path, "is not a whole Parquet file", "copy or export it again") from error
    found = schema.names()
    names = {found[at]: name for at, name in choose(found).items()}
    chosen = scan.select(
        [_as_cell(path, old, schema[old]).alias(new) for old, new in names.items()]
    )
    size = path.stat().st_size
    start, rows = 0, _FIRST_ROWS
    while start < total:
        try:
            table = chosen.slice(start, rows).collect()
        except pl.exceptions.PolarsError as error:
            raise refuse(
                path, f"is damaged after row {start}", "copy or export it again"
            ) from error
        if table.is_empty():
            break
        taken = int(table.estimated_size())
        end = start + table.height
        yield _piece(table, start, taken, size * end // total)
        rows = max(1, min(_MAX_ROWS, rows * _GROWTH, _SLICE_BYTES * table.height // max(1, taken)))
        start = end
    if total == 0:
        yield _piece(chosen.collect(), 0, 0, size)


def _piece(table: pl.DataFrame, start: int, size: int, bytes_read: int) -> Piece:
    numbers = pl.int_range(start + 1, start + 1 + table.height, dtype=pl.UInt64, eager=True)
    numbered = table.insert_column(0, numbers.alias("line"))

    def raw(line: int) -> str:
        row = numbered.row(line - start - 1, named=True)
        return json.dumps(row, ensure_ascii=False, default=str)

    return Piece(numbered, [], raw, bytes_read, size)


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
