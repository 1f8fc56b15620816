"""Bringing a file of calls in, with a bar; rejected rows go to a file beside it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TextIO
from uuid import UUID

from ai_services.enrichment.importing import ImportCounts, import_batches
from ai_services.enrichment.phone import PhoneCipher
from ai_services.enrichment.reading.presets.built_in import load_preset
from ai_services.enrichment.reading.read_file import Batch, Reject, read_calls
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
    encoding: str = "utf-8"
    name: str = ""


@dataclass(slots=True)
class BroughtIn:
    """What came in; `rejected_file` is where the rest is explained."""

    counts: ImportCounts
    seconds: float
    rejected_file: Path | None = None
    cut: bool = False
    warnings: list[str] = field(default_factory=list)


async def bring_in(
    config: Config, relational: Relational, org_id: UUID, source: Source, *, title: str = ""
) -> BroughtIn:
    """Import the whole file. Raises FileRefused (InvalidInput) if it is none of ours."""
    batches = read_calls(
        source.path,
        load_preset(source.preset),
        strict_columns=source.strict_columns,
        encoding=source.encoding,
    )
    began = time.monotonic()
    warnings: list[str] = []
    cut = False
    with ExitStack() as stack:
        size = source.path.stat().st_size if source.path.is_file() else None
        progress = stack.enter_context(bar(title or f"Importing {source.path.name}", size, "rows"))
        rejected = stack.enter_context(RejectedFile(source.path))

        def committed(counts: ImportCounts, batch: Batch) -> None:
            nonlocal cut
            cut = cut or batch.cut
            warnings.extend(batch.warnings)
            rejected.write(batch.rejects)
            progress.to(counts.bytes_read, count=counts.rows)

        counts = await import_batches(
            relational,
            org_id,
            PhoneCipher(data_key(config), org_id),
            batches,
            source=source.name or source.path.name,
            preset=source.preset,
            on_progress=committed,
        )
    return BroughtIn(counts, time.monotonic() - began, rejected.path, cut, warnings)


class RejectedFile:
    """`FILE.rejected.jsonl`, made when the first row is rejected.

    Beside the file, or in the current directory where that one can't be written.
    """

    def __init__(self, source: Path) -> None:
        self._name = f"{source.name}.rejected.jsonl"
        self._folders = (source.parent, Path.cwd())
        self._file: TextIO | None = None
        self.path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, rejects: Sequence[Reject]) -> None:
        if not rejects:
            return
        if self._file is None:
            self._file = self._open()
        for reject in rejects:
            row = {
                "line": reject.line,
                "field": reject.field,
                "value": reject.value,
                "problem": reject.problem,
                "fix": reject.fix,
                "raw": reject.raw,
            }
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
    if brought.rejected_file is not None:
        say(f"Rejected rows, with line, problem and fix: {brought.rejected_file}")
