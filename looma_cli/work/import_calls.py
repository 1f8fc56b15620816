"""Bringing a file of calls in, with a bar; rejected rows go to a file beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, TextIO
from uuid import UUID

from ai_services.enrichment.importing import ImportCounts, import_batches
from ai_services.enrichment.imports.notes_of_calls import notes_of_calls
from ai_services.enrichment.imports.trying_out import TriedOut, read_through
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.presets.preset import in_timezone
from ai_services.enrichment.reading.read_file import Batch, Reject, read_calls
from ai_services.enrichment.validation.note import Note
from looma_cli.terminal.console import bar, say
from shared.config import Config
from shared.data_access.ports import Relational
from shared.errors import LoomaError
from shared.secrets import data_key


@dataclass(frozen=True, slots=True)
class Source:
    """A file and how to read it; `name` is what the list of imports calls it."""

    path: Path
    preset: str
    strict_columns: bool = False
    encoding: str | None = None  # the preset's, or what the bytes say
    sheet: str | None = None  # of a workbook
    name: str = ""
    timezone: str | None = None  # the preset's


@dataclass(slots=True)
class BroughtIn:
    """What came in; `rejected_file` is where the rest is explained, `notes_file` where it is told what
    was left out of rows that came in.
    """

    counts: ImportCounts
    seconds: float
    rejected_file: Path | None = None
    notes_file: Path | None = None
    cut: bool = False
    warnings: list[str] = field(default_factory=list)


async def bring_in(
    config: Config, relational: Relational, org_id: UUID, source: Source, *, title: str = ""
) -> BroughtIn:
    """Import the whole file. Raises FileRefused (InvalidInput) if it is none of ours."""
    batches = _batches(config, source)
    began = time.monotonic()
    warnings: list[str] = []
    cut = False
    with ExitStack() as stack:
        size = source.path.stat().st_size if source.path.is_file() else None
        progress = stack.enter_context(bar(title or f"Importing {source.path.name}", size, "rows"))
        rejected = stack.enter_context(RowsFile(source.path, "rejected"))
        noted = stack.enter_context(RowsFile(source.path, "notes"))

        def committed(counts: ImportCounts, batch: Batch) -> None:
            nonlocal cut
            cut = cut or batch.cut
            warnings.extend(batch.warnings)
            rejected.write(batch.rejects)
            noted.write(batch.notes)
            progress.to(counts.bytes_read, count=counts.rows)

        counts = await import_batches(
            relational,
            org_id,
            PhoneCipher(data_key(config), org_id, config.default_country),
            batches,
            source=source.name or source.path.name,
            preset=source.preset,
            on_progress=committed,
        )
    warnings += notes_of_calls(counts.erased, counts.spread)
    seconds = time.monotonic() - began
    return BroughtIn(counts, seconds, rejected.path, noted.path, cut, warnings)


def try_out(config: Config, source: Source) -> TriedOut:
    """What importing the file would find; nothing is stored. As `bring_in`."""
    size = source.path.stat().st_size if source.path.is_file() else None
    with bar(f"Reading {source.path.name}", size, "rows") as progress:
        batches = _batches(config, source)
        return read_through(batches, lambda found, at: progress.to(at, count=found.rows))


def _batches(config: Config, source: Source) -> Iterator[Batch]:
    return read_calls(
        source.path,
        in_timezone(load_preset(source.preset), source.timezone),
        strict_columns=source.strict_columns,
        encoding=source.encoding,
        sheet=source.sheet,
        country=config.default_country,
    )


class RowsFile:
    """`FILE.rejected.jsonl` or `FILE.notes.jsonl`, made when there is a row for it.

    Beside the file, or in the current directory where that one can't be written.
    """

    def __init__(self, source: Path, kind: Literal["rejected", "notes"]) -> None:
        self._name = f"{source.name}.{kind}.jsonl"
        self._folders = (source.parent, Path.cwd())
        self._file: TextIO | None = None
        self.path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, told: Sequence[Reject | Note]) -> None:
        if not told:
            return
        if self._file is None:
            self._file = self._open()
        for one in told:
            row = {
                "line": one.line,
                "field": one.field,
                "value": one.value,
                "problem": one.problem,
                "fix": one.fix,
            }
            if isinstance(one, Reject):
                row["raw"] = one.raw
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _open(self) -> TextIO:
        refusal: OSError | None = None
        for folder in self._folders:
            path = folder / self._name
            try:
                file = path.open("w", encoding="utf-8")
            except OSError as error:
                refusal = error
                continue
            self.path = path
            return file
        raise LoomaError(
            f"{self._name} can be written neither beside the file nor here "
            f"({refusal.strerror if refusal else ''}). Run looma where you may write."
        )


def show_warnings(brought: BroughtIn) -> None:
    for warning in brought.warnings:
        say(f"Note: {warning}")
    if brought.cut:
        say("The file ends too soon or is damaged: what came before is in.")
    if brought.counts.rejected and brought.counts.rejected == brought.counts.rows:
        say("Not one row came in: all of them were rejected.")
    show_noted(brought.counts.noted)
    if brought.notes_file is not None:
        say(f"What was left out of rows, with line, value and reason: {brought.notes_file}")
    if brought.rejected_file is not None:
        say(f"Rejected rows, with line, problem and fix: {brought.rejected_file}")


def show_noted(noted: Mapping[str, int]) -> None:
    """How many rows have a note, by its field."""
    for name, rows in noted.items():
        say(f"Note: {_told_of(name)} in {rows:,} {'row' if rows == 1 else 'rows'}.")


def _told_of(field: str) -> str:
    """What a note of the field says."""
    if field == "callid":
        return "another row with the same callid, which differs, counts"
    return f"{field} was left empty, or a part of it left out,"
