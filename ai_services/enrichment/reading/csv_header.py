"""Find the header line of a CSV file and the separator that it uses."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ai_services.enrichment.reading.columns import fold
from ai_services.enrichment.reading.csv_record import SEPARATORS, Record, RecordReader
from ai_services.enrichment.reading.file_format import UTF8_BOM, FileRefused, refuse
from ai_services.enrichment.reading.lines import Block


@dataclass(frozen=True, slots=True)
class Header:
    """`rest` is what follows the header in its block."""

    names: list[str]
    separator: str
    rest: Block


def read_header(block: Block, path: Path, encoding: str, known: Collection[str]) -> Header | None:
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
    text = data.decode(encoding, errors="replace").replace("\r\n", "\n")
    names, separator, end = _split_header(text, known, path)
    used = text.count("\n", 0, end) + 1
    parts = data.split(b"\n", used)
    rest = parts[used] if len(parts) > used else b""
    return Header(names, separator, Block(block.first_line + used, rest, block.bytes_read))


def _split_header(text: str, known: Collection[str], path: Path) -> tuple[list[str], str, int]:
    """Names, separator and end of the header: the separator that yields most known names."""
    best: tuple[tuple[int, int], list[str], str, int] | None = None
    begin = len(text) - len(text.lstrip())
    for separator in SEPARATORS:
        record = RecordReader(separator).read(text, begin)
        if not isinstance(record, Record):
            continue
        names = [name.strip() for name in record.fields]
        score = (sum(fold(name) in known for name in names), len(names))
        if best is None or score > best[0]:
            best = (score, names, separator, record.end)
    if best is None:
        raise refuse(path, "has a malformed header line", "close every quote in it")
    return best[1:]


def _header_not_text(path: Path, encoding: str) -> FileRefused:
    return refuse(
        path,
        f"has a header line that is not {encoding}",
        "re-save the file as UTF-8, or pass its encoding (for example --encoding gbk)",
    )
