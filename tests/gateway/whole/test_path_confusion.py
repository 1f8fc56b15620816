"""What is authorised is what is forwarded, whatever the spelling."""

from __future__ import annotations

import orjson
import pytest

from tests.gateway.conftest import Platform
from tests.gateway.wire import exchange


async def sent(platform: Platform, target: str, role: str = "agent") -> bytes:
    return await exchange(
        platform.url,
        f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {platform.auth.token(role)}\r\n\r\n".encode(),
    )


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [
        ("/api/v1/calls/c%2d1", "/api/v1/calls/c-1"),
        ("/api/v1/./calls/x", "/api/v1/calls/x"),
        ("/api/v1/users/../calls/x", "/api/v1/calls/x"),
        ("/api/v1/calls/%e5%ae%a2?q=%e5", "/api/v1/calls/%E5%AE%A2?q=%e5"),
        ("/api/v1/calls/x?next=/../../etc&y=%00", "/api/v1/calls/x?next=/../../etc&y=%00"),
    ],
)
async def test_the_service_sees_the_normal_spelling(
    platform: Platform, target: str, forwarded: str
) -> None:
    assert (await sent(platform, target)).startswith(b"HTTP/1.1 200 ")
    assert platform.enrichment.last.target == forwarded


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/calls/../users",
        "/api/v1/calls/%2e%2e/users",
        "/api/v1/calls/..%2fusers",
        "/api/v1/calls/..%5cusers",
        "/api/v1/calls/x%00",
        "/api/v1/calls\\..\\users",
        "/../api/v1/users",
        "/api/v1/calls/%2e%2e%2fusers",
        "/api/v1/%75sers",
        "/api/v1/calls;/../users",
        "//api/v1/users",
        "/api/v1/users/",
        "/API/v1/users",
    ],
)
async def test_no_spelling_opens_what_the_role_may_not(platform: Platform, target: str) -> None:
    """An agent may read calls, not users."""
    platform.auth.wire.requests.clear()
    got = await sent(platform, target)
    assert got[9:12] in (b"400", b"403", b"404"), got
    assert all("users" not in one.target for one in platform.auth.wire.requests)


async def test_a_searched_word_needs_the_scope_of_the_search(platform: Platform) -> None:
    """`/calls/search` is not the call named 'search'."""
    assert (await sent(platform, "/api/v1/calls/search")).startswith(b"HTTP/1.1 403 ")
    assert (await sent(platform, "/api/v1/calls/s%65arch")).startswith(b"HTTP/1.1 403 ")
    assert platform.enrichment.requests == []


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [("/v1/batches/%09", 400, "malformed_request"), ("/v1/unheard/of", 404, "not_found")],
)
async def test_clients_of_openai_read_what_is_no_route_of_theirs(
    platform: Platform, target: str, status: int, code: str
) -> None:
    head, _, body = (await sent(platform, target)).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert orjson.loads(body)["error"]["code"] == code
