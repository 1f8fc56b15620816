"""Look into a zip archive: a workbook is one, and so may be what somebody packed a file into."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import IO, BinaryIO, Final, Literal, cast

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.refusal import refuse
from shared.errors import InvalidInput

ZIP_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")  # the second of an empty one
MOST_UNPACKED: Final = 1 << 30  # of a workbook
_MOST_OF_MEMBER: Final = 4 << 30
# What is in every workbook: of Office Open XML, of OpenDocument.
_WORKBOOKS: Final = ("[Content_Types].xml", "content.xml")
_ENCRYPTED: Final = 0x1
_MOST_MEMBERS: Final = 10_000
_READ: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def look_into(path: CallFile, file: BinaryIO, most: int | None) -> Member | None:
    """The one file in the archive; None where the archive is a workbook. FileRefused for others.

    Sizes are those of the archive's directory: nothing is unpacked yet.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        raise refuse(
            path, "is a damaged zip archive or workbook", "copy or save it again"
        ) from error
    if len(members) > _MOST_MEMBERS:
        raise refuse(path, "is an archive of too many files", "import its files one by one")
    if any(one.filename in _WORKBOOKS for one in members):
        allowed = min(most or MOST_UNPACKED, MOST_UNPACKED)
        _check_size(path, sum(one.file_size for one in members), allowed)
        return None
    files = [one for one in members if _is_file(one)]
    if len(files) != 1:
        problem = f"is a zip archive of {len(files)} files"
        raise refuse(path, problem, "unpack it and import each file, or send one per archive")
    return _member(path, files[0])


def _member(path: CallFile, info: zipfile.ZipInfo) -> Member:
    if info.flag_bits & _ENCRYPTED:
        raise refuse(path, "is a zip archive with a password", "pack the file without one")
    if info.compress_type not in _READ:
        raise refuse(path, "is packed in an unusual way", "unpack it, or compress it with gzip")
    _check_size(path, info.file_size, _MOST_OF_MEMBER)
    if PurePosixPath(info.filename).suffix.lower() == ".zip":
        raise refuse(path, "is an archive in an archive", "unpack it and import what is inside")
    return Member(path, info.filename)


def _is_file(info: zipfile.ZipInfo) -> bool:
    """Not a folder, nor what operating systems leave beside a file."""
    name = PurePosixPath(info.filename)
    return not info.is_dir() and "__MACOSX" not in name.parts and not name.name.startswith(".")


def _check_size(path: CallFile, size: int, most: int) -> None:
    if size > most:
        problem = f"unpacks to more than {most >> 20:,} MiB"
        fix = "split it into several files, or save its calls as CSV"
        raise refuse(path, problem, fix)


class Member:
    """As a CallFile. A member that is larger than its archive says ends there, and is damaged."""

    def __init__(self, archive: CallFile, name: str) -> None:
        self._archive = archive
        self._name = name

    @property
    def name(self) -> str:
        return PurePosixPath(self._name).name

    @property
    def suffixes(self) -> Sequence[str]:
        return PurePosixPath(self._name).suffixes

    def open(self, mode: Literal["rb"], /) -> BinaryIO:
        archive = self._archive.open(mode)
        try:
            return cast(BinaryIO, _Opened(archive, self._name))
        except (zipfile.BadZipFile, RuntimeError, ValueError) as error:
            archive.close()
            raise _damaged() from error


class _Opened(io.BufferedIOBase):
    """The unpacked bytes; an archive that turns out to be damaged is an InvalidInput."""

    def __init__(self, archive: BinaryIO, name: str) -> None:
        self._file = archive
        self._zip = zipfile.ZipFile(archive)
        self._member: IO[bytes] = self._zip.open(name)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return self._member.read(-1 if size is None else size)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise _damaged() from error

    def tell(self) -> int:
        return self._member.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return self._member.seek(offset, whence)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            raise _damaged() from error

    def close(self) -> None:
        super().close()
        self._member.close()
        self._zip.close()
        self._file.close()


def _damaged() -> InvalidInput:
    return InvalidInput.of("file", "is a damaged zip archive", "copy or pack it again")
