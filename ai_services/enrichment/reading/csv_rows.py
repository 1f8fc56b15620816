"""Split CSV text into tables of text cells, a block at a time.

RFC 4180: fields may be quoted, quotes inside are doubled, quoted fields may hold line ends.
Lines that are one well-formed record are recognised in bulk and split by polars. The rest
is read field by field: records over several lines, and malformed ones. A malformed record
costs its own first line only: reading goes on at the next line, so that one stray quote
can't swallow the rest of a file.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import polars as pl

from ai_services.enrichment.reading.csv_header import read_header
from ai_services.enrichment.reading.csv_record import PATTERNS, Record, RecordReader, malformed
from ai_services.enrichment.reading.file_format import refuse
from ai_services.enrichment.reading.lines import Block, Event
from ai_services.enrichment.reading.piece import Piece, not_text, piece_of_event
from ai_services.enrichment.validation.reject import Problem, excerpt

# Chooses from the header's names: new name → position. May refuse the file.
Choose = Callable[[Sequence[str]], Mapping[str, int]]


def csv_pieces(
    events: Iterable[Event],
    path: Path,
    *,
    encoding: str,
    max_record_bytes: int,
    known: Collection[str],
    choose: Choose,
) -> Iterator[Piece]:
    """Tables with `line` and the columns that `choose` names, all text; empty cells are null or "".

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
            header = read_header(block, path, encoding, known)
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


@dataclass(slots=True)
class _Slow:
    """What came out of the lines that are no record by themselves."""

    rows: list[tuple[int, list[str]]] = field(default_factory=list)
    problems: list[tuple[int, Problem]] = field(default_factory=list)
    raws: dict[int, str] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)  # line indices [first, end)
    carry_from: int | None = None


class CsvSplitter:
    """Splits blocks whose records have `width` fields; keeps the fields at `positions`."""

    def __init__(
        self, separator: str, width: int, positions: Mapping[str, int], encoding: str, limit: int
    ) -> None:
        self._separator = separator
        self._width = width
        self._positions = positions
        self._encoding = encoding
        self._limit = limit
        sep = PATTERNS[separator]
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
            if isinstance(record, Record):
                free = index + 1 + text.count("\n", starts[index], record.end)
                slow.raws[line] = excerpt(text[starts[index] : record.end], chars=4096)
                if free > index + 1:
                    slow.spans.append((index, free))
            self._keep(slow, line, record, range(line, block.first_line + free), undecodable)
        return slow

    def _keep(
        self,
        slow: _Slow,
        line: int,
        record: Record | Problem | None,
        lines: range,
        undecodable: Mapping[int, Problem],
    ) -> None:
        if record is None:
            record = malformed(
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
        return malformed(
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
        for name, position in self._positions.items():
            cells = [fields[position] or None for _, fields in slow.rows]
            columns[name] = pl.Series(cells, dtype=pl.String)
        return pl.concat([table, pl.DataFrame(columns)]).sort("line")

    def _read_csv(self, lines: pl.Series, *, quoted: bool) -> pl.DataFrame:
        if lines.is_empty():
            return pl.DataFrame(schema=dict.fromkeys(self._positions, pl.String))
        table = pl.read_csv(
            io.BytesIO(lines.str.join("\n").item().encode()),
            has_header=False,
            separator=self._separator,
            quote_char='"' if quoted else None,
            schema={f"column_{at}": pl.String for at in range(self._width)},
            columns=[f"column_{at}" for at in sorted(set(self._positions.values()))],
            infer_schema=False,
        )
        if table.height != len(lines):
            raise AssertionError(f"{len(lines)} records were split into {table.height} rows")
        return table.select(
            pl.col(f"column_{at}").alias(name) for name, at in self._positions.items()
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
                raws[number] = excerpt(line.decode(encoding, errors="replace"), chars=4096)
                lines.append("")
        text = "\n".join(lines)
    return (text.replace("\r\n", "\n") if "\r" in text else text), undecodable, raws


def _without(good: pl.Series, spans: list[tuple[int, int]]) -> pl.Series:
    taken = [index for first, end in spans for index in range(first, end)]
    return good.scatter(taken, [False] * len(taken)) if taken else good
