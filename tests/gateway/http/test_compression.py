"""Who gets gzip, of what, and that it is the same text again."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.compression import MIN_LENGTH, Gzip, accepts_gzip, negotiate

JSON = ((b"content-type", b"application/json"),)


@pytest.mark.parametrize(
    ("accepted", "wanted"),
    [
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("*;q=0.1", True),
        ("gzip;q=0.001", True),
        ("gzip ; q = 1", True),
        ("identity;q=0, gzip;q=0.5", True),
        ("", False),
        ("identity", False),
        ("br, zstd", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("gzip;q=2", False),
        ("gzip;q=x", False),
        ("gzip;level=9", False),
        ("gzipped", False),
        (", ,", False),
        ("gzip," * 200, False),
    ],
)
def test_gzip_goes_to_those_who_want_it(accepted: str, wanted: bool) -> None:
    assert accepts_gzip(accepted) is wanted


@given(st.text(max_size=60))
def test_any_header_is_understood_somehow(text: str) -> None:
    assert accepts_gzip(text) in (True, False)


@pytest.mark.parametrize(
    ("kind", "compressed"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON", True),
        ("application/problem+json", True),
        ("application/x-ndjson", True),
        ("text/html", True),
        ("text/csv; header=present", True),
        ("image/svg+xml", True),
        ("text/event-stream", False),
        ("text/event-stream; charset=utf-8", False),
        ("Text/Event-Stream", False),
        ("application/octet-stream", False),
        ("application/zip", False),
        ("image/png", False),
        ("video/json", False),
        ("", False),
    ],
)
def test_only_texts_are_compressed(kind: str, compressed: bool) -> None:
    lines, chosen = negotiate(200, [(b"content-type", kind.encode())], 5000, "gzip")
    assert chosen is compressed
    assert ((b"content-encoding", b"gzip") in lines) is compressed
    assert ((b"vary", b"accept-encoding") in lines) is compressed


@pytest.mark.parametrize(
    ("status", "more", "length"),
    [
        (200, (), MIN_LENGTH - 1),
        (204, (), 0),
        (206, (), 5000),
        (200, ((b"content-encoding", b"br"),), 5000),
        (200, ((b"content-encoding", b"identity"),), 5000),
        (200, ((b"content-range", b"bytes 0-1/2"),), 5000),
        (200, ((b"content-digest", b"sha-256=:x:"),), 5000),
        (200, ((b"cache-control", b"private, No-Transform"),), 5000),
    ],
)
def test_what_must_stay_as_it_is_stays(
    status: int, more: tuple[tuple[bytes, bytes], ...], length: int
) -> None:
    lines = [*JSON, *more]
    assert negotiate(status, lines, length, "gzip") == (lines, False)


def test_who_does_not_accept_it_is_told_that_others_might() -> None:
    assert negotiate(200, JSON, MIN_LENGTH, "br") == ([*JSON, (b"vary", b"accept-encoding")], False)
    assert negotiate(200, JSON, None, "gzip")[1]
    assert negotiate(304, (), None, "gzip") == ([(b"vary", b"accept-encoding")], False)


@pytest.mark.parametrize("vary", [b"Accept-Encoding", b"origin, accept-encoding", b"*"])
def test_vary_is_said_once(vary: bytes) -> None:
    lines, _ = negotiate(200, [*JSON, (b"vary", vary)], 5000, "gzip")
    assert [value for name, value in lines if name == b"vary"] == [vary]


def test_headers_fit_the_bytes_that_are_sent() -> None:
    given_lines = [*JSON, (b"etag", b'"a"'), (b"content-length", b"5000"), (b"accept-ranges", b"bytes")]  # fmt: skip
    assert negotiate(200, given_lines, 5000, "gzip")[0] == [
        *JSON,
        (b"etag", b'W/"a"'),
        (b"vary", b"accept-encoding"),
        (b"content-encoding", b"gzip"),
    ]
    weak = negotiate(200, [*JSON, (b"etag", b'W/"a"')], 5000, "gzip")[0]
    assert (b"etag", b'W/"a"') in weak


@given(st.lists(st.binary(max_size=300), max_size=8), st.booleans())
def test_the_text_comes_out_as_it_went_in(parts: list[bytes], flushing: bool) -> None:
    async def compressed() -> bytes:
        encoder = Gzip(flushing=flushing)
        made = [await encoder.feed(part) for part in parts]
        return b"".join(made) + await encoder.feed(b"", last=True)

    assert gzip.decompress(asyncio.run(compressed())) == b"".join(parts)


async def test_a_whole_body_is_one_part() -> None:
    body = b'{"code":0}' * 500
    made = await Gzip(flushing=False).feed(body, last=True)
    assert gzip.decompress(made) == body
    assert len(made) < len(body) / 10


async def test_a_stream_is_readable_up_to_every_part() -> None:
    encoder, decoder = Gzip(flushing=True), zlib.decompressobj(31)
    for number in range(50):
        part = b'{"row":%d}\n' % number
        assert decoder.decompress(await encoder.feed(part)) == part
        assert await encoder.feed(b"") == b""
    assert decoder.decompress(await encoder.feed(b"", last=True)) == b""
    assert decoder.eof


async def test_large_parts_leave_the_event_loop_alone() -> None:
    body = b"".join(b"%d,%d\n" % (number, number * 7919 % 10007) for number in range(400_000))
    others = 0

    async def tick() -> None:
        nonlocal others
        while True:
            await asyncio.sleep(0)
            others += 1

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    made = await Gzip(flushing=False).feed(body, last=True)
    ticking.cancel()
    assert gzip.decompress(made) == body
    assert others > 100
