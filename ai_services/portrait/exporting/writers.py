"""Files of rows, written part by part. Each holds a batch of rows at most, the workbook on disk.

None of them is for an event loop: a batch takes tens of milliseconds.
"""

from __future__ import annotations

import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

from ai_services.portrait.exporting.columns import COLUMNS, DATES, DERIVED, SUMS, harmless
from shared.errors import InvalidInput

Format = Literal["csv", "parquet", "xlsx"]
MEDIA_TYPES: Final[dict[Format, str]] = {
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
MOST_XLSX_ROWS: Final = 100_000  # of which 150 MB lie on disk meanwhile
_PART: Final = 1 << 18


class Writer(Protocol):
    """`rows` for each batch, then `end`; both return what the file goes on with."""

    def rows(self, batch: Sequence[Sequence[Any]]) -> bytes: ...
    def end(self) -> Iterator[bytes]: ...
    def close(self) -> None:
        """Leaves nothing behind, whether the file was ended or not."""
        ...


def writer(form: Format, subject: str) -> Writer:
    """`subject` is the name of the first column, that of ids."""
    match form:
        case "csv":
            return _Csv(subject)
        case "parquet":
            return _Parquet(subject)
        case "xlsx":
            return _Xlsx(subject)


class _Csv:
    """RFC 4180 but for its line ends; the empty cell is null."""

    def __init__(self, subject: str) -> None:
        self._text = io.StringIO()
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow([subject, *COLUMNS])

    def rows(self, batch: Sequence[Sequence[Any]]) -> bytes:
        self._writer.writerows([harmless(row[0]), *map(_plain, row[1:])] for row in batch)
        return self._taken()

    def end(self) -> Iterator[bytes]:
        yield self._taken()

    def close(self) -> None: ...

    def _taken(self) -> bytes:
        text = self._text.getvalue()
        self._text.seek(0)
        self._text.truncate()
        return text.encode()


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value


class _Parquet:
    """A row group per batch, Zstandard."""

    def __init__(self, subject: str) -> None:
        # Costs 60 MB and half a second, and most processes export nothing.
        import pyarrow as pa  # noqa: PLC0415 - see above
        from pyarrow import parquet  # noqa: PLC0415 - see above

        types = {
            **dict.fromkeys(COLUMNS, pa.int64()),
            **dict.fromkeys(("period_key", "fail_reason_dist"), pa.string()),
            **dict.fromkeys(DATES, pa.date32()),
            **dict.fromkeys((*SUMS, *DERIVED), pa.float64()),
            "total_duration": pa.decimal128(20, 3),
            "computed_at": pa.timestamp("us", "UTC"),
        }
        fields = [(subject, pa.string()), *((column, types[column]) for column in COLUMNS)]
        self._schema = pa.schema(fields)
        self._table = pa.Table
        self._sink = _Sink()
        self._writer = parquet.ParquetWriter(self._sink, self._schema, compression="zstd")

    def rows(self, batch: Sequence[Sequence[Any]]) -> bytes:
        names = self._schema.names
        columns = dict(zip(names, zip(*batch, strict=True), strict=True))
        self._writer.write_table(self._table.from_pydict(columns, schema=self._schema))
        return self._sink.taken()

    def end(self) -> Iterator[bytes]:
        self._writer.close()
        yield self._sink.taken()

    def close(self) -> None: ...


class _Sink(io.RawIOBase):
    """A file that forgets what was taken from it, and knows how long it is all the same."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class _Xlsx:
    """Numbers as numbers, ids as texts: no cell is a formula."""

    def __init__(self, subject: str) -> None:
        import xlsxwriter  # noqa: PLC0415 - as pyarrow

        self._folder = tempfile.TemporaryDirectory(prefix="looma-export-")
        self._path = os.path.join(self._folder.name, "export.xlsx")  # noqa: PTH118 - a name
        self._book = xlsxwriter.Workbook(
            self._path,
            {
                "constant_memory": True, "tmpdir": self._folder.name, "strings_to_formulas": False,
                "strings_to_urls": False, "strings_to_numbers": False, "remove_timezone": True,
            },
        )  # fmt: skip
        self._date = self._book.add_format({"num_format": "yyyy-mm-dd"})
        self._time = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._sheet = self._book.add_worksheet("portraits")
        self._sheet.freeze_panes(1, 1)
        self._sheet.write_row(0, 0, [subject, *COLUMNS])
        self._next = 1

    def rows(self, batch: Sequence[Sequence[Any]]) -> bytes:
        if self._next + len(batch) > MOST_XLSX_ROWS + 1:
            problem = f"a workbook takes {MOST_XLSX_ROWS:,} portraits, and there are more"
            raise InvalidInput.of("format", problem, "send csv or parquet")
        for row in batch:
            for place, value in enumerate(row):
                self._cell(place, value)
            self._next += 1
        return b""

    def _cell(self, place: int, value: Any) -> None:
        match value:
            case None:
                return
            case str():
                self._sheet.write_string(self._next, place, harmless(value))
            case datetime():
                self._sheet.write_datetime(self._next, place, value.astimezone(UTC), self._time)
            case int() | float() | Decimal():
                self._sheet.write_number(self._next, place, value)
            case _:
                self._sheet.write_datetime(self._next, place, value, self._date)

    def end(self) -> Iterator[bytes]:
        self._book.close()
        with open(self._path, "rb") as file:  # noqa: PTH123 - read in parts
            while part := file.read(_PART):
                yield part

    def close(self) -> None:
        self._folder.cleanup()
