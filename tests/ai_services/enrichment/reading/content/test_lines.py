from __future__ import annotations

import gzip
import io

from hypothesis import given
from hypothesis import strategies as st

from ai_services.enrichment.reading.content.lines import (
    Block,
    ByteStream,
    Cut,
    LongLine,
    split_blocks,
)

contents = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=30).map(
    b"\n".join
)


def split(data: bytes, *, gzipped: bool = False, block: int = 64, limit: int = 1 << 20):
    return list(split_blocks(ByteStream(io.BytesIO(data), gzipped=gzipped), block, limit))


def numbered(data: bytes, first: int) -> dict[int, bytes]:
    return dict(enumerate(data.removesuffix(b"\n").split(b"\n"), first))


@given(contents, st.integers(1, 200))
def test_blocks_are_whole_lines_and_add_up_to_the_file(data: bytes, block: int) -> None:
    events = split(data, block=block)
    assert b"".join(event.data for event in events) == data
    assert all(event.data.endswith(b"\n") for event in events[:-1])
    line = 1
    for event in events:
        assert event.first_line == line
        line += event.data.count(b"\n")


@given(contents, st.integers(1, 60))
def test_exactly_the_lines_over_the_limit_are_passed_over(data: bytes, limit: int) -> None:
    kept: dict[int, bytes] = {}
    long: dict[int, int] = {}
    for event in split(data, limit=limit, block=50):
        if isinstance(event, LongLine):
            long[event.line] = event.size
        else:
            kept |= numbered(event.data, event.first_line)
    lines = numbered(data, 1) if data else {}
    assert long == {number: len(line) for number, line in lines.items() if len(line) > limit}
    assert kept == {number: line for number, line in lines.items() if len(line) <= limit}


@given(st.lists(contents, min_size=1, max_size=4), st.integers(0, 9))
def test_concatenated_and_padded_gzip_members_are_one_file(parts: list[bytes], pad: int) -> None:
    data = b"".join(map(gzip.compress, parts)) + b"\0" * pad
    events = split(data, gzipped=True)
    assert b"".join(event.data for event in events) == b"".join(parts)


@given(contents, st.data())
def test_a_cut_gzip_file_gives_a_prefix_and_says_so(data: bytes, draw: st.DataObject) -> None:
    packed = gzip.compress(data)
    at = draw.draw(st.integers(0, len(packed) - 1))
    *blocks, last = split(packed[:at], gzipped=True)
    assert isinstance(last, Cut)
    read = b"".join(block.data for block in blocks)
    assert data.startswith(read)
    assert read == b"" or read.endswith(b"\n")
    assert last.line == read.count(b"\n") + 1


def test_a_damaged_gzip_file_ends_in_a_cut() -> None:
    packed = bytearray(gzip.compress(b"line\n" * 1000, mtime=0))
    packed[-8] ^= 0xFF  # the checksum
    assert isinstance(split(bytes(packed), gzipped=True)[-1], Cut)


def test_a_huge_line_is_passed_over_without_being_held() -> None:
    class Endless(io.RawIOBase):
        """64 MiB without a line end, then one short line."""

        left = 64 << 20

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            if self.left == 0:
                return b""
            taken = min(size, self.left)
            self.left -= taken
            return b"x" * taken if self.left else b"x" * (taken - 6) + b"\nshort"

    events = list(split_blocks(ByteStream(Endless(), gzipped=False), 1 << 20, 1 << 20))
    assert [type(event) for event in events] == [LongLine, Block]
    assert events[0].size == (64 << 20) - 6
    assert events[1] == Block(2, b"short", 64 << 20)
    assert len(events[0].start) <= 4096
