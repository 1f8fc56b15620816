"""Decode JSON Lines into cells.

Rows as they should be go through one typed decoder. Whatever it refuses (a number as text,
an unknown key, broken JSON) takes a slower path that either understands it or says what is
wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec
import polars as pl

from ai_services.enrichment.reading.cells import (
    Cells,
    cells_from_values,
    derive_cells,
)
from ai_services.enrichment.reading.columns import judge_unknown, missing_columns
from ai_services.enrichment.reading.content.lines import Block
from ai_services.enrichment.reading.file_format import UTF8_BOM
from ai_services.enrichment.reading.json_object import parse_object
from ai_services.enrichment.reading.piece import not_text
from ai_services.enrichment.reading.presets.preset import Derive, Preset
from ai_services.enrichment.reading.translate import translate
from ai_services.enrichment.reading.turns import keys_stand_once, pack_turns
from ai_services.enrichment.validation.record import INT_LIMITS, REQUIRED, Turn
from ai_services.enrichment.validation.reject import Problem
from ai_services.enrichment.validation.validate import Failure

_MAX_UNKNOWN: Final = 1_000  # keys that differ from row to row are no columns
_HEAD: Final = 1_000
_BLANK: Final = b" \t\r\n"  # what JSON passes over; a vertical tab is no blank there
# A NUL, or a letter that is written as an escape: a key in which one is might stand twice unseen.
_ODD_ESCAPE: Final = re.compile(rb"\\u00(?:00|[2-7])")
# Names that no typed decoder takes.
_UNTYPABLE: Final = re.compile('[\x00-\x1f"\\\\]')


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
        self._known = known_keys(preset)
        self._unknown: set[str] = set()
        self._checked_columns = False
        self._fields = tuple(preset.sources)
        self._members: tuple[tuple[str, tuple[bytes, ...]], ...] = ()  # and how a line spells them
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
        typable = distinct and not any(map(_UNTYPABLE.search, sources.values()))
        if self._derive is not None or not self._preset.turns.is_canonical or not typable:
            return None
        members: list[Any] = [
            (name, _json_type(name), msgspec.field(default=None, name=source))
            for name, source in sources.items()
        ]
        ignored = (self._preset.ignore | self._unknown) - set(sources.values())
        others = {
            f"unknown_{number}": name
            for number, name in enumerate(sorted(ignored))
            if not _UNTYPABLE.search(name)
        }
        members += [
            (
                member,
                msgspec.Raw | msgspec.UnsetType,
                msgspec.field(default=msgspec.UNSET, name=name),
            )
            for member, name in others.items()
        ]
        names = [*sources.items(), *others.items()]
        self._members = tuple((member, _spellings(name)) for member, name in names)
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
        taken: list[tuple[int, bytes]] = []
        rows: list[Any] = []
        odd: list[tuple[int, bytes]] = []
        for item in enumerate(lines, first_line):
            line = item[1]
            if decode is None or (b"\\u00" in line and _ODD_ESCAPE.search(line)):
                odd.append(item)
                continue
            try:
                rows.append(decode(line))
            except (msgspec.MsgspecError, ValueError, RecursionError):
                odd.append(item)
            else:
                taken.append(item)
        if doubtful := self._doubtful([line for _, line in taken], rows):
            odd = sorted([*odd, *(taken[at] for at in doubtful)])
            rows = [row for at, row in enumerate(rows) if at not in doubtful]
            taken = [item for at, item in enumerate(taken) if at not in doubtful]
        numbers = [number for number, _ in taken]
        return self._typed_cells(numbers, rows), [item for item in odd if item[1].strip(_BLANK)]

    def _doubtful(self, lines: list[bytes], rows: list[Any]) -> set[int]:
        """Which rows the typed decoder took too easily: a key may stand twice, of which it takes
        the last, or an unknown value, which it passes over, is no UTF-8.

        In a line a key in quotes stands for nothing but the key, or a text that is the same: the
        quotes inside of texts are escaped. So keys are counted in all lines at once; line by line
        only where there are more of one than rows that have it.
        """
        text = b"\n".join(lines)
        doubtful: set[int] = set()
        if not _is_utf8(text):
            doubtful.update(at for at, line in enumerate(lines) if not _is_utf8(line))
        for member, spellings in self._members:
            absent = (None, msgspec.UNSET)
            given = sum(value not in absent for value in map(attrgetter(member), rows))
            if sum(map(text.count, spellings)) > given:
                doubtful.update(
                    at for at, line in enumerate(lines) if sum(map(line.count, spellings)) > 1
                )
        for at, row in enumerate(rows):
            if row.turns and not keys_stand_once(lines[at], row.turns):
                doubtful.add(at)
        return doubtful

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
            cells = cells_from_values(values, self._preset.turns, tuple(sources))
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


def known_keys(preset: Preset) -> set[str]:
    """Exactly, unlike headers of tables: keys are written by programs."""
    return {*preset.sources.values(), *preset.reads, *preset.may_read, *preset.ignore}


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _spellings(name: str) -> tuple[bytes, ...]:
    """The name as a JSON key: as it is, and with escapes for what is not ASCII."""
    plain, escaped = json.dumps(name, ensure_ascii=False).encode(), json.dumps(name).encode()
    return (plain,) if plain == escaped else (plain, escaped)


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
    except (TypeError, OverflowError):  # numbers among the texts
        return pl.Series(name, [None if v is None else str(v) for v in values], dtype=pl.String)
