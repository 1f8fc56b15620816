"""The reader of heads, compared with one written from the RFC, and with what was written."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.auth.identity import read_credential
from gateway.http.head import MAX_HEAD, Head, check_beginning, parse_head
from gateway.http.header_policy import forwarded_block
from gateway.http.headers import Headers
from shared.errors import (
    ExpectationFailed,
    HeadersTooLarge,
    LoomaError,
    MalformedRequest,
    Unauthenticated,
    UriTooLong,
)
from tests.gateway.http_corpus.reference import Incomplete, Refused, request_at

GOOD = (
    b"POST /a/b?c=d HTTP/1.1\r\nHost: x:80\r\nX-One: 1\r\nContent-Length: 0\r\nX-Two: a b\r\n\r\n"
)
TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
SPECIAL = {"host", "content-length", "transfer-encoding", "expect", "connection"}
names = st.text(TOKEN, min_size=1, max_size=12).filter(lambda name: name.lower() not in SPECIAL)
values = st.binary(max_size=20).map(
    lambda raw: bytes(byte for byte in raw if byte == 9 or 32 <= byte != 127).strip(b" \t")
)
blanks = st.text(" \t", max_size=3).map(str.encode)


@given(fields=st.lists(st.tuples(names, values, blanks, blanks), max_size=20))
def test_what_is_written_is_read(fields: list[tuple[str, bytes, bytes, bytes]]) -> None:
    lines = [b"%b:%b%b%b\r\n" % (name.encode(), a, value, b) for name, value, a, b in fields]
    head = parse_head(b"GET /a HTTP/1.1\r\nhOsT: x\r\n" + b"".join(lines) + b"\r\n")
    assert (head.method, head.target, head.minor) == ("GET", "/a", "1")
    got = [(name, value.encode("utf-8", "surrogateescape")) for name, value in head.headers.items()]
    assert got == [
        (b"host".decode(), b"x"),
        *((name.lower(), value) for name, value, _, _ in fields),
    ]


@settings(max_examples=500)
@given(data=st.data())
def test_what_the_reference_refuses_is_refused(data: st.DataObject) -> None:
    raw = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(("set", "insert", "delete", "copy"))):
            case "set":
                raw[at] = data.draw(st.integers(0, 255))
            case "insert":
                raw.insert(at, data.draw(st.sampled_from(b"\r\n\t \x00\x0b:;,/#%+-0a\x7f\x80\xff")))
            case "delete":
                del raw[at]
            case "copy":
                end = min(len(raw), at + data.draw(st.integers(1, 30)))
                raw[at:at] = raw[at:end]
    whole = bytes(raw)
    end = whole.find(b"\r\n\r\n")
    if end < 0:
        return
    try:
        head = parse_head(whole[: end + 4])
    except LoomaError:
        return
    if head.length > 10_000:
        return
    try:
        request, _ = request_at(whole[: end + 4] + b"x" * head.length, 0)
    except (Refused, Incomplete) as error:
        pytest.fail(f"{whole!r} was accepted: {error!r}")
    assert (request.method, f"HTTP/1.{head.minor}") == (head.method, request.version)
    assert len(request.body) == head.length
    got = [(name, value.encode("utf-8", "surrogateescape")) for name, value in head.headers.items()]
    assert got == list(request.fields)


@given(cut=st.integers(1, len(GOOD) - 1), seen=st.integers(0, len(GOOD) - 1))
def test_the_beginning_of_a_good_head_is_never_refused(cut: int, seen: int) -> None:
    check_beginning(bytearray(GOOD[:cut]), min(seen, cut))


@pytest.mark.parametrize(
    ("beginning", "error"),
    [
        (b"\x16\x03\x01", MalformedRequest),
        (b"get", MalformedRequest),
        (b"\r\n", MalformedRequest),
        (b"GET / HTTP/1.1\nHost: x\n", MalformedRequest),
        (b"GET / HTTP/1.1\rH", MalformedRequest),
        (b"GET /\r\n", MalformedRequest),
        (b"GET / HTTP/2.0\r\n", MalformedRequest),
        (b"GET / HTTP/1.1\r\nX: \x00", MalformedRequest),
        (b"GET /" + b"a" * 8192, UriTooLong),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD, HeadersTooLarge),
    ],
)
def test_what_can_t_become_a_head_is_refused_at_once(
    beginning: bytes, error: type[LoomaError]
) -> None:
    with pytest.raises(error):
        check_beginning(bytearray(beginning), 0)


@pytest.mark.parametrize(
    ("lines", "keep_alive"),
    [
        ("HTTP/1.1", True),
        ("HTTP/1.0", False),
        ("HTTP/1.1\r\nConnection: keep-alive", True),
        ("HTTP/1.1\r\nConnection: close", False),
        ("HTTP/1.1\r\nConnection: a, CLOSE ,b", False),
        ("HTTP/1.1\r\nConnection: closed", True),
        ("HTTP/1.0\r\nConnection: Keep-Alive", True),
        ("HTTP/1.0\r\nConnection: keep-alive, close", False),
        ("HTTP/1.0\r\nConnection: close", False),
    ],
)
def test_who_keeps_the_connection(lines: str, keep_alive: bool) -> None:
    assert parse_head(f"GET / {lines}\r\nHost: x\r\n\r\n".encode()).keep_alive is keep_alive


def test_an_expectation_counts_only_with_a_body() -> None:
    head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    assert parse_head(f"{head}Content-Length: 1\r\n\r\n".encode()).expects_continue
    assert parse_head(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()).expects_continue
    assert not parse_head(f"{head}Content-Length: 0\r\n\r\n".encode()).expects_continue
    assert not parse_head(f"{head}\r\n".encode()).expects_continue
    with pytest.raises(ExpectationFailed):
        parse_head(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 101\r\n\r\n")


A_FEW = st.sampled_from(
    [
        ("Authorization", "Bearer a.b.c"),
        ("Authorization", "Bearer a.b.d"),
        ("authorization", "Basic a"),
        ("X-API-Key", "looma_12345678"),
        ("X-API-Key", "looma_12345679"),
        ("Connection", "keep-alive"),
        ("Connection", "Keep-Alive"),
        ("Connection", "close, x-a"),
        ("Connection", "x-b"),
        ("X-A", "1"),
        ("X-A", "2"),
        ("X-B", "1"),
        ("X_C", "1"),
        ("X-User-Id", "1"),
    ]
)


@settings(max_examples=300)
@given(
    heads=st.lists(
        st.tuples(
            st.sampled_from(["/a", "/b?c"]), st.lists(A_FEW, max_size=5), st.sampled_from("10")
        ),
        min_size=1,
        max_size=6,
    )
)
def test_what_a_connection_remembers_of_its_heads_changes_nothing(
    heads: list[tuple[str, list[tuple[str, str]], str]],
) -> None:
    before: Head | None = None
    for path, fields, minor in heads:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        raw = f"GET {path} HTTP/1.{minor}\r\nHost: x\r\n{lines}\r\n".encode()
        head, alone = parse_head(raw, before), parse_head(raw)
        assert (head.method, head.target, head.minor) == ("GET", path, minor)
        assert head.headers.items() == alone.headers.items()
        assert (head.keep_alive, head.length) == (alone.keep_alive, alone.length)
        unread = Headers.of([("Host", "x"), *fields])
        assert forwarded_block(head.headers) == forwarded_block(unread)
        assert shown_by(head.headers) == shown_by(unread)
        before = head


def shown_by(headers: Headers) -> str:
    """The credential as the gateway sees it: once it was read, it stays with the fields."""
    try:
        if headers.credential is None:
            headers.credential = read_credential(headers)
    except Unauthenticated as error:
        return error.message
    return "none" if headers.credential is None else headers.credential.text
