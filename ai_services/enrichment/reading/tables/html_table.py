"""Tables in HTML, and in the XML of Excel 2003: what many web pages save under the name of `.xls`."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from itertools import zip_longest
from typing import Final

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.content.recoded import Bytes
from ai_services.enrichment.reading.refusal import refuse
from ai_services.enrichment.reading.tables.row_table import Rows

_ROW: Final = ("tr", "row", "ss:row")
_CELL: Final = ("td", "th", "cell", "ss:cell")
_BREAKS: Final = ("br", "p", "div", "li")
_UNSHOWN: Final = ("style", "script", "title")
_MOST_COLUMNS: Final = 16_384
_MOST_SPANNED: Final = 1_000  # as the standard has it
_ROWS: Final = 1_000
_CELLS: Final = 1 << 20
_CHARS: Final = 8 << 20
_SLICE: Final = 16_384

Row = list[tuple[str, bool]]  # cells, each with whether it is a time by its type


def html_rows(path: CallFile, stream: Bytes, most_cell: int) -> Iterator[tuple[Rows, int]]:
    """The rows of all its tables, counted from 1, in chunks with the bytes read so far. `stream` is
    UTF-8. FileRefused for a cell or a tag of more than `most_cell` characters.
    """
    parser = _Tables()
    number = 1
    for text in _slices(stream):
        parser.feed(text)
        if max(len(parser.rawdata), parser.size) > most_cell:
            problem = f"has a cell of more than {most_cell:,} characters"
            raise refuse(path, problem, "export the calls as CSV or as a workbook (.xlsx)")
        if len(parser.rows) >= _ROWS or parser.cells >= _CELLS:
            for rows in _shares(parser.take()):
                yield _columns(rows, number), stream.position
                number += len(rows)
    parser.close()
    parser.end_row()
    for rows in _shares(parser.take()):
        yield _columns(rows, number), stream.position
        number += len(rows)


def _slices(stream: Bytes) -> Iterator[str]:
    """So little at a time that what one of them unfolds to, by columns that are spanned, is bounded."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    while data := stream.read():
        text = decoder.decode(data)
        for start in range(0, len(text), _SLICE):
            yield text[start : start + _SLICE]


def _shares(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """So many at a time that their text is bounded: a cell that spans rows is in each of them."""
    begin = size = 0
    for at, row in enumerate(rows):
        chars = sum(len(text) for text, _ in row)
        if size and size + chars > _CHARS:
            yield rows[begin:at]
            begin, size = at, 0
        size += chars
    if rows:
        yield rows[begin:]


def _columns(rows: Sequence[Row], number: int) -> Rows:
    columns = [list(column) for column in zip_longest(*rows, fillvalue=("", False))]
    dated = {
        at: [row for row, (_, is_time) in enumerate(column) if is_time]
        for at, column in enumerate(columns)
    }
    texts = [[text or None for text, _ in column] for column in columns]
    return Rows(texts, number, {at: rows for at, rows in dated.items() if rows})


class _Tables(HTMLParser):
    """Collects rows of cells, each with whether it is a time by its type."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[Row] = []
        self.cells = 0  # of `rows`
        self.size = 0  # of the cell that is open, in characters
        self._row: Row | None = None
        self._cell: list[str] | None = None
        self._value: str | None = None
        self._is_time = False
        self._across = 1
        self._hidden = 0
        self._below: dict[int, tuple[int, tuple[str, bool]]] = {}  # column → rows to come, cell
        self._down = 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _ROW:
            self.end_row()
            self._row = []
        elif tag in _CELL:
            self._end_cell()
            self._row = [] if self._row is None else self._row
            self._begin_cell(given)
        elif tag.removeprefix("ss:") == "data":
            self._is_time = given.get("ss:type") == "DateTime"
        elif tag in _BREAKS and self._cell:
            self._cell.append("\n")
            self.size += 1
        elif tag in _UNSHOWN:
            self._hidden += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in _ROW:
            self.end_row()
        elif tag == "table":
            self.end_row()
            self._below.clear()
        elif tag in _CELL:
            self._end_cell()
        elif tag in _UNSHOWN:
            self._hidden = max(0, self._hidden - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in _CELL or tag in _ROW:
            self.handle_endtag(tag)

    def handle_data(self, data: str) -> None:
        if self._cell is not None and not self._hidden:
            self._cell.append(data)
            self.size += len(data)

    def take(self) -> list[Row]:
        """The rows that are complete; they are let go."""
        rows, self.rows, self.cells = self.rows, [], 0
        return rows

    def end_row(self) -> None:
        """Its end, whether or not there is a tag that says so."""
        self._end_cell()
        if self._row is not None:
            self._fill_from_above()
            self._pass_by(len(self._row))
            if self._row:
                self.rows.append(self._row)
                self.cells += len(self._row)
        self._row = None

    def _begin_cell(self, given: dict[str, str | None]) -> None:
        self._cell = []
        self.size = 0
        self._is_time = False
        self._value = given.get("x:num") or given.get("x:str") or None
        self._across = _count(given.get("colspan"), 1) + _count(given.get("ss:mergeacross"), 0)
        self._down = _count(given.get("rowspan"), 1) + _count(given.get("ss:mergedown"), 0)
        index = _count(given.get("ss:index"), 0)
        row = self._row
        if row is not None and index > len(row) + 1:
            row += [("", False)] * (index - 1 - len(row))
        self._fill_from_above()

    def _end_cell(self) -> None:
        if self._cell is None or self._row is None:
            return
        lines = "".join(self._cell).replace("\xa0", " ").split("\n")
        text = "\n".join(one for line in lines if (one := " ".join(line.split())))
        cell = (self._value or text, self._is_time)
        if self._down > 1:
            self._below[len(self._row)] = (self._down - 1, cell)
        blanks = min(self._across, _MOST_SPANNED) - 1
        self._row += [cell, *[("", False)] * blanks]
        del self._row[_MOST_COLUMNS:]
        self._cell = self._value = None

    def _fill_from_above(self) -> None:
        """Put in the cells that began in a row above and reach into this one."""
        while self._row is not None and len(self._row) in self._below:
            column = len(self._row)
            left, cell = self._below.pop(column)
            self._row.append(cell)
            if left > 1:
                self._below[column] = (left - 1, cell)

    def _pass_by(self, width: int) -> None:
        """Cells from above that the row is too short for are a row less: they would be kept for ever."""
        for column in [one for one in self._below if one >= width]:
            left, cell = self._below.pop(column)
            if left > 1:
                self._below[column] = (left - 1, cell)


def _count(text: str | None, default: int) -> int:
    if text is None or not text.isascii() or not text.isdigit():
        return default
    return min(int(text[:6]), _MOST_COLUMNS)
