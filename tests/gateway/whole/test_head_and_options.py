"""HEAD is GET without its body, byte by byte; OPTIONS says what a path takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from tests.gateway.conftest import Platform, platform_in
from tests.gateway.wire import Received, always, answer, echo, exchange, json_answer, until

ROUTES = """
[enrichment]
routes = [
  { method = "GET", path = "/open", scope = "public" },
  { method = "GET", path = "/things/{id}", scope = "calls:read" },
  { method = "PUT", path = "/things/{id}", scope = "calls:write" },
  { method = "GET", path = "/kept/{id}", scope = "calls:read", cache = "60s" },
  { method = "GET", path = "/flow", scope = "calls:read", stream = true },
  { method = "GET", path = "/socket", scope = "calls:read", websocket = true },
  { method = "GET", path = "/audit", scope = "audit:read" },
  { method = "POST", path = "/made", scope = "calls:write" },
]
"""
TEXT = orjson.dumps({"code": 0, "data": ["something that repeats"] * 500, "request_id": ""})


@pytest.fixture(scope="module")
async def running(
    tmp_path_factory: pytest.TempPathFactory, redis_at: str
) -> AsyncIterator[Platform]:
    home = tmp_path_factory.mktemp("heads")
    (home / "routes.toml").write_text(ROUTES)
    async with platform_in(
        home, REDIS_URL=redis_at, GATEWAY_ROUTES=str(home / "routes.toml")
    ) as platform:
        yield platform


@pytest.fixture
def gate(running: Platform) -> Platform:
    running.behave(echo)
    return running


def lines(gate: Platform, method: str, path: str, *more: str, role: str = "analyst") -> bytes:
    bearer = gate.auth.bearer(role)["Authorization"]
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: {bearer}", *more]
    return "\r\n".join([*head, "", ""]).encode()


async def heads(gate: Platform, path: str, *more: str) -> tuple[int, dict[str, str]]:
    """Status and headers of HEAD, which is asked twice on one connection: not a byte may follow."""
    one = lines(gate, "HEAD", path, *more)
    last = lines(gate, "HEAD", path, *more, "Connection: close")
    received = await exchange(gate.url, one + last)
    first, second, rest = received.split(b"\r\n\r\n")
    assert rest == b""
    assert first.split(b"\r\n")[0] == second.split(b"\r\n")[0]
    status, *fields = first.decode().split("\r\n")
    return int(status.split(" ")[1]), dict(line.lower().split(": ", 1) for line in fields)


@pytest.mark.parametrize(
    "path",
    ["/health", "/ready", "/openapi.json", "/docs", "/open", "/things/1", "/kept/1",
     "/api/v1/gateway/routes", "/audit", "/nowhere", "/made", "/socket"],
)  # fmt: skip
async def test_head_says_what_get_would(gate: Platform, path: str) -> None:
    got = await gate.get(path)
    status, fields = await heads(gate, path)
    assert status == got.status_code
    for name in ("content-type", "etag", "cache-control", "vary", "allow", "www-authenticate"):
        assert fields.get(name) == (got.headers[name].lower() if name in got.headers else None)
    if "content-encoding" not in got.headers and path != "/health":  # which tells times
        plain = await gate.get(path, **{"Accept-Encoding": "identity"})
        assert int(fields["content-length"]) == len(plain.content)


@pytest.mark.parametrize("path", ["/things/%2f", "/socket"])
async def test_refusals_that_end_the_connection_have_no_body_either(
    gate: Platform, path: str
) -> None:
    received = await exchange(gate.url, lines(gate, "HEAD", path, "Upgrade: websocket"))
    head, end, rest = received.partition(b"\r\n\r\n")
    assert (head[9:12] in (b"400", b"426"), end, rest) == (True, b"\r\n\r\n", b"")


@pytest.mark.parametrize(
    "request_", [b"HEAD / HTTP/1.1\r\nHost : x\r\n\r\n", b"HEAD /\x7f HTTP/1.1\r\n", b"HEAD / HTTP/1.1\r\n\r\n"]
)  # fmt: skip
async def test_what_is_no_request_but_asks_for_no_body_gets_none(
    gate: Platform, request_: bytes
) -> None:
    received = await exchange(gate.url, request_)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"\r\n\r\n")


async def test_a_socket_is_not_opened_by_head(gate: Platform) -> None:
    opens = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    received = await exchange(gate.url, lines(gate, "HEAD", "/socket", *opens))
    assert received.startswith(b"HTTP/1.1 426 ")
    assert received.endswith(b"\r\n\r\n")
    assert gate.enrichment.requests == []


async def test_services_are_asked_by_get_and_answer_once(gate: Platform) -> None:
    status, fields = await heads(gate, "/things/1")
    assert [one.method for one in gate.enrichment.requests] == ["GET", "GET"]
    got = await gate.get("/things/1")
    assert (status, fields["content-length"]) == (200, str(len(got.content)))


async def test_both_share_what_is_kept(gate: Platform) -> None:
    status, fields = await heads(gate, "/kept/shared")
    assert len(gate.enrichment.requests) == 1
    got = await gate.get("/kept/shared")
    assert len(gate.enrichment.requests) == 1
    assert (status, fields["etag"]) == (200, got.headers["etag"].lower())
    assert int(fields["content-length"]) == len(got.content)
    status, fields = await heads(gate, "/kept/shared", f"If-None-Match: {got.headers['etag']}")
    assert (status, "content-length" in fields) == (304, False)


async def test_what_would_be_compressed_tells_no_length(gate: Platform) -> None:
    gate.behave(always(answer(200, TEXT)))
    for path in ("/things/1", "/kept/large"):
        status, fields = await heads(gate, path, "Accept-Encoding: gzip")
        assert (status, fields["content-encoding"]) == (200, "gzip")
        assert "content-length" not in fields
        status, fields = await heads(gate, path)
        assert (status, fields["content-length"]) == (200, str(len(TEXT)))


async def test_a_large_body_is_not_waited_for(gate: Platform) -> None:
    async def large(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200, bytes(8 << 20), "application/octet-stream"))
        await writer.drain()

    gate.behave(large)
    status, fields = await heads(gate, "/things/1")
    assert (status, fields["content-length"]) == (200, str(8 << 20))


async def test_a_stream_is_not_held(gate: Platform) -> None:
    async def endless(_received: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        while True:
            writer.write(b"9\r\ndata: 1\n\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)

    gate.behave(endless, stream=True)
    status, fields = await heads(gate, "/flow")
    assert (status, fields["content-type"]) == (200, "text/event-stream")
    assert "content-length" not in fields

    async def none_open() -> bool:
        page = (await gate.client.get("/metrics")).text
        return 'gateway_streams_in_flight{service="enrichment"} 0.0' in page

    await until(none_open, 5)


async def test_a_body_sent_with_head_is_read_and_nothing_is_smuggled(gate: Platform) -> None:
    smuggled = lines(gate, "GET", "/audit", "Connection: close")
    asked = lines(gate, "HEAD", "/things/1", f"Content-Length: {len(smuggled)}") + smuggled
    received = await exchange(gate.url, asked + lines(gate, "HEAD", "/open", "Connection: close"))
    first, second, rest = received.split(b"\r\n\r\n")
    assert (first[:12], second[:12], rest) == (b"HTTP/1.1 200", b"HTTP/1.1 200", b"")
    assert {one.path for one in gate.enrichment.requests} == {"/things/1", "/open"}


async def test_a_service_that_breaks_off_gives_502_without_a_body(gate: Platform) -> None:
    gate.behave(always(b"HTTP/1.1 nonsense\r\n\r\n"))
    status, fields = await heads(gate, "/things/1")
    assert (status, int(fields["content-length"]) > 0) == (502, True)


async def test_head_is_counted_with_its_route(gate: Platform) -> None:
    await heads(gate, "/things/1")
    page = (await gate.client.get("/metrics")).text
    assert 'route="/things/{id}",service="gateway",status="200"' in page


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/things/1", "GET, HEAD, OPTIONS, PUT"),
        ("/open", "GET, HEAD, OPTIONS"),
        ("/made", "OPTIONS, POST"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/api/v1/batch", "OPTIONS, POST"),
        ("/api/v1/gateway/limits", "GET, HEAD, OPTIONS"),
    ],
)
async def test_anybody_may_ask_what_a_path_takes(gate: Platform, path: str, methods: str) -> None:
    got = await gate.client.options(path)
    assert (got.status_code, got.headers["allow"], got.content) == (204, methods, b"")
    refused = await gate.client.request("PATCH", path)
    assert (refused.status_code, refused.headers["allow"]) == (405, methods)
    assert gate.enrichment.requests == []


async def test_options_of_nothing_is_404(gate: Platform) -> None:
    assert (await gate.client.options("/nowhere")).status_code == 404
    received = await exchange(
        gate.url, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert received.startswith(b"HTTP/1.1 404 ")


async def test_scopes_hold_for_head(gate: Platform) -> None:
    assert (await gate.client.head("/things/1")).status_code == 401
    assert (await gate.client.head("/audit", headers=gate.auth.bearer())).status_code == 403
    assert (await gate.client.head("/audit", headers=gate.auth.bearer("admin"))).status_code == 200
    assert [one.path for one in gate.enrichment.requests] == ["/audit"]


async def test_the_items_of_a_batch_can_be_no_head(gate: Platform) -> None:
    item = {"method": "HEAD", "path": "/api/things/1"}
    got = await gate.client.post(
        "/api/v1/batch", json={"requests": [item]}, headers=gate.auth.bearer()
    )
    assert got.json()["data"]["responses"][0]["status"] == 422
    gate.behave(always(json_answer({"code": 0})))
