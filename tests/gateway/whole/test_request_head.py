"""Heads that don't follow the grammar of HTTP are refused before anything in them counts."""

from __future__ import annotations

import pytest

from tests.gateway.conftest import Platform
from tests.gateway.wire import exchange

OK = b"GET /api/v1/auth/login HTTP/1.1\r\n"  # 405: seen and understood


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        b"GET /health HTTP/1.1\r\nHost: a/b\r\n",
        b"GET /health HTTP/1.1\r\nHost: a@b\r\n",
        b"GET /health HTTP/1.1\r\nHost:\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX : 1\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: 1\n2\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX: 1\r\n Y: 2\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX(@): 1\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\n: 1\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nX\r\n",
        b"get /health HTTP/1.1\r\nHost: a\r\n",
        b"GET  /health HTTP/1.1\r\nHost: a\r\n",
        b"GET /health HTTP/1.2\r\nHost: a\r\n",
        b"GET http://b/health HTTP/1.1\r\nHost: a\r\n",
        b"GET /health#x HTTP/1.1\r\nHost: a\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: \xd9\xa3\r\n",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\nTransfer-Encoding: chunked\r\n",
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n",
        b"POST /api/v1/auth/login HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
    ],
)
async def test_a_head_that_is_not_http_is_400(platform: Platform, head: bytes) -> None:
    got = await exchange(platform.url, head + b"\r\n", until_closed=False)
    assert got.startswith(b"HTTP/1.1 400 "), got
    assert b"malformed_request" in got
    assert platform.auth.wire.requests == [] or all(
        "login" not in one.target for one in platform.auth.wire.requests
    )


async def test_a_request_hidden_behind_a_blank_before_the_colon_is_not_run(
    platform: Platform,
) -> None:
    hidden = b"GET /api/v1/auth/me HTTP/1.1\r\nHost: a\r\n\r\n"
    got = await exchange(
        platform.url,
        b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\n"
        b"Content-Length : %d\r\n\r\n" % len(hidden) + hidden,
        until_closed=False,
    )
    assert got.count(b"HTTP/1.1 ") == 1


async def test_a_head_without_end_is_refused(platform: Platform) -> None:
    got = await exchange(platform.url, b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000)
    assert got == b"" or got.startswith(b"HTTP/1.1 4")


async def test_garbage_gets_an_envelope(platform: Platform) -> None:
    got = await exchange(platform.url, b"\x16\x03\x01\x02\x00\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert b'"error":"malformed_request"' in got
