"""A column map for a file, tried out on its beginning: what it says is what an import would do."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, Final, Literal

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.columns import fold
from ai_services.enrichment.reading.content.lines import GZIP_MAGIC, ByteStream
from ai_services.enrichment.reading.content.zip_archive import ZIP_MAGIC
from ai_services.enrichment.reading.file_format import OLE_MAGIC, UTF8_BOM, FileKind, recognise
from ai_services.enrichment.reading.presets.built_in import BUILT_IN, load_preset
from ai_services.enrichment.reading.presets.preset import Preset, parse_preset
from ai_services.enrichment.reading.read_file import Reject, read_calls
from ai_services.enrichment.reading.refusal import refuse
from ai_services.enrichment.suggesting.guess import Guess, guess
from ai_services.enrichment.suggesting.sheets import read_html, read_workbook
from ai_services.enrichment.suggesting.table import Table, read_table
from ai_services.enrichment.suggesting.write import MapWriter
from ai_services.enrichment.validation.record import REQUIRED
from shared.errors import InvalidInput

MOST_BYTES: Final = 1 << 20
_MOST_TRIED: Final = 5_000  # rows, or a batch more
_ENOUGH: Final = 0.5  # of the rows come in: a preset is the right one


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of the head's rows: `problem` is the file's, if none of it could be read."""

    rows: int
    calls: int
    rejects: Sequence[Reject]
    problem: str = ""

    @property
    def share(self) -> float:
        return 1 - len(self.rejects) / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`column_map` is TOML that loads as it is. `preset` is one that reads the file without a map.
    `missing` are the fields that every call needs and no column looks like.
    """

    column_map: str
    fields: dict[str, Guess]
    preset: str | None
    missing: Sequence[str]
    tried: Tried


def suggest(
    file: CallFile,
    *,
    timezone: str = "Asia/Shanghai",
    sheet: str | None = None,
    most: int | None = None,
) -> Suggestion:
    """Of the first bytes of a text, gzipped or not: MOST_BYTES of them are enough; of a workbook, or of the
    file in a zip archive, all of which has to be there. Nothing is unpacked to more than `most` bytes.

    `timezone` is what times without an offset are taken for; `sheet` names that of a workbook. InvalidInput
    for what can't be read, and for what is no table.
    """
    file, table = _opened(file, sheet, most)
    preset = _known_preset(table, file, most)
    found = guess(table)
    column_map = MapWriter(table, found, timezone).write()
    missing = [one for one in (*REQUIRED, "duration_ms") if one not in found.fields]
    if "user_id" in missing:
        missing.remove("user_id")  # it is a constant
    tried = _try(file, parse_preset("the suggested map", column_map), most)
    if preset is not None:
        column_map = (
            f"# This looks like what the preset {preset} reads: --preset {preset}\n{column_map}"
        )
    return Suggestion(column_map, found.fields, preset, missing, tried)


def is_whole(head: bytes) -> bool:
    """Whether a file that begins so can be read only if all of it is there."""
    return head.startswith((*ZIP_MAGIC, OLE_MAGIC))


def _opened(file: CallFile, sheet: str | None, most: int | None) -> tuple[CallFile, Table]:
    """What to try the map on, and what it looks like."""
    head = _head_of(file)
    if is_whole(head):
        form = recognise(file, most=most)
        if form.kind == FileKind.SHEETS:
            return form.file, read_workbook(form.file, sheet, most)
        file = form.file
        head = _head_of(file)
    if sheet is not None:
        raise refuse(file, "is no workbook", "leave the sheet out", "sheet")
    begin = SentFile(file.name, unpacked(head))
    if begin.data.removeprefix(UTF8_BOM).lstrip().startswith(b"<"):
        return begin, read_html(recognise(begin))
    return begin, read_table(begin, begin.data)


def _head_of(file: CallFile) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidInput.of("file", f"can't be opened ({reason})", "check its path") from error


def _known_preset(table: Table, file: CallFile, most: int | None) -> str | None:
    """The preset whose columns are all there, or as many as there are, and that reads the rows."""
    names = {fold(name) for name in table.names} if table.header else set()
    best: tuple[int, str] | None = None
    for name in BUILT_IN:
        preset = load_preset(name)
        needed = {fold(one) for one in preset.reads or _needed(preset)}
        headless = not table.header and len(preset.header) == len(table.names)
        if not (needed <= names or headless):
            continue
        if _try(file, preset, most).share >= _ENOUGH and (best is None or len(needed) > best[0]):
            best = (len(needed), name)
    return None if best is None else best[1]


def _needed(preset: Preset) -> Sequence[str]:
    return [preset.sources[name] for name in REQUIRED if name in preset.sources]


def _try(file: CallFile, preset: Preset, most: int | None) -> Tried:
    rows, calls = 0, 0
    rejects: list[Reject] = []
    try:
        for batch in read_calls(file, preset, batch_rows=_MOST_TRIED, max_unpacked=most):
            rows += batch.frame.height + len(batch.replaced) + len(batch.rejects)
            calls += batch.calls
            rejects += batch.rejects
            if rows >= _MOST_TRIED:
                break
    except InvalidInput as error:
        return Tried(0, 0, (), error.message)
    return Tried(rows, calls, rejects)


def unpacked(head: bytes) -> bytes:
    """What of it can be unpacked, if it is gzipped; whole lines where it was cut."""
    data = _inflated(head)
    if len(head) < MOST_BYTES and len(data) < MOST_BYTES:
        return data
    data = data[:MOST_BYTES]
    return data[: data.rfind(b"\n") + 1] or data


def _inflated(head: bytes) -> bytes:
    if not head.startswith(GZIP_MAGIC):
        return head
    stream = ByteStream(io.BytesIO(head), gzipped=True)
    parts: list[bytes] = []
    size = 0
    while size < MOST_BYTES and (part := stream.read()):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class SentFile:
    """What was sent, under a name, as a CallFile."""

    name: str
    data: bytes

    @property
    def suffixes(self) -> Sequence[str]:
        return [one for one in PurePath(self.name).suffixes if one != ".gz"]

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        del mode
        return io.BytesIO(self.data)
