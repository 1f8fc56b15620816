"""Decode JSON Lines into cells.

Rows as they should be go through one typed decoder. Whatever it refuses (a number as text,
an unknown key, broken JSON) takes a slower path that either understands it or says what is
wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec
import polars as pl

from ai_services.enrichment.cells import (
    Cells,
    WrittenFloat,
    cells_from_values,
    derive_cells,
    translate,
)
from ai_services.enrichment.columns import judge_unknown, missing_columns
from ai_services.enrichment.file_format import UTF8_BOM
from ai_services.enrichment.lines import Block
from ai_services.enrichment.piece import not_text
from ai_services.enrichment.presets.preset import Derive, Preset
from ai_services.enrichment.record import INT_LIMITS, REQUIRED, Turn
from ai_services.enrichment.reject import Problem
from ai_services.enrichment.turns import pack_turns
from ai_services.enrichment.validate import Failure

_MAX_UNKNOWN: Final = 1_000  # keys that differ from row to row are no columns
_HEAD: Final = 1_000
_NUL: Final = b"\\u0000"


@dataclass(frozen=True, slots=True)
class JsonRows:
    """Decoded rows of a block: typed ones and others, and unknown keys seen for the first time."""

    parts: list[Cells]
    lines: Sequence[bytes]
    warnings: Sequence[str]


class JsonReader:
    """Decodes the blocks of one file."""

    def __init__(
        self,
        preset: Preset,
        derive: Derive | None = None,
        *,
        encoding: str = "utf-8",
        strict: bool = False,
    ) -> None:
        self._preset = preset
        self._derive = derive
        self._encoding = encoding
        self._strict = strict
        # Exactly, unlike headers of tables: keys are written by programs.
        self._known = {*preset.sources.values(), *preset.reads, *preset.ignore}
        self._unknown: set[str] = set()
        self._checked_columns = False
        self._fields = tuple(preset.sources)
        self._decode = self._make_decoder()

    def read(self, block: Block) -> JsonRows:
        data = block.data.removeprefix(UTF8_BOM) if block.first_line == 1 else block.data
        undecodable: list[Failure] = []
        if self._encoding != "utf-8":
            data = self._transcode(data, block.first_line, undecodable)
        lines = data.split(b"\n")
        if not self._checked_columns:
            self._check_columns(lines)
        rows = self.read_lines(lines, block.first_line)
        if undecodable:
            rows.parts.append(Cells(pl.DataFrame(schema={"line": pl.UInt64}), {}, undecodable))
        return rows

    def read_lines(self, lines: Sequence[bytes], first_line: int) -> JsonRows:
        """Decode lines that are UTF-8, or claim to be."""
        known_before = set(self._unknown)
        typed, odd = self._read_typed(lines, first_line)
        parts = [typed] if typed.frame.height else []
        if odd:
            parts.append(self._read_odd(odd))
        unknown = sorted(self._unknown - known_before)
        if unknown:
            self._decode = self._make_decoder()
        return JsonRows(parts, lines, judge_unknown(unknown, self._preset, strict=self._strict))

    def _transcode(self, data: bytes, first_line: int, undecodable: list[Failure]) -> bytes:
        try:
            return data.decode(self._encoding).encode()
        except UnicodeDecodeError:
            lines = []
            for number, line in enumerate(data.split(b"\n"), first_line):
                try:
                    lines.append(line.decode(self._encoding).encode())
                except UnicodeDecodeError as error:
                    problem = not_text(line, self._encoding, error)
                    undecodable.append(Failure(number, problem, None))
                    lines.append(b"")
            return b"\n".join(lines)

    def _make_decoder(self) -> Any:
        """A decoder for rows that are exactly as they should be; None where none can be typed."""
        sources = self._preset.sources
        distinct = len(set(sources.values())) == len(sources)
        if self._derive is not None or not self._preset.turns.is_canonical or not distinct:
            return None
        members: list[Any] = [
            (name, _json_type(name), msgspec.field(default=None, name=source))
            for name, source in sources.items()
        ]
        ignored = (self._preset.ignore | self._unknown) - set(sources.values())
        members += [
            (f"unknown_{number}", msgspec.Raw, msgspec.field(default=msgspec.Raw(), name=name))
            for number, name in enumerate(sorted(ignored))
        ]
        row = msgspec.defstruct(
            "CallLine",
            members,
            forbid_unknown_fields=len(self._unknown) < _MAX_UNKNOWN,
            gc=False,
        )
        return msgspec.json.Decoder(row).decode

    def _read_typed(
        self, lines: Sequence[bytes], first_line: int
    ) -> tuple[Cells, list[tuple[int, bytes]]]:
        decode = self._decode
        numbers: list[int] = []
        rows: list[Any] = []
        odd: list[tuple[int, bytes]] = []
        for number, line in enumerate(lines, first_line):
            if decode is None or _NUL in line:
                odd.append((number, line))
                continue
            try:
                rows.append(decode(line))
            except (msgspec.MsgspecError, ValueError, RecursionError):
                odd.append((number, line))
            else:
                numbers.append(number)
        return self._typed_cells(numbers, rows), [item for item in odd if item[1].strip()]

    def _typed_cells(self, numbers: list[int], rows: list[Any]) -> Cells:
        columns = [
            pl.Series("line", numbers, dtype=pl.UInt64),
            *(
                _column(name, list(map(attrgetter(name), rows)))
                for name in self._fields
                if name != "turns"
            ),
        ]
        broken: dict[int, Problem] = {}
        texts: list[str | None] = []
        counts: list[int] = []
        for number, turns in zip(numbers, map(attrgetter("turns"), rows), strict=True):
            packed = pack_turns(turns) if turns else None
            if packed is None or isinstance(packed, Problem):
                texts.append(None)
                counts.append(0)
                if packed is not None:
                    broken[number] = packed
            else:
                texts.append(packed[0])
                counts.append(packed[1])
        columns.append(pl.Series("turns", texts, dtype=pl.String))
        columns.append(pl.Series("customer_turns", counts, dtype=pl.Int64))
        return Cells(translate(pl.DataFrame(columns), self._preset), broken)

    def _read_odd(self, odd: Iterable[tuple[int, bytes]]) -> Cells:
        failures: list[Failure] = []
        rows = self._objects(odd, failures)
        if self._derive is not None:
            cells = derive_cells(rows, self._derive)
        else:
            sources = self._preset.sources
            values = (
                (number, {name: row.get(source) for name, source in sources.items()})
                for number, row in rows
            )
            cells = cells_from_values(values, self._preset.turns)
            cells.frame = translate(cells.frame, self._preset)
        cells.failures += failures
        return cells

    def _objects(
        self, lines: Iterable[tuple[int, bytes]], failures: list[Failure]
    ) -> Iterator[tuple[int, Mapping[str, Any]]]:
        for number, line in lines:
            row = parse_object(line)
            if isinstance(row, Problem):
                failures.append(Failure(number, row, None))
                continue
            for name in row:
                if name not in self._known and len(self._unknown) < _MAX_UNKNOWN:
                    self._unknown.add(name.encode(errors="replace").decode())
            yield number, row

    def _check_columns(self, lines: Sequence[bytes]) -> None:
        """Refuse the file where no object among its first lines has a key that is needed."""
        found: dict[str, None] = {}
        for line in lines[:_HEAD]:
            row = parse_object(line) if line.strip() else None
            if isinstance(row, dict):
                found.update(dict.fromkeys(row))
        if not found:
            return
        self._checked_columns = True
        needed = self._preset.reads or [
            source for name, source in self._preset.sources.items() if name in REQUIRED
        ]
        missing = [name for name in needed if name not in found]
        if missing:
            raise missing_columns(missing, found)


def parse_object(line: bytes) -> dict[str, Any] | Problem:
    """One line as an object, or why it is none."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return not_text(line, "utf-8", error)
    try:
        row = json.loads(text, parse_float=WrittenFloat, parse_constant=WrittenFloat)
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - 20) : error.pos + 20]
        return Problem(
            "",
            near,
            f"is not valid JSON: {error.msg} at character {error.pos + 1}",
            "write one complete JSON object per line",
        )
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return Problem("", text[:40], f"is not readable JSON: {told}", "correct the line")
    if not isinstance(row, dict):
        return Problem("", text[:40], "is not a JSON object", 'write {"callid": "…", …}')
    return row


def _json_type(name: str) -> Any:
    if name == "turns":
        return list[Turn] | None
    if name == "hangup_by":
        return Annotated[int, msgspec.Meta(ge=1, le=2)] | None
    if name in INT_LIMITS:
        return Annotated[int, msgspec.Meta(ge=0, le=INT_LIMITS[name])] | None
    return str | int | None


def _column(name: str, values: list[Any]) -> pl.Series:
    if name in INT_LIMITS or name == "hangup_by":
        return pl.Series(name, values, dtype=pl.Int64)
    try:
        return pl.Series(name, values, dtype=pl.String)
    except TypeError:  # numbers among the texts
        return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)
