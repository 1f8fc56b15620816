"""A workbook taken apart by a process of its own (`worker.py`), sheet by sheet."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Final, Self

import msgspec

from ai_services.enrichment.reading.call_file import CallFile
from ai_services.enrichment.reading.content.zip_archive import MOST_UNPACKED
from ai_services.enrichment.reading.refusal import FileRefused, refuse
from ai_services.enrichment.reading.tables.worker import Frame, Task

_WORKER: Final = Path(__file__).with_name("worker.py")
_CHUNK: Final = 1 << 20
MOST_PACKED: Final = 256 << 20
_MEMORY: Final = 2 << 30
_LEAST_MEMORY: Final = 256 << 20
_CONTAINER: Final = Path("/sys/fs/cgroup/memory.max")
_LENGTH: Final = 4


class Workbook:
    """`with Workbook(path, sheet, most) as book: for frame in book: …`, a frame per sheet until one
    is taken; then the rest of its rows. Leaving it ends the process.
    """

    def __init__(self, path: CallFile, sheet: str | None, most: int | None) -> None:
        self._path = path
        self._sheet = sheet
        self._unpacked = min(most or MOST_UNPACKED, MOST_UNPACKED)
        self._process: subprocess.Popen[bytes] | None = None
        self._decode = msgspec.msgpack.Decoder(Frame).decode
        self.size = 0

    def __enter__(self) -> Self:
        with self._path.open("rb") as file:
            self.size = _size(file)
            if self.size > MOST_PACKED:
                problem = f"is a workbook of more than {MOST_PACKED >> 20} MiB"
                raise refuse(self._path, problem, "split it, or save the sheet as CSV (UTF-8)")
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, "-I", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            try:
                self._give(file)
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._end()

    def __iter__(self) -> Iterator[Frame]:
        """FileRefused for what is no workbook, or one that is too large."""
        while True:
            frame = self._decode(self._exactly(int.from_bytes(self._exactly(_LENGTH), "big")))
            if frame.refused:
                raise refuse(self._path, *frame.refused)
            if frame.last and not frame.columns and frame.sheet is None and not frame.rows:
                return
            yield frame
            if frame.last and frame.sheet is None:
                return

    def answer(self, *, take: bool) -> None:
        """Whether the sheet whose first rows have come is the one, or the next is to be shown."""
        self._write(b"y" if take else b"n")

    def _give(self, file: BinaryIO) -> None:
        task = Task(self.size, self._sheet, _memory(), self._unpacked)
        self._write(msgspec.json.encode(task) + b"\n")
        while chunk := file.read(_CHUNK):
            self._write(chunk)

    def _write(self, data: bytes) -> None:
        try:
            _pipe(self._running.stdin).write(data)
            _pipe(self._running.stdin).flush()
        except BrokenPipeError:
            raise self._died() from None

    def _exactly(self, size: int) -> bytes:
        data = _pipe(self._running.stdout).read(size)
        if len(data) < size:
            raise self._died()
        return data

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise AssertionError("the workbook is not open")
        return self._process

    def _died(self) -> FileRefused:
        problem = f"is a workbook that needs more than the {_memory() >> 20:,} MiB one may take"
        return refuse(self._path, problem, "split it, or save the sheet as CSV (UTF-8)")

    def _end(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        self._process.wait()
        self._process = None


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise AssertionError("the process has pipes")
    return pipe


def _size(file: BinaryIO) -> int:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _memory() -> int:
    """Of the worker: at most half of what a container has for all of its processes."""
    try:
        container = int(_CONTAINER.read_text())
    except (OSError, ValueError):  # no container, or "max"
        return _MEMORY
    return max(_LEAST_MEMORY, min(_MEMORY, container // 2))
