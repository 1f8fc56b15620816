"""Requests out of the bytes of a connection, however these come."""

from __future__ import annotations

import asyncio
import math
from time import monotonic

import pytest

from gateway.downstream.request_reader import HIGH_WATER, RequestReader
from gateway.http.head import parse_head
from gateway.timeouts import Timeouts
from shared.errors import PayloadTooLarge, RequestTimeout

HEAD = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
EXPECTING = HEAD.replace(b"content", b"expect: 100-continue\r\ncontent")
LIMIT = 1 << 20


class Wire(asyncio.Transport):
    """A client's end: what is written to it, and whether it has to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.waits = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.waits = True

    def resume_reading(self) -> None:
        self.waits = False


def opened() -> tuple[RequestReader, Wire]:
    reader, wire = RequestReader(asyncio.get_running_loop(), Timeouts(head=10.0)), Wire()
    reader.connected(wire)
    return reader, wire


async def begun(reader: RequestReader, head: bytes = HEAD, *, limit: int = LIMIT) -> None:
    reader.take(head)
    reader.begin(parse_head(await reader.next_head(first=True)), limit)


async def test_a_head_may_come_byte_by_byte_and_leaves_what_follows() -> None:
    reader, _ = opened()
    reading = asyncio.create_task(reader.next_head(first=True))
    for byte in HEAD:
        assert not reading.done()
        reader.take(bytes([byte]))
        await asyncio.sleep(0)
    reader.take(b"hello")
    assert await reading == HEAD
    assert reader.read_by == math.inf
    assert (reader.ahead, reader.beginning(3), reader.leave()) == (True, b"hel", b"hello")
    assert not reader.ahead


async def test_only_the_first_head_has_its_time_from_the_beginning_on() -> None:
    reader, _ = opened()
    assert 9 < reader.read_by - monotonic() <= 10
    reader.take(HEAD[:4])
    reading = asyncio.create_task(reader.next_head(first=True))
    first = reader.read_by
    await asyncio.sleep(0.01)
    assert reader.read_by == first
    reader.late()
    with pytest.raises(RequestTimeout):
        await reading


async def test_a_body_comes_in_parts_and_ends_where_it_was_announced_to() -> None:
    reader, wire = opened()
    await begun(reader)
    reader.take(b"hel")
    assert await reader.read_body(1.0) == b"hel"
    reading = asyncio.create_task(reader.read_body(1.0))
    await asyncio.sleep(0)
    assert 0 < reader.read_by - monotonic() <= 1
    reader.take(b"loGET")
    assert (await reading, reader.body_done) == (b"lo", True)
    assert await reader.read_body(1.0) == b""
    assert reader.leave() == b"GET"
    assert wire.written == b""


async def test_leave_to_send_is_given_when_the_body_is_read_and_never_after_the_answer() -> None:
    reader, wire = opened()
    await begun(reader, EXPECTING)
    assert not reader.skip_body()  # it may never come
    reading = asyncio.create_task(reader.read_body(1.0))
    await asyncio.sleep(0)
    reader.take(b"hello")
    assert await reading == b"hello"
    assert wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    reader, wire = opened()
    await begun(reader, EXPECTING)
    reader.answered()
    reader.take(b"hello")
    assert (reader.skip_body(), wire.written) == (True, b"")


async def test_what_nobody_reads_has_to_wait_until_somebody_does() -> None:
    reader, wire = opened()
    await begun(reader, HEAD.replace(b"5", b"%d" % (3 * HIGH_WATER)))
    for _ in range(2):
        reader.take(bytes(HIGH_WATER // 2))
    assert wire.waits
    assert len(await reader.read_body(1.0)) == HIGH_WATER
    reading = asyncio.create_task(reader.read_body(1.0))
    await asyncio.sleep(0)
    assert not wire.waits
    reader.take(b"more")
    assert await reading == b"more"


async def test_a_skipped_body_is_over_only_if_all_of_it_is_there() -> None:
    reader, _ = opened()
    await begun(reader)
    reader.take(b"hel")
    assert not reader.skip_body()
    reader.take(b"lo")
    assert reader.skip_body()
    reader, _ = opened()
    await begun(reader, limit=4)
    reader.take(b"hello")
    assert not reader.skip_body()
    with pytest.raises(PayloadTooLarge):
        await reader.read_body(1.0)
