"""The pages of a Parquet column chunk, told by their headers, before any of them is unpacked.

A file's footer may say of a column whatever it likes: what a page unpacks to stands in the page's own
header, and that is what a reader sets memory aside for.

https://parquet.apache.org/docs/file-format/ and Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

_WINDOW: Final = 1 << 12
_LONGEST_HEADER: Final = 1 << 20  # one may hold the least and the greatest value of its page
_DEEPEST: Final = 8
_DICTIONARY: Final = 2
_STRUCT, _BINARY, _DOUBLE, _BYTE = 12, 8, 7, 3
_LISTS: Final = (9, 10)
_TRUTHS: Final = (1, 2)
_WHOLE: Final = (4, 5, 6)
# Fields of a page header, and of those of a data page of either version, that are looked at.
_NO_PAGE: Final = "what is there is no page"
_KIND, _UNPACKED, _PACKED, _DATA, _DATA_V2 = 1, 2, 3, 5, 8
_VALUES, _ROWS = 1, 3


@dataclass(frozen=True, slots=True)
class Page:
    """`size` is what it unpacks to, in bytes. A dictionary has no `values`; `rows` where it says."""

    dictionary: bool
    size: int
    values: int = 0
    rows: int | None = None


def pages(file: BinaryIO, start: int, length: int, values: int) -> Iterator[Page]:
    """Those of the chunk that begins at `start`, up to the one with which it has all its `values`.

    ValueError where they don't have as many within `length` bytes.
    """
    at, end = start, start + length
    while values > 0:
        if at >= end:
            raise ValueError(_NO_PAGE)
        header, size = _header(file, at)
        data = header.get(_DATA) or header.get(_DATA_V2) or {}
        packed, unpacked = header.get(_PACKED, -1), header.get(_UNPACKED, -1)
        count = data.get(_VALUES, 0)
        if packed < 0 or unpacked < 0 or count < 0:
            raise ValueError(_NO_PAGE)
        rows = data.get(_ROWS) if _DATA_V2 in header else None
        yield Page(header.get(_KIND) == _DICTIONARY, unpacked, count, rows)
        at, values = at + size + packed, values - count


def _header(file: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """The fields of the header at `at`, and its length."""
    window = _WINDOW
    while window <= _LONGEST_HEADER:
        file.seek(at)
        compact = _Compact(file.read(window))
        try:
            return compact.struct(), compact.at
        except IndexError:  # it goes on
            window *= 4
    raise ValueError(_NO_PAGE)


class _Compact:
    """Thrift's compact protocol: structs as field number → value, what isn't a number left out.

    IndexError where the data end.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError(_NO_PAGE)
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) != 0:
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self._whole()
            fields[number] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _TRUTHS:
            return None
        if kind in _WHOLE:
            return self._whole()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            self._list(depth)
        elif kind in (_BYTE, _DOUBLE, _BINARY):
            self._skip({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._varint())
        else:  # a page header has no maps
            raise ValueError(_NO_PAGE)
        return None

    def _list(self, depth: int) -> None:
        head = self._byte()
        kind, count = head & 15, head >> 4
        for _ in range(self._varint() if count == 15 else count):
            if kind in _TRUTHS:
                self._byte()
            else:
                self._value(kind, depth + 1)

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._data):
            raise IndexError

    def _varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError(_NO_PAGE)

    def _whole(self) -> int:
        """A signed number, zigzag."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
