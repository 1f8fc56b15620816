"""The beginning of a file as a table: whatever its encoding and separator, with or without a header."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.content.encoding import find_encoding
from ai_services.enrichment.reading.json_object import parse_object
from ai_services.enrichment.reading.refusal import FileRefused
from ai_services.enrichment.reading.tables.csv_record import (
    SEPARATORS,
    Dialect,
    Record,
    RecordReader,
)
from ai_services.enrichment.suggesting.synonyms import is_known
from shared.errors import InvalidInput

_MOST_ROWS: Final = 500
_LOOKED_AT: Final = 20  # lines among which the header is looked for
_LIKELIEST: Final = "cp1252"  # of what no reader is sure of
# No name of a column.
_VALUE: Final = re.compile(r"(?:(?!\d{3})[\d\s:./+T-])*+\d{3}[\d\s:./+TZ-]*+")


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` are the cells of the first rows. `header`: whether the file names its columns, in line
    `skipped` + 1; else `names` are made up. `guessed`: nothing tells its encoding for sure.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    encoding: str
    guessed: bool = False
    is_json: bool = False
    header: bool = True
    skipped: int = 0

    def column(self, name: str) -> list[str]:
        """Its cells that hold something."""
        at = self.names.index(name)
        return [cell for row in self.rows if (cell := row[at])]


def read_table(file: CallFile, head: bytes) -> Table:
    """Of the beginning of a file. InvalidInput for what is no table in text."""
    encoding, guessed = _encoding(file, head)
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    if not text.strip():
        raise InvalidInput.of("file", "is empty", "send the beginning of a file with calls")
    if text.lstrip().startswith("{"):
        table = _json_table(text, encoding)
    else:
        table = _csv_table(text, encoding)
    return replace(table, guessed=guessed)


def _encoding(file: CallFile, head: bytes) -> tuple[str, bool]:
    """As a reader finds it, and whether it is guessed because a reader wouldn't."""
    try:
        return find_encoding(file, iter([head])).name, False
    except FileRefused:
        if b"\0" in head:  # no text
            raise
        return _LIKELIEST, True


def _json_table(text: str, encoding: str) -> Table:
    found: list[dict[str, Any]] = []
    for line in text.split("\n")[:_MOST_ROWS]:
        row = parse_object(line.encode()) if line.strip() else None
        if isinstance(row, dict):
            found.append(row)
    if not found:
        fix = "send JSON Lines: one object per line"
        raise InvalidInput.of("file", "has no line that is a JSON object", fix)
    names = list(dict.fromkeys(name for row in found for name in row))
    rows = [[_as_text(row.get(name)) for name in names] for row in found]
    return Table([_whole(name) for name in names], rows, encoding, is_json=True)


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list | dict):
        return _whole(json.dumps(value, ensure_ascii=False, default=str))
    return _whole(str(value))


def _whole(text: str) -> str:
    """With another mark for half of a character, which JSON can write and no answer can."""
    return text.encode(errors="replace").decode()


def _csv_table(text: str, encoding: str) -> Table:
    text = text.replace("\r\n", "\n")
    records = max((_records(text, one) for one in SEPARATORS), key=_regular)
    width = _width(records)
    if width < 2:
        fix = "send CSV with a separator (comma, semicolon, tab or |), or JSON Lines"
        raise InvalidInput.of("file", "has one column at most", fix)
    at = _header_at(records, width)
    if at is None:
        rows = [record for record in records if len(record) == width]
        names = [f"column {number}" for number in range(1, width + 1)]
        return Table(names, rows[:_MOST_ROWS], encoding, header=False)
    rows = [record for record in records[at + 1 :] if len(record) == width]
    return Table(records[at], rows[:_MOST_ROWS], encoding, skipped=at)


def _records(text: str, separator: str) -> list[list[str]]:
    reader = RecordReader(Dialect(separator))
    found: list[list[str]] = []
    at = 0
    while at < len(text) and len(found) < _MOST_ROWS + _LOOKED_AT:
        record = reader.read(text, at)
        if isinstance(record, Record):
            cells = [cell.strip() for cell in record.fields]
            if any(cells):
                found.append(cells)
            at = record.end + 1
        else:
            end = text.find("\n", at)
            at = len(text) if end < 0 else end + 1
    return found


def _width(records: Sequence[Sequence[str]]) -> int:
    [(width, _)] = Counter(map(len, records)).most_common(1) or [(0, 0)]
    return width


def _regular(records: Sequence[Sequence[str]]) -> tuple[float, int]:
    """How many records are of one width, and that width; one column is none."""
    width = _width(records)
    if width < 2:
        return 0.0, 0
    return sum(len(one) == width for one in records) / len(records), width


def _header_at(records: Sequence[Sequence[str]], width: int) -> int | None:
    """The record that names the columns: the one with the most known names, else a first one without a
    value.
    """
    head = [
        (at, one)
        for at, one in enumerate(records[:_LOOKED_AT])
        if len(one) == width and not any(map(_VALUE.fullmatch, one))
    ]
    if not head:
        return None
    best = max(head, key=lambda item: (sum(map(is_known, item[1])), -item[0]))
    if sum(map(is_known, best[1])) >= min(2, width):
        return best[0]
    at, first = head[0]
    names = [cell for cell in first if cell]
    distinct = len(set(first)) == len(first)
    return at if at == 0 and distinct and names else None
