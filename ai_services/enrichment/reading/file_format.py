"""Recognise what kind of file an import is, and refuse plainly what it can't be.

Content decides; the file's name only where content leaves it open.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ai_services.enrichment.reading.lines import GZIP_MAGIC, ByteStream
from shared.errors import Detail, InvalidInput

UTF8_BOM: Final = codecs.BOM_UTF8
_FOREIGN: Final = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV (UTF-8)"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it, or compress it with gzip"),
    (b"BZh", "compressed with bzip2", "decompress it, or compress it with gzip"),
    (b"\xfd7zXZ", "compressed with xz", "decompress it, or compress it with gzip"),
    (codecs.BOM_UTF16_LE, "in UTF-16", "re-save it as UTF-8"),
    (codecs.BOM_UTF16_BE, "in UTF-16", "re-save it as UTF-8"),
)


class FileRefused(InvalidInput):
    """No row of the file can be read: it is not what it should be, or lacks a column."""


class FileKind(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class FileFormat:
    kind: FileKind
    gzipped: bool


def refuse(path: Path, problem: str, fix: str, field: str = "file") -> FileRefused:
    """The error for a file that can't be read at all."""
    return FileRefused(f"{path.name} {problem}: {fix}.", details=[Detail(field, problem, fix)])


def recognise(path: Path) -> FileFormat:
    """Look at the first bytes; raise FileRefused for what is no CSV, JSON Lines or Parquet."""
    head, gzipped = _read_head(path)
    if head.startswith(b"PAR1"):
        if gzipped:
            raise refuse(path, "is Parquet inside gzip", "decompress it first")
        return FileFormat(FileKind.PARQUET, gzipped=False)
    for magic, what, fix in _FOREIGN:
        if head.startswith(magic):
            raise refuse(path, f"is {what}", fix)
    text = head.removeprefix(UTF8_BOM).lstrip()
    if not text:
        raise refuse(path, "is empty", "write a header line and one call per line")
    if head.count(b"\0") * 10 > len(head):  # a single one spoils only its row
        raise refuse(path, "is not a text file", "save it as CSV, JSON Lines (UTF-8) or Parquet")
    if text.startswith(b"["):
        raise refuse(
            path, "is a JSON array", "write one JSON object per line, for example with jq -c '.[]'"
        )
    return FileFormat(_text_kind(path, text), gzipped)


def check_encoding(encoding: str) -> str:
    """The codec's canonical name; only encodings that keep ASCII's bytes can be cut into lines."""
    try:
        name = codecs.lookup(encoding).name
        ascii_kept = '\n\r",;\t{}'.encode(name) == b'\n\r",;\t{}'
        b"\xff".decode(name, errors="replace")
    except (LookupError, UnicodeError):
        ascii_kept = False
    if not ascii_kept:
        raise FileRefused(
            f"encoding {encoding!r} can't be read.",
            details=[
                Detail(
                    "encoding",
                    f"{encoding!r} is not a known encoding whose ASCII bytes are ASCII",
                    "use utf-8, gbk, gb18030, big5, shift_jis, latin-1 or cp1252; "
                    "re-save UTF-16 as UTF-8",
                )
            ],
        )
    return "utf-8" if name == "utf-8-sig" else name


def _text_kind(path: Path, text: bytes) -> FileKind:
    names = [suffix.lower() for suffix in path.suffixes]
    if text.startswith(b"{") or ".jsonl" in names or ".ndjson" in names:
        return FileKind.JSONL
    return FileKind.CSV


def _read_head(path: Path) -> tuple[bytes, bool]:
    """The first bytes, decompressed, and whether they were compressed."""
    try:
        with path.open("rb") as file:
            gzipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            stream = ByteStream(file, gzipped=gzipped)
            head = stream.read()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise refuse(
            path, f"can't be opened ({reason})", "check the path and its rights"
        ) from error
    if stream.damaged and not head:
        raise refuse(path, "is a damaged gzip file", "copy or compress it again")
    return head, gzipped
