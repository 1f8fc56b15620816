"""Read a text file, plain or gzipped, as blocks of whole lines in bounded memory.

Lines are counted from 1 and end with LF. A line longer than the limit is passed over as a
stream and reported with its size; a gzip file that ends too soon, or is damaged, is
reported at the line where it ends, after everything readable before.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from ai_services.enrichment.reading.content.recoded import Bytes
from shared.errors import InvalidInput

GZIP_MAGIC: Final = b"\x1f\x8b"
_CHUNK: Final = 256 * 1024
_GZIP_WBITS: Final = 31
_SAMPLE: Final = 4096


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines. The last line of a file may lack its LF; every other line has one."""

    first_line: int
    data: bytes
    bytes_read: int


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the limit: its number, its size in bytes and how it begins."""

    line: int
    size: int
    start: bytes
    bytes_read: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The compressed file ends, or breaks, in this line. `start` is what was left of it."""

    line: int
    start: bytes
    bytes_read: int


Event = Block | LongLine | Cut


class ByteStream:
    """The file's bytes, decompressed, in chunks; `position` counts bytes of the file itself.

    InvalidInput where more than `most` bytes come out of a compressed one.
    """

    def __init__(self, file: BinaryIO, *, gzipped: bool, most: int | None = None) -> None:
        self._left = most
        self._file = file
        self._inflater = zlib.decompressobj(_GZIP_WBITS) if gzipped else None
        self._pending = b""
        self.position = 0
        self.damaged = False

    def read(self) -> bytes:
        """The next chunk, at most 256 KiB; empty at the end."""
        return self._read_file() if self._inflater is None else self._inflate(self._inflater)

    def _read_file(self) -> bytes:
        data = self._file.read(_CHUNK)
        self.position += len(data)
        return data

    def _inflate(self, inflater: zlib._Decompress) -> bytes:
        while not self.damaged:
            if inflater.eof:
                if not self._next_member(inflater.unused_data):
                    return b""
                inflater = self._inflater = zlib.decompressobj(_GZIP_WBITS)
            data = self._pending or self._read_file()
            try:
                out = inflater.decompress(data, _CHUNK) if data else inflater.flush()
            except zlib.error:
                self.damaged = True
                return b""
            self._pending = inflater.unconsumed_tail
            self.damaged = not data and not inflater.eof
            if out:
                self._count(len(out))
                return out
        return b""

    def _count(self, size: int) -> None:
        if self._left is None:
            return
        self._left -= size
        if self._left < 0:
            fix = "split it into several files, or look at what it holds"
            raise InvalidInput.of("file", "unpacks to more than is taken of one file", fix)

    def _next_member(self, data: bytes) -> bool:
        """Gzip files may be concatenated, and padded with zeros."""
        while not (data := data.lstrip(b"\0")):
            if not (data := self._read_file()):
                return False
        self._pending = data
        return True


def split_blocks(stream: Bytes, block_bytes: int, max_line_bytes: int) -> Iterator[Event]:
    """Blocks of about `block_bytes`; memory is bounded by `max_line_bytes` and a few blocks."""
    line = 1
    parts: list[bytes] = []  # what is read and not yet handed out
    size = 0
    open_size = 0  # bytes after the last LF
    while chunk := stream.read():
        newline = chunk.rfind(b"\n")
        parts.append(chunk)
        size += len(chunk)
        open_size = open_size + len(chunk) if newline < 0 else len(chunk) - newline - 1
        if open_size <= max_line_bytes and (size < block_bytes or open_size == size):
            continue
        data = b"".join(parts)
        end = len(data) - open_size
        yield from _whole_lines(data[:end], line, max_line_bytes, stream.position)
        line += data.count(b"\n", 0, end)
        rest = data[end:]
        if open_size > max_line_bytes:
            long_line, rest = _skip_line(stream, line, rest)
            yield long_line
            line += 1
        parts, size = [rest], len(rest)
        open_size = len(rest) - rest.rfind(b"\n") - 1
    yield from _last_lines(b"".join(parts), line, max_line_bytes, stream)


def _last_lines(data: bytes, line: int, max_line_bytes: int, stream: Bytes) -> Iterator[Event]:
    end = data.rfind(b"\n") + 1 if stream.damaged else len(data)
    yield from _whole_lines(data[:end], line, max_line_bytes, stream.position)
    if stream.damaged:
        line += data.count(b"\n", 0, end)
        yield Cut(line, data[end : end + _SAMPLE], stream.position)


def _whole_lines(
    data: bytes, line: int, max_line_bytes: int, position: int
) -> Iterator[Block | LongLine]:
    """`data` as blocks between its overlong lines. Hops by `max_line_bytes`, so it costs little."""
    start = at = 0
    while len(data) - at > max_line_bytes:
        newline = data.rfind(b"\n", at, at + max_line_bytes + 1)
        if newline >= 0:
            at = newline + 1
            continue
        if at > start:
            yield Block(line, data[start:at], position)
            line += data.count(b"\n", start, at)
        newline = data.find(b"\n", at)
        end = newline if newline >= 0 else len(data)
        yield LongLine(line, end - at, data[at : at + _SAMPLE], position)
        line += 1
        start = at = end + 1
    if start < len(data):
        yield Block(line, data[start:], position)


def _skip_line(stream: Bytes, line: int, start: bytes) -> tuple[LongLine, bytes]:
    """Pass over the rest of an overlong line; also returns what follows it."""
    size = len(start)
    rest = b""
    while chunk := stream.read():
        newline = chunk.find(b"\n")
        if newline >= 0:
            size += newline
            rest = chunk[newline + 1 :]
            break
        size += len(chunk)
    return LongLine(line, size, start[:_SAMPLE], stream.position), rest
