"""What of a client's headers reaches a service, and of a service's headers a client."""

from __future__ import annotations

import re

import pytest

from tests.gateway.conftest import Platform
from tests.gateway.wire import always, exchange, json_answer

SPOOFED = {
    "X-Internal-Token": "forged",
    "X-Internal-Anything": "forged",
    "X-User-Id": "root",
    "X-User-Role": "admin",
    "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Anything": "forged",
    "X-Real-Ip": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
    "X-Client-Address": "6.6.6.6",
    "Cookie": "session=1",
    "X_User_Id": "root",
    "X-Internal_Token": "forged",
    "Te": "trailers",
    "Keep-Alive": "timeout=5",
    "Proxy-Authorization": "Basic x",
    "Proxy-Connection": "keep-alive",
    "Upgrade": "h2c",
    "Trailer": "X-T",
}


async def test_nothing_that_speaks_in_the_gateways_name_passes(platform: Platform) -> None:
    got = await platform.get("/api/v1/calls", **SPOOFED)
    assert got.status_code == 200
    seen = platform.enrichment.last
    raw = seen.raw.lower()
    for word in (b"forged", b"6.6.6.6", b"evil", b"gopher", b"root", b"session=1", b"bearer",
                 b"basic x", b"trailer", b"h2c", b"timeout=5", b"authorization"):  # fmt: skip
        assert word not in raw, word
    assert seen.values("x-client-address") == ["127.0.0.1"]
    assert seen.values("x-forwarded-for") == ["127.0.0.1"]
    assert seen.values("x-forwarded-proto") == ["http"]
    assert seen.values("x-forwarded-host") == [platform.url.removeprefix("http://")]
    assert seen.values("host") == [platform.enrichment.url.removeprefix("http://")]
    assert len(seen.values("x-internal-token")) == 1


async def test_an_api_key_stays_at_the_gateway(platform: Platform) -> None:
    key = platform.auth.new_key()
    await platform.client.get("/api/v1/calls", headers={"X-API-Key": key})
    assert key.encode() not in platform.enrichment.last.raw


async def test_what_connection_names_ends_here_and_what_the_gateway_adds_does_not(
    platform: Platform,
) -> None:
    head = (
        f"GET /api/v1/calls HTTP/1.1\r\nHost: x\r\n"
        f"Connection: close, X-Secret , X-Internal-Token, X-Request-Id\r\nX-Secret: 1\r\n"
        f"X-Kept: 2\r\nAuthorization: Bearer {platform.auth.token()}\r\n\r\n"
    )
    got = await exchange(platform.url, head.encode())
    assert got.startswith(b"HTTP/1.1 200 ")
    seen = platform.enrichment.last
    assert seen.header("x-secret") is None
    assert seen.header("x-kept") == "2"
    assert seen.header("x-internal-token")
    assert seen.header("x-request-id")
    assert seen.header("connection") is None


async def test_ordinary_headers_pass_as_they_are(platform: Platform) -> None:
    head = (
        "GET /api/v1/calls HTTP/1.1\r\nHost: x\r\nAccept: a\r\nAccept: b\r\n"
        f"Idempotency-Key: 'k'\r\nX-Name: caf\xe9\r\nAuthorization: Bearer {platform.auth.token()}\r\n\r\n"
    )
    await exchange(platform.url, head.encode("latin-1"), until_closed=False)
    seen = platform.enrichment.last
    assert seen.values("accept") == ["a", "b"]
    assert seen.header("idempotency-key") == "'k'"
    assert b"x-name: caf\xe9\r\n" in seen.raw


async def test_request_id_is_kept_if_it_is_a_uuid_and_made_otherwise(platform: Platform) -> None:
    known = "3f2a7c1e-9d1b-4c58-8d1f-0a4a8c1f5b11"
    got = await platform.get("/api/v1/calls", **{"X-Request-Id": known})
    assert got.headers["x-request-id"] == known
    assert platform.enrichment.last.values("x-request-id") == [known]
    got = await platform.get("/api/v1/calls", **{"X-Request-Id": "1; DROP TABLE"})
    assert re.fullmatch(r"[0-9a-f-]{36}", got.headers["x-request-id"])
    assert platform.enrichment.last.header("x-request-id") == got.headers["x-request-id"]


async def test_a_trace_is_continued(platform: Platform) -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    await platform.get("/api/v1/calls", traceparent=f"00-{trace}-{span}-00", tracestate="vendor=1")
    seen = platform.enrichment.last
    match = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-00", seen.header("traceparent") or "")
    assert match
    assert match[1] == trace
    assert match[2] != span
    assert seen.header("tracestate") == "vendor=1"


@pytest.mark.parametrize(
    "traceparent",
    ["", "x", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
     "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
)  # fmt: skip
async def test_a_trace_is_started_when_there_is_none_to_continue(
    platform: Platform, traceparent: str
) -> None:
    await platform.get("/api/v1/calls", traceparent=traceparent, tracestate="vendor=1")
    seen = platform.enrichment.last
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", seen.header("traceparent") or "")
    assert seen.header("tracestate") is None


async def test_a_services_connection_headers_and_cookies_stay_inside(platform: Platform) -> None:
    platform.behave(
        always(
            json_answer(
                {"code": 0},
                **{
                    "Connection": "keep-alive, X-Inner",
                    "X-Inner": "1",
                    "Keep-Alive": "timeout=9",
                    "Set-Cookie": "a=b",
                    "Server": "inner/1.0",
                    "X-Internal-Token": "secret",
                    "X-Request-Id": "other",
                    "X-Frame-Options": "ALLOWALL",
                    "ETag": '"1"',
                    "Cache-Control": "public, max-age=60",
                    "Proxy-Authenticate": "Basic",
                },
            )
        )
    )
    got = await platform.get("/api/v1/calls")
    assert got.headers["etag"] == '"1"'
    assert got.headers["cache-control"] == "public, max-age=60"
    assert got.headers.get_list("x-frame-options") == ["DENY"]
    assert len(got.headers.get_list("x-request-id")) == 1
    assert got.headers["x-request-id"] != "other"
    for name in ("x-inner", "set-cookie", "server", "x-internal-token", "proxy-authenticate",
                 "keep-alive"):  # fmt: skip
        assert name not in got.headers


async def test_what_is_left_of_a_limit_is_only_the_gateways_to_say(platform: Platform) -> None:
    theirs = {
        "RateLimit": '"inner";r=0;t=9',
        "RateLimit-Policy": '"inner";q=1;w=9',
        "RateLimit-Limit": "1",
        "RateLimit-Remaining": "0",
        "RateLimit-Reset": "9",
        "X-RateLimit-Remaining": "0",
        "X-Rate-Limit-Remaining": "0",
    }
    platform.behave(always(json_answer({"code": 0}, **theirs)))
    got = await platform.get("/api/v1/calls")
    for name in ("ratelimit", "ratelimit-policy", "ratelimit-limit", "ratelimit-remaining",
                 "ratelimit-reset"):  # fmt: skip
        (ours,) = got.headers.get_list(name)
        assert "inner" not in ours
    assert int(got.headers["ratelimit-limit"]) > 1
    assert not [name for name in got.headers if name.startswith(("x-ratelimit", "x-rate-limit"))]
