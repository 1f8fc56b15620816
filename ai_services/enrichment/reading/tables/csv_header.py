"""Find the header line of a CSV file, its separator and its quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ai_services.enrichment.reading.content.lines import Block
from ai_services.enrichment.reading.file_format import UTF8_BOM
from ai_services.enrichment.reading.refusal import FileRefused, refuse
from ai_services.enrichment.reading.tables.csv_record import (
    SEPARATORS,
    Dialect,
    Record,
    RecordReader,
)
from ai_services.enrichment.reading.tables.table_head import LOOKED_AT, TableReader, clean_name

# Excel's own line, which says what parts the cells.
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?[,;\s]*', re.IGNORECASE)
_SAMPLED: Final = 20
_SINGLY_QUOTED: Final = re.compile(r"\s*(?:'[^']*'\s*)?")


@dataclass(frozen=True, slots=True)
class Header:
    """`rest` is what follows the header in its block. Rows have as many cells as there are names;
    those behind the last of `named` may be missing.
    """

    names: list[str]
    dialect: Dialect
    rest: Block

    @property
    def named(self) -> int:
        filled = [at for at, name in enumerate(self.names, 1) if name]
        return filled[-1] if filled else len(self.names)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A record that may be the header; `fit` of its names are wanted."""

    fit: int
    line: int  # from 0
    end: int
    names: list[str]
    dialect: Dialect


def read_header(block: Block, encoding: str, reader: TableReader) -> Header | None:
    """The line that names most of the wanted columns, else the first; None if all are blank."""
    data = block.data.removeprefix(UTF8_BOM) if block.first_line == 1 else block.data
    if not data.strip():
        return None
    text = _decoded(data, encoding, reader)
    lines = text.split("\n", LOOKED_AT + (reader.layout.skip_rows or 0))[:-1] or [text]
    skipped, separator = _told(lines, reader)
    if skipped is None:
        return None
    found = list(_candidates(text, skipped, separator, reader))
    best = max(found, key=lambda one: (one.fit, -one.line, len(one.names)), default=None)
    if reader.expects_no_header(best.fit if best else 0):
        return _without_header(block, data, text, skipped, separator, reader)
    if best is None or (best.fit < 1 and best.line > skipped):
        fix = f"close every quote in line {block.first_line + skipped}"
        raise refuse(reader.path, "has a malformed header line", fix)
    if best.fit < 1 and (refused := reader.missing_header(best.names)):
        raise refused
    before = sum(not _is_blank(line) for line in lines[skipped : best.line])
    reader.tell_skipped(block.first_line + best.line, before)
    rest = _after(block, data, text.count("\n", 0, best.end) + 1)
    following = RecordReader(best.dialect).read(text, min(best.end + 1, len(text)))
    cells = following.fields if isinstance(following, Record) else []
    more = cells[len(best.names) :]
    wider = [] if any(cell.strip() for cell in more) else [""] * len(more)
    dialect = best.dialect
    if all(map(_SINGLY_QUOTED.fullmatch, cells)) and any(cells):
        dialect = Dialect(dialect.separator, "'")
    return Header([*best.names, *wider], dialect, rest)


def _decoded(data: bytes, encoding: str, reader: TableReader) -> str:
    head = data[: data.find(b"\n", len(data) - len(data.lstrip())) + 1 or len(data)]
    try:
        first = head.decode(encoding)
    except UnicodeDecodeError as error:
        raise _header_not_text(reader, encoding) from error
    if "\r" in first.rstrip("\r\n") and b"\n" not in data:
        fix = "re-save it with LF or CRLF line ends"
        raise refuse(reader.path, "ends its lines with CR alone", fix)
    return data.decode(encoding, errors="replace").replace("\r\n", "\n")


def _told(lines: Sequence[str], reader: TableReader) -> tuple[int | None, str | None]:
    """The number of lines before those among which the header is, and the separator that the
    map or the file's first line says. None where the block has no such line.
    """
    layout = reader.layout
    at = layout.skip_rows or 0
    while at < len(lines) and _is_blank(lines[at]):
        at += 1
    if at >= len(lines):
        return None, None
    match = _SEP_LINE.fullmatch(lines[at])
    if match is None:
        return at, layout.separator
    at += 1
    while at < len(lines) and _is_blank(lines[at]):
        at += 1
    return (at if at < len(lines) else None), layout.separator or match[1]


def _candidates(
    text: str, skipped: int, separator: str | None, reader: TableReader
) -> Iterator[_Candidate]:
    """Records that begin in one of the first lines, by each separator and kind of quotes."""
    starts = _line_starts(text)
    last = skipped + (1 if reader.layout.skip_rows is not None else LOOKED_AT)
    for line, start in islice(enumerate(starts), skipped, last):
        end = text.find("\n", start)
        shown = text[start : end if end >= 0 else len(text)]
        if _is_blank(shown):
            continue
        for dialect in _dialects(shown, separator):
            record = RecordReader(dialect).read(text, start)
            if isinstance(record, Record):
                names = [clean_name(name) for name in record.fields]
                yield _Candidate(reader.fit(names), line, record.end, names, dialect)


def _dialects(line: str, separator: str | None) -> Iterator[Dialect]:
    quotes = "\"'" if line.count("'") > 1 else '"'
    for quote in quotes:
        for one in separator or SEPARATORS:
            yield Dialect(one, quote)


def _without_header(
    block: Block, data: bytes, text: str, skipped: int, separator: str | None, reader: TableReader
) -> Header:
    """Of a file whose columns the map names: the separator is the one its lines have in common."""
    starts = list(islice(_line_starts(text), skipped, skipped + _SAMPLED))
    wanted = len(reader.layout.header or ())
    best: tuple[tuple[bool, int], Dialect, list[str]] | None = None
    end = text.find("\n", starts[0])
    for dialect in _dialects(text[starts[0] : end if end >= 0 else len(text)], separator):
        records = [RecordReader(dialect).read(text, start) for start in starts]
        rows = [one.fields for one in records if isinstance(one, Record)]
        if rows:
            width = max(map(len, rows))
            score = (len(rows[0]) == wanted, sum(len(row) == width for row in rows) * (width > 1))
            if best is None or score > best[0]:
                best = (score, dialect, max(rows, key=len))
    if best is None:
        raise refuse(reader.path, "has a malformed first line", "close every quote in it")
    _, dialect, row = best
    return Header(reader.given_names(len(row)), dialect, _after(block, data, skipped))


def _line_starts(text: str) -> Iterator[int]:
    at = 0
    while at < len(text):
        yield at
        at = text.find("\n", at) + 1 or len(text)


def _after(block: Block, data: bytes, lines: int) -> Block:
    parts = data.split(b"\n", lines)
    rest = parts[lines] if len(parts) > lines else b""
    return Block(block.first_line + lines, rest, block.bytes_read)


def _is_blank(line: str) -> bool:
    return not line.strip(" \t\r\x1a,;|^")


def _header_not_text(reader: TableReader, encoding: str) -> FileRefused:
    return refuse(
        reader.path,
        f"has a header line that is not {encoding}",
        "leave the encoding out, so that it is found by the file's bytes, or pass the right one",
        "encoding",
    )
