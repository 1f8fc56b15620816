"""Files of call records → validated batches, and every row that was not taken.

    for batch in read_calls(Path("calls.csv.gz"), load_preset("calls")):
        store(batch.frame)
        show(batch.rejects)

CSV, JSON (all plain or gzipped) and Parquet of any size in bounded memory; workbooks and tables in
HTML. Nothing but the file is touched. `rows of the file = rows in frames + duplicates + rejects`,
where blank lines, comments and totals are no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import polars as pl

from ai_services.enrichment.legs.rows import LEG_SCHEMA, under_their_calls, with_leg_ids
from ai_services.enrichment.reading.batch import Batch, Batcher
from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.cells import Cells, cells_from_table
from ai_services.enrichment.reading.columns import known_columns, plan_columns
from ai_services.enrichment.reading.content.encoding import is_wide
from ai_services.enrichment.reading.content.lines import (
    Block,
    ByteStream,
    Event,
    LongLine,
    split_blocks,
)
from ai_services.enrichment.reading.content.recoded import MARKED, Bytes, Recoded, Unmarked
from ai_services.enrichment.reading.file_format import (
    FileFormat,
    FileKind,
    FileRefused,
    recognise,
    refuse,
)
from ai_services.enrichment.reading.json_document import Place, document_events, find_calls
from ai_services.enrichment.reading.json_rows import JsonReader, JsonRows, known_keys
from ai_services.enrichment.reading.piece import Piece, piece_of_event
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.reading.tables.csv_rows import csv_pieces
from ai_services.enrichment.reading.tables.html_table import html_rows
from ai_services.enrichment.reading.tables.row_table import pieces_of
from ai_services.enrichment.reading.tables.table_head import TableReader
from ai_services.enrichment.reading.tables.workbook_rows import workbook_pieces
from ai_services.enrichment.validation.phone_number import DEFAULT_COUNTRY
from ai_services.enrichment.validation.record import FRAME_SCHEMA
from ai_services.enrichment.validation.reject import Reject
from ai_services.enrichment.validation.rules import Conventions
from ai_services.enrichment.validation.validate import Checked, check_cells

__all__ = ["Batch", "FileRefused", "Reject", "read_calls", "read_records"]

MAX_LINE_BYTES: Final = 8 << 20
_BLOCK_BYTES: Final = 1 << 20
_RAW_BYTES: Final = 8_192
# A preset for the one reads the other.
_ALIKE: Final = {
    FileKind.JSON: FileKind.JSONL,
    FileKind.SHEETS: FileKind.CSV,
    FileKind.HTML: FileKind.CSV,
}
_NO_ROWS: Final = pl.DataFrame(schema={"line": pl.UInt64})


def read_calls(
    path: CallFile,
    preset: Preset,
    *,
    batch_rows: int = 50_000,
    batch_bytes: int = 32 << 20,
    strict_columns: bool = False,
    encoding: str | None = None,
    sheet: str | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
    max_unpacked: int | None = None,
    now: datetime | None = None,
    country: str = DEFAULT_COUNTRY,
) -> Iterator[Batch]:
    """Read, validate and batch a file; there is always at least one batch.

    A batch has at most `batch_rows` good rows, from about `batch_bytes` of decompressed
    file, and ends early where rejects pile up. Of two rows with one callid in different batches the later wins in storage, as
    within a batch. `strict_columns` refuses unknown columns instead of warning; in JSON
    Lines that can happen after batches were handed out. Lines over `max_line_bytes` are
    rejected unread. Of a compressed file no more than `max_unpacked` bytes are taken.
    `encoding` is the preset's unless given, else found by the file's bytes. `sheet` is that of a
    workbook; else the first whose header fits is read. `now` is what "in the future" is measured
    against; `country` is where phone numbers without a country code belong, unless the preset says.

    Raises FileRefused, before the first batch wherever that can be known.
    """
    form = recognise(path, encoding or preset.encoding, most=max_unpacked)
    if preset.format not in (None, form.kind, _ALIKE.get(form.kind)):
        raise refuse(path, f"is no {preset.format}", f"preset {preset.name} reads only that")
    if sheet is not None:
        if form.kind != FileKind.SHEETS:
            raise refuse(path, "is no workbook", "leave the sheet out", "sheet")
        preset = replace(preset, layout=replace(preset.layout, sheet=sheet))
    how = _conventions(preset, preset.timezone, now, country)
    reading = _Reading(form, preset, max_line_bytes, max_unpacked, strict_columns)
    batcher = Batcher(batch_rows, batch_bytes, _schema(preset))
    for piece, parts in reading.pieces():
        checked = [(cells, _check(cells, preset, how)) for cells in parts]
        batcher.add(piece, checked, reading.warnings)
        yield from batcher.full()
    batcher.warn(reading.warnings)
    yield batcher.rest()


def read_records(
    records: Sequence[bytes],
    *,
    preset: Preset | None = None,
    timezone: str | None = None,
    now: datetime | None = None,
    country: str = DEFAULT_COUNTRY,
) -> Batch:
    """JSON records that did not come in a file; `line` is the position in `records`, from 1.

    Read by `preset`, as our own if there is none; `timezone` is that of times without an offset,
    unless the preset says.
    """
    preset = preset or load_preset("calls")
    reader = JsonReader(preset, preset.derive() if preset.derive else None)
    # A line of blanks is none: what is too long is not decoded, and told as in a file.
    fitting = [record if len(record) <= MAX_LINE_BYTES else b"" for record in records]
    rows = reader.read_lines(fitting, 1)
    how = _conventions(preset, preset.timezone or timezone, now, country)
    checked = [(cells, _check(cells, preset, how)) for cells in rows.parts]
    batcher = Batcher(len(records), sum(map(len, records)), _schema(preset))
    batcher.add(_json_piece(Block(1, b"", 0), rows), checked, rows.warnings)
    for line, record in enumerate(records, 1):
        if len(record) > MAX_LINE_BYTES:
            long = LongLine(line, len(record), record[:_RAW_BYTES], 0)
            batcher.add(piece_of_event(long, MAX_LINE_BYTES), [], [])
    return batcher.rest()


def _conventions(
    preset: Preset, timezone: str | None, now: datetime | None, country: str
) -> Conventions:
    return Conventions(
        now=now or datetime.now(UTC),
        timezone=timezone,
        time_formats=preset.time_formats,
        duration_unit=preset.duration_unit,
        country=preset.country or country,
    )


def _schema(preset: Preset) -> Mapping[str, pl.DataType]:
    return FRAME_SCHEMA if preset.group_by is None else LEG_SCHEMA


def _check(cells: Cells, preset: Preset, how: Conventions) -> Checked:
    if preset.group_by is None:
        return check_cells(cells.frame, how, cells.broken_turns)
    told = under_their_calls(cells.frame)
    checked = check_cells(told, how, cells.broken_turns)
    return replace(checked, frame=with_leg_ids(checked.frame, told))


class _Reading:
    """One file as pieces with their cells, whatever its kind; collects the file's warnings."""

    def __init__(
        self,
        form: FileFormat,
        preset: Preset,
        max_line_bytes: int,
        max_unpacked: int | None,
        strict: bool,
    ) -> None:
        self._path = form.file
        self._form = form
        self._preset = preset
        self._max_line_bytes = max_line_bytes
        self._max_unpacked = max_unpacked
        self._strict = strict
        self._derive = preset.derive() if preset.derive else None
        self.warnings: list[str] = list(form.notes)

    def pieces(self) -> Iterator[tuple[Piece, Sequence[Cells]]]:
        if self._form.kind in (FileKind.JSONL, FileKind.JSON):
            yield from self._json_pieces()
            return
        if self._form.kind in (FileKind.SHEETS, FileKind.HTML):
            for piece, tables in self._sheets():
                yield piece, [self._cells(table) for table in tables]
            return
        for piece in self._tables():
            yield piece, [self._cells(piece.table)]

    def _cells(self, table: pl.DataFrame) -> Cells:
        return cells_from_table(table, self._preset, self._derive)

    def _sheets(self) -> Iterator[tuple[Piece, list[pl.DataFrame]]]:
        if self._form.kind == FileKind.SHEETS:
            yield from workbook_pieces(self._table_reader(), self._max_unpacked)
            return
        with self._path.open("rb") as file:
            stream: Bytes = ByteStream(file, gzipped=self._form.gzipped, most=self._max_unpacked)
            stream = Recoded(stream, self._form.encoding)
            rows = html_rows(self._path, stream, self._max_line_bytes)
            yield from pieces_of(rows, self._table_reader())

    def _tables(self) -> Iterator[Piece]:
        if self._form.kind == FileKind.PARQUET:
            from ai_services.enrichment.reading.parquet.rows import (  # noqa: PLC0415 - pyarrow is 30 MB that only this needs
                parquet_pieces,
            )

            return parquet_pieces(
                self._path,
                self._choose,
                max_row_bytes=self._max_line_bytes,
                max_unpacked=self._max_unpacked,
            )
        return csv_pieces(
            self._events(),
            self._table_reader(),
            encoding=self._encoding,
            max_record_bytes=self._max_line_bytes,
        )

    def _table_reader(self) -> TableReader:
        known = known_columns(self._preset)
        return TableReader(
            self._path, known, self._preset.layout, self._choose, self.warnings.append
        )

    @property
    def _encoding(self) -> str:
        """Of the lines that come from `_events`."""
        return "utf-8" if is_wide(self._form.encoding) else self._form.encoding

    def _events(self) -> Iterator[Event]:
        with self._path.open("rb") as file:
            stream: Bytes = ByteStream(file, gzipped=self._form.gzipped, most=self._max_unpacked)
            if is_wide(self._form.encoding):
                stream = Recoded(stream, self._form.encoding)
            yield from split_blocks(stream, _BLOCK_BYTES, self._max_line_bytes)

    def _choose(self, found: Sequence[str]) -> Mapping[str, int]:
        plan = plan_columns(found, self._preset, strict=self._strict)
        self.warnings += plan.warnings
        return plan.positions

    def _json_pieces(self) -> Iterator[tuple[Piece, Sequence[Cells]]]:
        place = find_calls(self._head(), known_keys(self._preset))
        encoding = self._encoding if place is None else "utf-8"
        reader = JsonReader(self._preset, self._derive, encoding=encoding, strict=self._strict)
        for event in self._events() if place is None else self._document(place):
            if not isinstance(event, Block):
                yield piece_of_event(event, self._max_line_bytes), []
                continue
            rows = reader.read(event)
            self.warnings += rows.warnings
            yield _json_piece(event, rows), rows.parts

    def _head(self) -> bytes:
        """The text's beginning, as `_document` has it."""
        return self._form.head.encode(errors=MARKED)

    def _document(self, place: Place) -> Iterator[Event]:
        if place.path:
            self.warnings.append(f"The calls are read from {'.'.join(place.path)!r}.")
        with self._path.open("rb") as file:
            stream: Bytes = ByteStream(file, gzipped=self._form.gzipped, most=self._max_unpacked)
            text = Unmarked(Recoded(stream, self._form.encoding), place.start)
            yield from document_events(text, place, _BLOCK_BYTES, self._max_line_bytes)


def _json_piece(block: Block, rows: JsonRows) -> Piece:
    def raw(line: int) -> str:
        return rows.lines[line - block.first_line].decode(errors="replace")

    return Piece(_NO_ROWS, [], raw, block.bytes_read, len(block.data))
