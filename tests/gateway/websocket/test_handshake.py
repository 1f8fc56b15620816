"""Handshakes of WebSockets, good and bad, by RFC 6455 §4."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.http.headers import Headers
from gateway.routing.route_file import parse_routes
from gateway.websocket.handshake import Handshake, accept_of, read_handshake, same_host
from shared.errors import ConfigError, MalformedRequest, UpgradeRequired, UpstreamError
from tests.gateway.sockets import KEY

GOOD = (
    ("host", "x"),
    ("upgrade", "WebSocket"),
    ("connection", "keep-alive, Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", KEY),
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SAID = (
    (b"upgrade", b"WebSocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-accept", ACCEPT),
)


def read(*more: tuple[str, str], without: str = "", version: str = "1.1") -> Handshake:
    kept = [one for one in GOOD if one[0] != without]
    return read_handshake(Headers([*kept, *more]), version)


def test_the_accept_key_is_that_of_the_rfc() -> None:
    assert accept_of(KEY).encode() == ACCEPT


def test_a_good_handshake_is_written_anew() -> None:
    got = read(
        ("sec-websocket-protocol", "a, b"),
        ("sec-websocket-protocol", "c"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("accept-language", "zh"),
    )
    assert got.protocols == ("a", "b", "c")
    assert [name for name, _ in got.headers.items() if name.startswith("sec-")] == []
    assert got.headers["accept-language"] == "zh"
    assert got.request_lines().split("\r\n") == [
        "connection: Upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        f"sec-websocket-key: {KEY}",
        "sec-websocket-protocol: a, b, c",
        "",
    ]


def test_a_token_among_the_subprotocols_becomes_a_credential_and_nothing_else() -> None:
    got = read(("sec-websocket-protocol", "v1, looma.bearer.abc.def-_"))
    assert list(got.headers.getall("authorization")) == ["Bearer abc.def-_"]
    assert got.protocols == ("v1",)
    assert "abc" not in got.request_lines()
    assert "abc" not in repr(got)


def test_a_token_alone_leaves_no_subprotocol() -> None:
    assert "protocol" not in read(("sec-websocket-protocol", "looma.bearer.abc")).request_lines()


def test_a_second_credential_stays_a_second_one() -> None:
    """Whoever checks it refuses two."""
    got = read(("sec-websocket-protocol", "looma.bearer.a"), ("authorization", "Bearer b"))
    assert sorted(got.headers.getall("authorization")) == ["Bearer a", "Bearer b"]


@pytest.mark.parametrize(
    ("without", "more"),
    [
        ("upgrade", ()),
        ("upgrade", (("upgrade", "h2c"),)),
        ("upgrade", (("upgrade", "websocket/13"),)),
        ("sec-websocket-version", ()),
        ("sec-websocket-version", (("sec-websocket-version", "8"),)),
        ("sec-websocket-version", (("sec-websocket-version", "13, 8"),)),
        ("", (("sec-websocket-version", "8"),)),
    ],
)
def test_what_is_no_handshake_or_another_version_is_426(
    without: str, more: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(UpgradeRequired) as raised:
        read(*more, without=without)
    assert raised.value.headers() == {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
    }  # fmt: skip


def test_http_1_0_has_no_upgrade() -> None:
    with pytest.raises(UpgradeRequired):
        read(version="1.0")


@pytest.mark.parametrize(
    ("without", "more"),
    [
        ("", (("upgrade", "websocket"),)),
        ("", (("upgrade", "h2c"),)),
        ("upgrade", (("upgrade", "h2c, websocket"),)),
        ("connection", ()),
        ("connection", (("connection", "keep-alive"),)),
        ("connection", (("connection", "sec-websocket-key"),)),
        ("", (("content-length", "0"),)),
        ("", (("content-length", "5"),)),
        ("", (("transfer-encoding", "chunked"),)),
        ("sec-websocket-key", ()),
        ("", (("sec-websocket-key", KEY),)),
        ("sec-websocket-key", (("sec-websocket-key", ""),)),
        ("sec-websocket-key", (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR=="),)),
        ("sec-websocket-key", (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"),)),
        ("sec-websocket-key", (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZWU="),)),
        ("sec-websocket-key", (("sec-websocket-key", KEY + KEY),)),
        ("sec-websocket-key", (("sec-websocket-key", "dGhlIHNhbXBs ZSBub25jZQ="),)),
        ("", (("sec-websocket-protocol", ""),)),
        ("", (("sec-websocket-protocol", "a,,b"),)),
        ("", (("sec-websocket-protocol", "a, a"),)),
        ("", (("sec-websocket-protocol", "a b"),)),
        ("", (("sec-websocket-protocol", "a/b"),)),
        ("", (("sec-websocket-protocol", "a"), ("sec-websocket-protocol", "a"))),
    ],
)
def test_a_handshake_that_breaks_the_rules_is_400(
    without: str, more: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(MalformedRequest, match="handshake is wrong"):
        read(*more, without=without)


def test_the_answer_to_the_client_has_what_was_agreed_on() -> None:
    got = read(("sec-websocket-protocol", "a, b"))
    said = (*SAID, (b"sec-websocket-protocol", b"b"), (b"set-cookie", b"x=1"), (b"server", b"y"))
    assert got.answer(said, b"x-request-id: 1\r\n").split(b"\r\n") == [
        b"HTTP/1.1 101 Switching Protocols",
        b"upgrade: websocket",
        b"connection: Upgrade",
        b"sec-websocket-accept: " + ACCEPT,
        b"sec-websocket-protocol: b",
        b"x-request-id: 1",
        b"",
        b"",
    ]


@pytest.mark.parametrize(
    ("without", "more"),
    [
        (b"upgrade", ()),
        (b"upgrade", ((b"upgrade", b"h2c"),)),
        (b"", ((b"upgrade", b"websocket"),)),
        (b"connection", ()),
        (b"connection", ((b"connection", b"keep-alive"),)),
        (b"sec-websocket-accept", ()),
        (b"sec-websocket-accept", ((b"sec-websocket-accept", KEY.encode()),)),
        (b"sec-websocket-accept", ((b"sec-websocket-accept", ACCEPT.swapcase()),)),
        (b"", ((b"sec-websocket-accept", ACCEPT),)),
        (b"", ((b"sec-websocket-extensions", b"permessage-deflate"),)),
        (b"", ((b"sec-websocket-extensions", b""),)),
        (b"", ((b"sec-websocket-protocol", b"c"),)),
        (b"", ((b"sec-websocket-protocol", b"A"),)),
        (b"", ((b"sec-websocket-protocol", b""),)),
        (b"", ((b"sec-websocket-protocol", b"a, b"),)),
        (b"", ((b"sec-websocket-protocol", b"a"), (b"sec-websocket-protocol", b"b"))),
        (b"", ((b"sec-websocket-protocol", b"looma.bearer.t"),)),
        (b"", ((b"content-length", b"0"),)),
        (b"", ((b"transfer-encoding", b"chunked"),)),
    ],
)
def test_a_wrong_answer_opens_nothing(
    without: bytes, more: tuple[tuple[bytes, bytes], ...]
) -> None:
    got = read(("sec-websocket-protocol", "a, b, looma.bearer.t"))
    with pytest.raises(UpstreamError):
        got.answer([*(one for one in SAID if one[0] != without), *more], b"")


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("https://app.example", "app.example", True),
        ("https://App.Example", "app.example:443", True),
        ("http://app.example:8206", "app.example:8206", True),
        ("http://[::1]:8206", "[::1]:8206", True),
        ("http://app.example", "app.example:8206", False),
        ("https://app.example:8443", "app.example", False),
        ("https://evil.example", "app.example", False),
        ("https://app.example.evil", "app.example", False),
        ("https://app.example@evil.example", "app.example", False),
        ("null", "null", False),
        ("", "app.example", False),
        ("file://", "app.example", False),
        ("chrome-extension://app.example", "app.example", False),
        ("https://app.example:x", "app.example", False),
        ("https://[app.example", "app.example", False),
    ],
)
def test_a_page_is_at_home_where_it_came_from(origin: str, host: str, same: bool) -> None:
    assert same_host(origin, host) is same


@pytest.mark.parametrize(
    "more",
    [
        {"websocket": 1},
        {"method": "POST"},
        {"cache": "5s"},
        {"hedge": 0.1},
        {"body_limit": 10},
    ],
)
def test_only_a_plain_get_can_be_a_websocket(more: dict[str, Any]) -> None:
    route = {"method": "GET", "path": "/x", "scope": "self", "websocket": True, **more}
    with pytest.raises(ConfigError, match=r"WebSocket|websocket"):
        parse_routes({"chat": {"routes": [route]}}, ["chat"], source="routes")


def test_a_websocket_counts_as_a_stream() -> None:
    route = {"method": "GET", "path": "/x", "scope": "self", "websocket": True}
    (got,) = parse_routes({"chat": {"routes": [route]}}, ["chat"], source="routes")
    assert got.websocket
    assert got.stream
