"""Split CSV text into tables of text cells, a block at a time.

RFC 4180: fields may be quoted, quotes inside are doubled, quoted fields may hold line ends.
Lines that are one well-formed record are recognised in bulk and split by polars. The rest
is read field by field: records over several lines, and malformed ones. A malformed record
costs its own first line only: reading goes on at the next line, so that one stray quote
can't swallow the rest of a file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Final

import polars as pl

from ai_services.enrichment.columns import fold
from ai_services.enrichment.file_format import UTF8_BOM, FileRefused, refuse
from ai_services.enrichment.lines import Block, Event
from ai_services.enrichment.piece import Piece, not_text, piece_of_event
from ai_services.enrichment.reject import Problem

SEPARATORS: Final = ",;\t|"
_PATTERN: Final = {",": ",", ";": ";", "\t": r"\t", "|": r"\|"}  # in both regex dialects
# Chooses from the header's names: position → name. May refuse the file.
Choose = Callable[[Sequence[str]], Mapping[int, str]]


def csv_pieces(
    events: Iterable[Event],
    path: Path,
    *,
    encoding: str,
    max_record_bytes: int,
    known: Collection[str],
    choose: Choose,
) -> Iterator[Piece]:
    """Tables with `line` and the columns that `choose` names, all text, blank cells null.

    `known` are folded column names; the separator is the one that yields most of them.
    """
    splitter: CsvSplitter | None = None
    carry = Block(1, b"", 0)
    for event in events:
        if not isinstance(event, Block):
            if splitter is None:
                raise refuse(path, "has no readable header line", "check that it is CSV")
            if carry.data:
                yield splitter.split(carry, final=True).piece
                carry = Block(1, b"", 0)
            yield piece_of_event(event, max_record_bytes)
            continue
        block = event
        if splitter is None:
            header = _read_header(block, path, encoding, known)
            if header is None:
                continue
            names = choose(header.names)
            splitter = CsvSplitter(
                header.separator, len(header.names), names, encoding, max_record_bytes
            )
            block = header.rest
        if carry.data:
            block = Block(carry.first_line, carry.data + block.data, block.bytes_read)
        split = splitter.split(block, final=False)
        carry = split.carry
        yield split.piece
    if splitter is None:
        raise refuse(path, "is empty", "write a header line and one call per line")
    if carry.data:
        yield splitter.split(carry, final=True).piece


@dataclass(frozen=True, slots=True)
class Split:
    """The records of a block, and its tail where a record is not complete yet."""

    piece: Piece
    carry: Block


@dataclass(frozen=True, slots=True)
class _Record:
    fields: list[str]
    end: int  # offset of the line end, or of the end of text


@dataclass(slots=True)
class _Slow:
    """What came out of the lines that are no record by themselves."""

    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    problems: list[tuple[int, Problem]] = field(default_factory=list)
    raws: dict[int, str] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)  # line indices [first, end)
    carry_from: int | None = None


class CsvSplitter:
    """Splits blocks whose records have `width` fields; keeps the fields named by position."""

    def __init__(
        self, separator: str, width: int, names: Mapping[int, str], encoding: str, limit: int
    ) -> None:
        self._separator = separator
        self._width = width
        self._names = names
        self._encoding = encoding
        self._limit = limit
        sep = _PATTERN[separator]
        cell = f'(?:[^"{sep}]+|"(?:[^"]|"")*"|)'
        self._one_record = f"^{cell}(?:{sep}{cell})*$"
        self._blank = rf"^[\s{sep}]*$"
        self._record = RecordReader(separator)

    def split(self, block: Block, *, final: bool) -> Split:
        text, undecodable, raws = _decode(block, self._encoding)
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        series = pl.Series("text", lines, dtype=pl.String)
        filled = ~series.str.contains(self._blank)
        good = self._one_record_mask(series, text) & filled
        odd = (~good & filled).arg_true().to_list()
        slow = self._read_odd(odd, text, lines, block, undecodable, final=final)
        if slow.spans:
            good = _without(good, slow.spans)
        table = self._table(series, good, slow, block)
        problems = [*slow.problems, *undecodable.items()]
        raws |= slow.raws

        def raw(line: int) -> str:
            return raws.get(line) or lines[line - block.first_line]

        carry = Block(1, b"", 0)
        if slow.carry_from is not None:
            rest = b"\n".join(block.data.split(b"\n")[slow.carry_from :])
            carry = Block(block.first_line + slow.carry_from, rest, block.bytes_read)
            problems = [(line, problem) for line, problem in problems if line < carry.first_line]
        size = len(block.data) - len(carry.data)
        return Split(Piece(table, problems, raw, block.bytes_read, size), carry)

    def _one_record_mask(self, lines: pl.Series, text: str) -> pl.Series:
        """True for lines that are one record of the right width."""
        if '"' not in text:
            return lines.str.count_matches(self._separator, literal=True) == self._width - 1
        outside = lines.str.replace_all('"[^"]*"', "")
        width = outside.str.count_matches(self._separator, literal=True) + 1
        return lines.str.contains(self._one_record) & (width == self._width)

    def _read_odd(
        self,
        odd: list[int],
        text: str,
        lines: list[str],
        block: Block,
        undecodable: Mapping[int, Problem],
        *,
        final: bool,
    ) -> _Slow:
        slow = _Slow()
        starts = list(accumulate((len(line) + 1 for line in lines), initial=0)) if odd else []
        free = 0  # index of the first line that no record has taken
        for index in odd:
            if index < free:
                continue
            line = block.first_line + index
            record = self._record.read(text, starts[index])
            if record is None and not final and len(text) - starts[index] < self._limit:
                slow.carry_from = index
                slow.spans.append((index, len(lines)))
                break
            if isinstance(record, _Record):
                free = index + 1 + text.count("\n", starts[index], record.end)
                slow.raws[line] = text[starts[index] : record.end][:4096]
                if free > index + 1:
                    slow.spans.append((index, free))
            self._keep(slow, line, record, range(line, block.first_line + free), undecodable)
        return slow

    def _keep(
        self,
        slow: _Slow,
        line: int,
        record: _Record | Problem | None,
        lines: range,
        undecodable: Mapping[int, Problem],
    ) -> None:
        if record is None:
            record = _malformed(
                f"a quote is opened here and not closed within {self._limit:,} bytes",
                'close the quote, or double it ("") where it is part of the text',
            )
        if isinstance(record, Problem):
            slow.problems.append((line, record))
        elif len(record.fields) != self._width:
            slow.problems.append((line, self._ragged(len(record.fields))))
        elif not any(at in undecodable for at in lines):
            slow.rows.append((line, record.fields))

    def _ragged(self, width: int) -> Problem:
        return _malformed(
            f"has {width} fields; the header has {self._width}",
            "quote fields that contain the separator; write empty fields as well",
        )

    def _table(self, series: pl.Series, good: pl.Series, slow: _Slow, block: Block) -> pl.DataFrame:
        kept = series.filter(good)
        quoted = bool(kept.str.contains('"', literal=True).any())
        table = self._read_csv(kept, quoted=quoted)
        numbers = pl.Series("line", good.arg_true(), dtype=pl.UInt64) + block.first_line
        table = table.insert_column(0, numbers)
        if not slow.rows:
            return table
        columns = {"line": pl.Series([line for line, _ in slow.rows], dtype=pl.UInt64)}
        for position, name in sorted(self._names.items()):
            cells = [fields[position] or None for _, fields in slow.rows]
            columns[name] = pl.Series(cells, dtype=pl.String)
        return pl.concat([table, pl.DataFrame(columns)]).sort("line")

    def _read_csv(self, lines: pl.Series, *, quoted: bool) -> pl.DataFrame:
        positions = sorted(self._names)
        if lines.is_empty():
            return pl.DataFrame(schema={self._names[at]: pl.String for at in positions})
        table = pl.read_csv(
            io.BytesIO(lines.str.join("\n").item().encode()),
            has_header=False,
            separator=self._separator,
            quote_char='"' if quoted else None,
            schema={f"column_{at}": pl.String for at in range(self._width)},
            columns=[f"column_{at}" for at in positions],
            infer_schema=False,
        )
        if table.height != len(lines):
            raise AssertionError(f"{len(lines)} records were split into {table.height} rows")
        return table.rename({f"column_{at}": self._names[at] for at in positions})


class RecordReader:
    """Reads one record, field by field, wherever it ends."""

    def __init__(self, separator: str) -> None:
        sep = _PATTERN[separator]
        self._separator = separator
        self._quoted = re.compile(r'"((?:[^"]++|"")*+)"')
        self._plain = re.compile(rf"[^{sep}\n]*+")

    def read(self, text: str, at: int) -> _Record | Problem | None:
        """The record at offset `at`; None where a quote is still open at the end of `text`."""
        fields: list[str] = []
        while True:
            if text.startswith('"', at):
                match = self._quoted.match(text, at)
                if match is None:
                    return None
                fields.append(match[1].replace('""', '"'))
            else:
                match = self._plain.match(text, at)
                fields.append(match[0] if match else "")
            at = match.end() if match else at
            if at >= len(text) or text[at] == "\n":
                return _Record(fields, at)
            if text[at] != self._separator:
                return _malformed(
                    f"field {len(fields)} goes on after its closing quote",
                    'double the quotes ("") that are part of the text',
                )
            at += 1


@dataclass(frozen=True, slots=True)
class _Header:
    names: list[str]
    separator: str
    rest: Block


def _read_header(block: Block, path: Path, encoding: str, known: Collection[str]) -> _Header | None:
    """The first line that is not blank; None if the block has none."""
    data = block.data.removeprefix(UTF8_BOM) if block.first_line == 1 else block.data
    start = len(data) - len(data.lstrip())
    if start == len(data):
        return None
    try:
        head = data[: data.find(b"\n", start) + 1 or len(data)].decode(encoding)
    except UnicodeDecodeError as error:
        raise _header_not_text(path, encoding) from error
    if "\r" in head.rstrip("\r\n") and b"\n" not in data:
        raise refuse(path, "ends its lines with CR alone", "re-save it with LF or CRLF line ends")
    best: tuple[tuple[int, int], list[str], str, int] | None = None
    text = data.decode(encoding, errors="replace").replace("\r\n", "\n")
    begin = len(text) - len(text.lstrip())
    for separator in SEPARATORS:
        record = RecordReader(separator).read(text, begin)
        if not isinstance(record, _Record):
            continue
        names = [name.strip() for name in record.fields]
        score = (sum(fold(name) in known for name in names), len(names))
        if best is None or score > best[0]:
            best = (score, names, separator, record.end)
    if best is None:
        raise refuse(path, "has a malformed header line", "close every quote in it")
    _, names, separator, end = best
    used = text.count("\n", 0, end) + 1
    parts = data.split(b"\n", used)
    rest = parts[used] if len(parts) > used else b""
    return _Header(names, separator, Block(block.first_line + used, rest, block.bytes_read))


def _header_not_text(path: Path, encoding: str) -> FileRefused:
    return refuse(
        path,
        f"has a header line that is not {encoding}",
        "re-save the file as UTF-8, or pass its encoding (for example --encoding gbk)",
    )


def _decode(block: Block, encoding: str) -> tuple[str, dict[int, Problem], dict[int, str]]:
    """The block's text; lines that can't be decoded are emptied, and returned by line number
    as problems and as legible text.
    """
    undecodable: dict[int, Problem] = {}
    raws: dict[int, str] = {}
    try:
        text = block.data.decode(encoding)
    except UnicodeDecodeError:
        lines = []
        for number, line in enumerate(block.data.split(b"\n"), block.first_line):
            try:
                lines.append(line.decode(encoding))
            except UnicodeDecodeError as error:
                undecodable[number] = not_text(line, encoding, error)
                raws[number] = line[:4096].decode(encoding, errors="replace")
                lines.append("")
        text = "\n".join(lines)
    return (text.replace("\r\n", "\n") if "\r" in text else text), undecodable, raws


def _without(good: pl.Series, spans: list[tuple[int, int]]) -> pl.Series:
    taken = [index for first, end in spans for index in range(first, end)]
    return good.scatter(taken, [False] * len(taken)) if taken else good


def _malformed(problem: str, fix: str) -> Problem:
    return Problem("", "", problem, fix)
