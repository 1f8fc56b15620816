"""Files of call records → validated batches, and every row that was not taken.

    for batch in read_calls(Path("calls.csv.gz"), load_preset("calls")):
        store(batch.frame)
        show(batch.rejects)

CSV, JSON Lines (both plain or gzipped) and Parquet, of any size in bounded memory. Nothing
but the file is touched. `rows of the file = rows in frames + duplicates + rejects`, where
blank lines are no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import polars as pl

from ai_services.enrichment.reading.cells import Cells, cells_from_table
from ai_services.enrichment.reading.columns import known_columns, plan_columns
from ai_services.enrichment.reading.csv_rows import csv_pieces
from ai_services.enrichment.reading.file_format import (
    FileFormat,
    FileKind,
    FileRefused,
    check_encoding,
    recognise,
    refuse,
)
from ai_services.enrichment.reading.json_rows import JsonReader, JsonRows
from ai_services.enrichment.reading.lines import Block, Event, LongLine, read_blocks
from ai_services.enrichment.reading.piece import Piece, piece_of_event
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.presets.preset import Preset
from ai_services.enrichment.validation.record import FRAME_SCHEMA
from ai_services.enrichment.validation.reject import Reject, make_reject
from ai_services.enrichment.validation.rules import Conventions
from ai_services.enrichment.validation.validate import Checked, check_cells

__all__ = ["Batch", "FileRefused", "Reject", "read_calls", "read_records"]

MAX_LINE_BYTES: Final = 8 << 20
_BLOCK_BYTES: Final = 1 << 20
_RAW_BYTES: Final = 8_192
_MAX_REJECTS: Final = 10_000  # a batch ends early rather than hold more
_NO_ROWS: Final = pl.DataFrame(schema={"line": pl.UInt64})


@dataclass(frozen=True, slots=True)
class Batch:
    """Records ready to be stored, and what was not taken.

    frame: columns and types of FRAME_SCHEMA, in file order, callid unique.
    rejects: in file order; one per row, naming its first problem.
    replaced: line → callid of the rows left out because a later row of this batch has the same.
    bytes_read: of the file as it is on disk, from its start (for a progress bar).
    warnings: about the file as a whole; each is told once, in the batch where it arose.
    cut: the compressed file ended too soon or was damaged; set on the last batch, whose
        last reject says at which line.
    """

    frame: pl.DataFrame
    rejects: list[Reject]
    replaced: Mapping[int, str]
    bytes_read: int
    warnings: list[str] = field(default_factory=list)
    cut: bool = False

    @property
    def duplicates(self) -> int:
        return len(self.replaced)


def read_calls(
    path: Path,
    preset: Preset,
    *,
    batch_rows: int = 50_000,
    batch_bytes: int = 32 << 20,
    strict_columns: bool = False,
    encoding: str = "utf-8",
    max_line_bytes: int = MAX_LINE_BYTES,
    now: datetime | None = None,
) -> Iterator[Batch]:
    """Read, validate and batch a file; there is always at least one batch.

    A batch has at most `batch_rows` good rows, from about `batch_bytes` of decompressed
    file, and ends early where rejects pile up. Of two rows with one callid in different batches the later wins in storage, as
    within a batch. `strict_columns` refuses unknown columns instead of warning; in JSON
    Lines that can happen after batches were handed out. Lines over `max_line_bytes` are
    rejected unread. `now` is what "in the future" is measured against.

    Raises FileRefused, before the first batch wherever that can be known.
    """
    form = recognise(path)
    if preset.format not in (None, form.kind):
        raise refuse(path, f"is no {preset.format}", f"preset {preset.name} reads only that")
    how = Conventions(
        now=now or datetime.now(UTC),
        timezone=preset.timezone,
        time_format=preset.time_format,
        duration_unit=preset.duration_unit,
    )
    reading = _Reading(path, form, preset, check_encoding(encoding), max_line_bytes, strict_columns)
    batcher = _Batcher(batch_rows, batch_bytes)
    for piece, parts in reading.pieces():
        checked = [(cells, check_cells(cells.frame, how, cells.broken_turns)) for cells in parts]
        batcher.add(piece, checked, reading.warnings)
        yield from batcher.full()
    yield batcher.rest()


def read_records(records: Sequence[bytes], *, now: datetime | None = None) -> Batch:
    """JSON records that did not come in a file; `line` is the position in `records`, from 1."""
    reader = JsonReader(load_preset("calls"))
    # A line of blanks is none: what is too long is not decoded, and told as in a file.
    fitting = [record if len(record) <= MAX_LINE_BYTES else b"" for record in records]
    rows = reader.read_lines(fitting, 1)
    how = Conventions(now=now or datetime.now(UTC))
    checked = [(cells, check_cells(cells.frame, how, cells.broken_turns)) for cells in rows.parts]
    batcher = _Batcher(len(records), sum(map(len, records)))
    batcher.add(_json_piece(Block(1, b"", 0), rows), checked, rows.warnings)
    for line, record in enumerate(records, 1):
        if len(record) > MAX_LINE_BYTES:
            long = LongLine(line, len(record), record[:_RAW_BYTES], 0)
            batcher.add(piece_of_event(long, MAX_LINE_BYTES), [], [])
    return batcher.rest()


class _Reading:
    """One file as pieces with their cells, whatever its kind; collects the file's warnings."""

    def __init__(
        self,
        path: Path,
        form: FileFormat,
        preset: Preset,
        encoding: str,
        max_line_bytes: int,
        strict: bool,
    ) -> None:
        self._path = path
        self._form = form
        self._preset = preset
        self._encoding = encoding
        self._max_line_bytes = max_line_bytes
        self._strict = strict
        self._derive = preset.derive() if preset.derive else None
        self.warnings: list[str] = []

    def pieces(self) -> Iterator[tuple[Piece, Sequence[Cells]]]:
        if self._form.kind == FileKind.JSONL:
            yield from self._json_pieces()
            return
        for piece in self._tables():
            yield piece, [cells_from_table(piece.table, self._preset, self._derive)]

    def _tables(self) -> Iterator[Piece]:
        if self._form.kind == FileKind.PARQUET:
            from ai_services.enrichment.reading.parquet_rows import (  # noqa: PLC0415 - pyarrow is 30 MB that only this needs
                parquet_pieces,
            )

            return parquet_pieces(self._path, self._choose)
        return csv_pieces(
            self._events(),
            self._path,
            encoding=self._encoding,
            max_record_bytes=self._max_line_bytes,
            known=known_columns(self._preset),
            choose=self._choose,
        )

    def _events(self) -> Iterator[Event]:
        return read_blocks(
            self._path,
            gzipped=self._form.gzipped,
            block_bytes=_BLOCK_BYTES,
            max_line_bytes=self._max_line_bytes,
        )

    def _choose(self, found: Sequence[str]) -> Mapping[str, int]:
        plan = plan_columns(found, self._preset, strict=self._strict)
        self.warnings += plan.warnings
        return plan.positions

    def _json_pieces(self) -> Iterator[tuple[Piece, Sequence[Cells]]]:
        reader = JsonReader(
            self._preset, self._derive, encoding=self._encoding, strict=self._strict
        )
        for event in self._events():
            if not isinstance(event, Block):
                yield piece_of_event(event, self._max_line_bytes), []
                continue
            rows = reader.read(event)
            self.warnings += rows.warnings
            yield _json_piece(event, rows), rows.parts


def _json_piece(block: Block, rows: JsonRows) -> Piece:
    def raw(line: int) -> str:
        return rows.lines[line - block.first_line].decode(errors="replace")

    return Piece(_NO_ROWS, [], raw, block.bytes_read, len(block.data))


class _Batcher:
    """Gathers checked rows until a batch is full."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._frame = pl.DataFrame(schema=FRAME_SCHEMA)
        self._rejects: list[Reject] = []
        self._warnings: list[str] = []
        self._told: set[str] = set()
        self._size = 0
        self._bytes_read = 0
        self._cut = False

    def add(
        self, piece: Piece, parts: Sequence[tuple[Cells, Checked]], warnings: Sequence[str]
    ) -> None:
        rejects = [make_reject(line, wrong, piece.raw(line)) for line, wrong in piece.problems]
        frames = [self._frame]
        for cells, checked in parts:
            rejects += [
                make_reject(one.line, one.problem, piece.raw(one.line), one.phone, one.callid)
                for one in (*cells.failures, *checked.failures)
            ]
            frames.append(checked.frame)
            self._warn(checked.warnings)
        self._frame = pl.concat(frames)
        if len(parts) > 1:
            self._frame = self._frame.sort("line")
        self._rejects += sorted(rejects, key=lambda reject: reject.line)
        self._warn(warnings)
        self._size += piece.size
        self._bytes_read = piece.bytes_read
        self._cut = self._cut or piece.cut

    def full(self) -> Iterator[Batch]:
        """Batches that are complete; what remains waits for more."""
        while self._frame.height > self._max_rows:
            yield self._take(self._max_rows)
        if self._size >= self._max_bytes or len(self._rejects) >= _MAX_REJECTS:
            yield self._take(self._frame.height)

    def rest(self) -> Batch:
        """What is left at the end of the file."""
        return self._take(self._frame.height)

    def _warn(self, warnings: Sequence[str]) -> None:
        self._warnings += [text for text in dict.fromkeys(warnings) if text not in self._told]
        self._told.update(warnings)

    def _take(self, rows: int) -> Batch:
        taken, self._frame = self._frame.head(rows), self._frame.slice(rows)
        rejects = self._rejects
        if self._frame.height:
            last = taken["line"][-1]
            rejects = [reject for reject in rejects if reject.line <= last]
        self._rejects = self._rejects[len(rejects) :]
        frame, replaced = taken, {}
        if taken["callid"].n_unique() < taken.height:
            frame = taken.unique("callid", keep="last", maintain_order=True)
            left_out = taken.join(frame, on="line", how="anti")
            replaced = dict(zip(left_out["line"], left_out["callid"], strict=True))
        batch = Batch(
            frame=frame,
            rejects=rejects,
            replaced=replaced,
            bytes_read=self._bytes_read,
            warnings=self._warnings,
            cut=self._cut and not self._frame.height,
        )
        self._warnings = []
        self._size = 0
        return batch
