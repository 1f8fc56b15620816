"""Split CSV text into tables of text cells, a block at a time.

RFC 4180: fields may be quoted, quotes inside are doubled, quoted fields may hold line ends.
Lines that are one well-formed record are recognised in bulk and split by polars. The rest
is read field by field: records over several lines, and malformed ones. A malformed record
costs its own first line only: reading goes on at the next line, so that one stray quote
can't swallow the rest of a file.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

import polars as pl

from ai_services.enrichment.reading.content.lines import Block, Event
from ai_services.enrichment.reading.piece import Piece, not_text, piece_of_event
from ai_services.enrichment.reading.refusal import refuse
from ai_services.enrichment.reading.tables.csv_header import Header, read_header
from ai_services.enrichment.reading.tables.csv_record import Record, RecordReader, malformed
from ai_services.enrichment.reading.tables.no_calls import NoCalls
from ai_services.enrichment.reading.tables.table_head import TableReader
from ai_services.enrichment.validation.reject import Problem, excerpt


def csv_pieces(
    events: Iterable[Event], reader: TableReader, *, encoding: str, max_record_bytes: int
) -> Iterator[Piece]:
    """Tables with `line` and the columns that are chosen, all text; empty cells are null or ""."""
    splitter: CsvSplitter | None = None
    carry = Block(1, b"", 0)
    for event in events:
        if not isinstance(event, Block):
            if splitter is None:
                raise refuse(reader.path, "has no readable header line", "check that it is CSV")
            if carry.data:
                yield splitter.split(carry, final=True).piece
                carry = Block(1, b"", 0)
            yield piece_of_event(event, max_record_bytes)
            continue
        block = event
        if splitter is None:
            header = read_header(block, encoding, reader)
            if header is None:
                continue
            splitter = CsvSplitter(header, reader, encoding, max_record_bytes)
            block = header.rest
        if carry.data:
            block = Block(carry.first_line, carry.data + block.data, block.bytes_read)
        split = splitter.split(block, final=False)
        carry = split.carry
        yield split.piece
    if splitter is None:
        raise refuse(reader.path, "is empty", "write a header line and one call per line")
    if carry.data:
        yield splitter.split(carry, final=True).piece
    splitter.tell(reader)


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
    """Splits the blocks behind a header; keeps the fields that are chosen from it."""

    def __init__(self, header: Header, reader: TableReader, encoding: str, limit: int) -> None:
        self._header = header
        self._separator = header.dialect.separator
        self._width = len(header.names)
        self._positions = reader.choose(header.names)
        self._no_calls = NoCalls(reader.layout, self._positions)
        self._encoding = encoding
        self._limit = limit
        sep, self._quote = header.dialect.sep, header.dialect.quote
        cell = "(?:[^Q{sep}]+|Q(?:[^Q]|QQ)*Q|)".replace("Q", self._quote).replace("{sep}", sep)
        self._one_record = f"^{cell}(?:{sep}{cell})*$"
        self._blank = rf"^[\s\x1a{sep}]*$"
        self._record = RecordReader(header.dialect)

    def tell(self, reader: TableReader) -> None:
        """At the end of the file: what was left out as no calls."""
        for note in self._no_calls.notes():
            reader.tell(note)

    def split(self, block: Block, *, final: bool) -> Split:
        text, undecodable, raws = _decode(block, self._encoding)
        text = text.rstrip("\x1a")  # Ctrl-Z, with which DOS ends a file
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        series = pl.Series("text", lines, dtype=pl.String)
        filled = ~series.str.contains(self._blank)
        mark = self._no_calls.comment
        comments = series.str.starts_with(mark) if mark else None
        if comments is not None:
            filled &= ~comments
        good = self._one_record_mask(series, text) & filled
        odd = (~good & filled).arg_true().to_list()
        slow = self._read_odd(odd, text, lines, block, undecodable, final=final)
        if slow.spans:
            good = _without(good, slow.spans)
        if comments is not None:
            left_out = _without(comments, slow.spans).arg_true() + block.first_line
            self._no_calls.take_comments(left_out.to_list())
        table = self._calls(self._table(series, good, slow, block), lines, block.first_line)
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
        if self._quote not in text:
            return lines.str.count_matches(self._separator, literal=True) == self._width - 1
        outside = lines.str.replace_all(f"{self._quote}[^{self._quote}]*{self._quote}", "")
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
                f"close the quote, or double it ({self._quote * 2}) where it is part of the text",
            )
        if isinstance(record, Problem):
            slow.problems.append((line, record))
            return
        fields = self._fitted(record.fields)
        if fields is not None:
            if not any(at in undecodable for at in lines):
                slow.rows.append((line, fields))
        elif not self._no_calls.take(line, record.fields):
            slow.problems.append((line, self._ragged(len(record.fields))))

    def _fitted(self, fields: list[str]) -> list[str] | None:
        """As wide as the header: without empty cells behind its last, with those left out that it
        doesn't name. None for other rows.
        """
        if any(cell.strip() for cell in fields[self._width :]):
            return None
        if len(fields) < self._header.named:
            return None
        return fields[: self._width] + [""] * (self._width - len(fields))

    def _calls(self, table: pl.DataFrame, lines: list[str], first_line: int) -> pl.DataFrame:
        """Without the rows that are none, such as totals."""
        doubtful = table["line"].filter(self._no_calls.doubtful(table)).to_list()
        none = []
        for line in doubtful:
            record = self._record.read(lines[line - first_line], 0)
            if isinstance(record, Record) and self._no_calls.take(line, record.fields):
                none.append(line)
        return table.filter(~pl.col("line").is_in(none)) if none else table

    def _ragged(self, width: int) -> Problem:
        return malformed(
            f"has {width} fields; the header has {self._width}",
            "quote fields that contain the separator; write empty fields as well",
        )

    def _table(self, series: pl.Series, good: pl.Series, slow: _Slow, block: Block) -> pl.DataFrame:
        kept = series.filter(good)
        quoted = bool(kept.str.contains(self._quote, literal=True).any())
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
            quote_char=self._quote if quoted else None,
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
