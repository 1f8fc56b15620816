"""Recognise what kind of file an import is, and refuse plainly what it can't be.

Content decides; the file's name only where content leaves it open.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import BinaryIO, Final

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.content.encoding import (
    Encoding,
    check_encoding,
    find_encoding,
    named_encoding,
)
from ai_services.enrichment.reading.content.lines import GZIP_MAGIC, ByteStream
from ai_services.enrichment.reading.content.recoded import MARKED
from ai_services.enrichment.reading.content.zip_archive import ZIP_MAGIC, look_into
from ai_services.enrichment.reading.refusal import FileRefused, refuse

__all__ = ["UTF8_BOM", "FileFormat", "FileKind", "FileRefused", "recognise", "refuse"]

UTF8_BOM: Final = codecs.BOM_UTF8
_OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0"
_FOREIGN: Final = (
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "decompress it, or compress it with gzip"),
    (b"BZh", "compressed with bzip2", "decompress it, or compress it with gzip"),
    (b"\xfd7zXZ", "compressed with xz", "decompress it, or compress it with gzip"),
    (b"Rar!", "a RAR archive", "unpack it, or compress the file with gzip"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it, or compress the file with gzip"),
    (b"%PDF", "a PDF document", "export the calls as CSV, JSON Lines or a workbook"),
)
_ARRAY: Final = re.compile(r"\[\s*(?:[\[{\]]|$)")
_TABLE: Final = re.compile(
    r"<(?:table|tr|html)\b|urn:schemas-microsoft-com:office:spreadsheet", re.IGNORECASE
)


class FileKind(StrEnum):
    """JSON is a document with an array of calls; SHEETS is a workbook of any office program."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    PARQUET = "parquet"
    SHEETS = "workbook"
    HTML = "html"


@dataclass(frozen=True, slots=True)
class FileFormat:
    """`file` is what to read: the file itself, or the one in the archive that it is. `encoding` and
    `head`, its beginning as text (MARKED), are those of a text. `notes` are for whoever sent it.
    """

    kind: FileKind
    gzipped: bool
    file: CallFile
    encoding: str = "utf-8"
    head: str = ""
    notes: tuple[str, ...] = ()


def recognise(
    path: CallFile, encoding: str | None = None, *, most: int | None = None
) -> FileFormat:
    """Look at the first bytes; FileRefused for what can't be read.

    A text is in `encoding`, or in that which its bytes tell. Nothing of an archive is unpacked
    that says it is larger than `most` bytes.
    """
    named = check_encoding(encoding) if encoding else None
    try:
        with path.open("rb") as file:
            return _recognise(path, file, named, most)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise refuse(
            path, f"can't be opened ({reason})", "check the path and its rights"
        ) from error


def _recognise(
    path: CallFile, file: BinaryIO, encoding: str | None, most: int | None
) -> FileFormat:
    gzipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    stream = ByteStream(file, gzipped=gzipped, most=most)
    head = stream.read()
    if stream.damaged and not head:
        raise refuse(path, "is a damaged gzip file", "copy or compress it again")
    packed = (
        (b"PAR1", "Parquet"),
        (ZIP_MAGIC, "a zip archive or a workbook"),
        (_OLE_MAGIC, "a workbook"),
    )
    what = next((what for magic, what in packed if head.startswith(magic)), None)
    if what and gzipped:
        raise refuse(path, f"is {what} inside gzip", "decompress it first")
    if head.startswith(b"PAR1"):
        return FileFormat(FileKind.PARQUET, gzipped=False, file=path)
    if head.startswith(_OLE_MAGIC):
        return FileFormat(FileKind.SHEETS, gzipped=False, file=path)
    if head.startswith(ZIP_MAGIC):
        return _in_archive(path, file, encoding, most)
    for magic, what, fix in _FOREIGN:
        if head.startswith(magic):
            raise refuse(path, f"is {what}", fix)
    return _text(path, stream, head, encoding, gzipped=gzipped)


def _in_archive(
    path: CallFile, file: BinaryIO, encoding: str | None, most: int | None
) -> FileFormat:
    member = look_into(path, file, most)
    if member is None:
        return FileFormat(FileKind.SHEETS, gzipped=False, file=path)
    form = recognise(member, encoding, most=most)
    return replace(form, notes=(f"The archive's file {member.name!r} is read.", *form.notes))


def _text(
    path: CallFile, stream: ByteStream, head: bytes, encoding: str | None, *, gzipped: bool
) -> FileFormat:
    if not head.removeprefix(UTF8_BOM).strip(b" \t\r\n\x0b\x0c\x1a"):
        raise refuse(path, "is empty", "write a header line and one call per line")
    found = _encoding(path, _chunks(head, stream), encoding)
    text = head.decode(found.name, errors=MARKED).removeprefix("\ufeff")
    if not text.strip():
        raise refuse(path, "is empty", "write a header line and one call per line")
    kind = _text_kind(path, text)
    told = "The file is HTML or XML; the rows of its tables are read."
    notes = [found.told, told if kind == FileKind.HTML else ""]
    return FileFormat(kind, gzipped, path, found.name, text, tuple(filter(None, notes)))


def _encoding(path: CallFile, chunks: Iterator[bytes], encoding: str | None) -> Encoding:
    return named_encoding(encoding, chunks) if encoding else find_encoding(path, chunks)


def _chunks(head: bytes, stream: ByteStream) -> Iterator[bytes]:
    yield head
    while chunk := stream.read():
        yield chunk


def _text_kind(path: CallFile, text: str) -> FileKind:
    names = [suffix.lower() for suffix in path.suffixes]
    begin = text.lstrip()[:65_536]
    if begin.startswith("<") and _TABLE.search(begin):
        return FileKind.HTML
    if begin.startswith("<"):
        raise refuse(
            path, "is XML or HTML without a table", "export the calls as CSV or a workbook"
        )
    if begin.startswith("MIME-Version:"):
        raise refuse(path, "is a web archive", "save it as a workbook (.xlsx) or as CSV")
    if _ARRAY.match(begin):
        return FileKind.JSON
    if begin.startswith("{") or ".jsonl" in names or ".ndjson" in names:
        return FileKind.JSONL
    return FileKind.CSV
