"""A column map for the beginning of a file, tried out on it: what it says is what an import would do."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, Final, Literal

from ai_services.enrichment.reading.columns import fold
from ai_services.enrichment.reading.content.lines import GZIP_MAGIC, ByteStream
from ai_services.enrichment.reading.presets.built_in import BUILT_IN, load_preset
from ai_services.enrichment.reading.presets.preset import Preset, parse_preset
from ai_services.enrichment.reading.read_file import Reject, read_calls
from ai_services.enrichment.suggesting.guess import Guess, guess
from ai_services.enrichment.suggesting.table import Table, read_table
from ai_services.enrichment.suggesting.write import MapWriter
from ai_services.enrichment.validation.record import REQUIRED
from shared.errors import InvalidInput

MOST_BYTES: Final = 1 << 20
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


def suggest(name: str, head: bytes, *, timezone: str = "Asia/Shanghai") -> Suggestion:
    """Of the first bytes of a file, gzipped or not; MOST_BYTES of them are enough.

    `timezone` is what times without an offset are taken for. InvalidInput for what is no table in text.
    """
    file = _Head(name, unpacked(head))
    table = read_table(file, file.data)
    preset = _known_preset(table, file)
    found = guess(table)
    column_map = MapWriter(table, found, timezone).write()
    missing = [one for one in (*REQUIRED, "duration_ms") if one not in found.fields]
    if "user_id" in missing:
        missing.remove("user_id")  # it is a constant
    tried = _try(file, parse_preset("the suggested map", column_map))
    if preset is not None:
        column_map = (
            f"# This looks like what the preset {preset} reads: --preset {preset}\n{column_map}"
        )
    return Suggestion(column_map, found.fields, preset, missing, tried)


def _known_preset(table: Table, file: _Head) -> str | None:
    """The preset whose columns are all there, or as many as there are, and that reads the rows."""
    names = {fold(name) for name in table.names} if table.header else set()
    best: tuple[int, str] | None = None
    for name in BUILT_IN:
        preset = load_preset(name)
        needed = {fold(one) for one in preset.reads or _needed(preset)}
        headless = not table.header and len(preset.header) == len(table.names)
        if not (needed <= names or headless):
            continue
        if _try(file, preset).share >= _ENOUGH and (best is None or len(needed) > best[0]):
            best = (len(needed), name)
    return None if best is None else best[1]


def _needed(preset: Preset) -> Sequence[str]:
    return [preset.sources[name] for name in REQUIRED if name in preset.sources]


def _try(file: _Head, preset: Preset) -> Tried:
    rows, calls = 0, 0
    rejects: list[Reject] = []
    try:
        for batch in read_calls(file, preset):
            rows += batch.frame.height + len(batch.replaced) + len(batch.rejects)
            calls += batch.calls
            rejects += batch.rejects
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
class _Head:
    """The head as a CallFile."""

    name: str
    data: bytes

    @property
    def suffixes(self) -> Sequence[str]:
        return [one for one in PurePath(self.name).suffixes if one != ".gz"]

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        del mode
        return io.BytesIO(self.data)
