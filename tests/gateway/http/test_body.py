"""The readers of bodies: any pieces, any chunks, nothing of the next request."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.body import BodyReader, ChunkedBody, LengthBody
from shared.errors import LoomaError, PayloadTooLarge
from tests.gateway.http_corpus.reference import Incomplete, Refused, request_at

NEXT = b"GET /next HTTP/1.1\r\n"
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = b"5;a=b\r\nhello\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n"


def read(body: BodyReader, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """(content, what is left for the next request)."""
    buffer = bytearray()
    content = b""
    for piece in pieces:
        buffer += piece
        if not body.done:
            content += body.take(buffer)
    return content, bytes(buffer)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


places = st.lists(st.integers(0, 10_000), max_size=12)


@given(content=st.binary(max_size=200), where=places)
def test_a_body_of_known_length_ends_there(content: bytes, where: list[int]) -> None:
    body = LengthBody(len(content), 1000)
    assert read(body, cut(content + NEXT, where)) == (content, NEXT)
    assert body.done


@given(chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8), where=places)
def test_chunks_of_any_size_in_any_pieces_are_put_together(
    chunks: list[bytes], where: list[int]
) -> None:
    sent = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    body = ChunkedBody(1000)
    assert read(body, cut(sent + NEXT, where)) == (b"".join(chunks), NEXT)
    assert body.done


@settings(max_examples=500)
@given(data=st.data(), where=places)
def test_chunks_that_the_reference_refuses_are_refused(
    data: st.DataObject, where: list[int]
) -> None:
    raw = bytearray(CHUNKED)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(("set", "insert", "delete"))):
            case "set":
                raw[at] = data.draw(st.integers(0, 255))
            case "insert":
                raw.insert(at, data.draw(st.sampled_from(b'\r\n\t \x00;=,"\\x0+-:5aFg')))
            case "delete":
                del raw[at]
    body = ChunkedBody(1000)
    try:
        content, left = read(body, cut(bytes(raw) + NEXT, where))
    except LoomaError:
        return
    sent = HEAD + bytes(raw) + NEXT
    try:
        request, end = request_at(sent, 0)
    except (Refused, Incomplete) as error:
        if body.done:  # otherwise it may yet see that
            pytest.fail(f"{bytes(raw)!r} was accepted: {error!r}")
    else:
        if body.done:
            assert (request.body, sent[end:]) == (content, left)


def test_the_limit_holds_before_anything_is_taken() -> None:
    buffer = bytearray(b"hello")
    with pytest.raises(PayloadTooLarge):
        LengthBody(5, 4).take(buffer)
    with pytest.raises(PayloadTooLarge):
        ChunkedBody(4).take(bytearray(b"5\r\nhel"))
    with pytest.raises(PayloadTooLarge):
        ChunkedBody(4).take(bytearray(b"4\r\nhell\r\n1\r\no\r\n0\r\n\r\n"))
    assert buffer == b"hello"
    assert ChunkedBody(5).take(bytearray(b"5\r\nhello\r\n0\r\n\r\n")) == b"hello"
