"""The log of one process on disk: NAME.log and the older ones that it was put aside as.

Lines are read one after the other and only so much of each, so that a log of any size takes little
memory. A log that is put aside meanwhile loses none: an open file is followed by what it is, not by
its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

MOST_BYTES: Final = 1 << 20  # of a line; what is beyond is left out
_BLOCK: Final = 1 << 16


class LogFile:
    """`read` yields what was written since it was last asked, from the oldest file on."""

    def __init__(self, path: Path, since: float = 0.0) -> None:
        """Files that were last written before `since` (seconds since the epoch) are passed over."""
        self.process = path.stem
        self.cut = 0  # lines of which a part was left out
        self._path = path
        self._since = since
        self._file: BinaryIO | None = None

    def read(self, *, unfinished: bool = False) -> Iterator[bytes]:
        """Lines without their ends; the last one, if its end is not written yet, if `unfinished`."""
        if self._file is None and not self._go_on():
            return
        while self._file is not None:
            _back_to_the_start_if_emptied(self._file)
            yield from self._lines(self._file, unfinished=unfinished)
            if not self._go_on():
                return

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _lines(self, file: BinaryIO, *, unfinished: bool) -> Iterator[bytes]:
        while line := file.readline(MOST_BYTES):
            if line.endswith(b"\n"):
                yield line.rstrip(b"\r\n")
            elif len(line) == MOST_BYTES:
                self.cut += 1
                _skip_line(file)
                yield line
            elif unfinished:
                yield line
            else:
                file.seek(-len(line), os.SEEK_CUR)
                return

    def _go_on(self) -> bool:
        """Open the file after the one that was read to its end; False if that is the newest."""
        newer: BinaryIO | None = None
        for file in _generations(self._path):
            found = os.fstat(file.fileno())
            if self._file is None:
                known = found.st_mtime < self._since
            else:
                known = os.path.sameopenfile(file.fileno(), self._file.fileno())
            if known:
                file.close()
                break
            if newer is not None:
                newer.close()
            newer = file
        if newer is None:
            return False
        self.close()
        self._file = newer
        return True


def _generations(path: Path) -> Iterator[BinaryIO]:
    """The files of a log, newest first, each once though they may be renamed meanwhile.

    The reader closes them.
    """
    seen = set[int]()
    number = 0
    while True:
        name = path.with_name(f"{path.name}.{number}") if number else path
        number += 1
        try:
            file = name.open("rb", buffering=_BLOCK)
        except FileNotFoundError:
            if number > 1:
                return
            continue  # just put aside, and the new one not there yet
        inode = os.fstat(file.fileno()).st_ino
        if inode in seen:
            file.close()
            continue
        seen.add(inode)
        yield file


def _back_to_the_start_if_emptied(file: BinaryIO) -> None:
    if os.fstat(file.fileno()).st_size < file.tell():
        file.seek(0)


def _skip_line(file: BinaryIO) -> None:
    while part := file.readline(MOST_BYTES):
        if part.endswith(b"\n"):
            return


def logs_of(folder: Path) -> list[Path]:
    """The newest log of each process there, in the order of names."""
    return sorted(folder.glob("*.log"), key=lambda path: path.stem)
