"""Whether the client's connection was encrypted, when a proxy in front of the gateway says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.http.client_address import ClientAddress
from shared.config import Config
from tests.gateway.conftest import Platform, platform_in
from tests.gateway.wire import exchange

PATH = "/api/v1/calls"


async def scheme_after(platform: Platform, *told: str) -> list[str]:
    """What the service hears when the gateway's peer sends these values of X-Forwarded-Proto."""
    lines = "".join(f"X-Forwarded-Proto: {value}\r\n" for value in told)
    head = (
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}"
        f"Authorization: Bearer {platform.auth.token()}\r\n\r\n"
    )
    assert (await exchange(platform.url, head.encode())).startswith(b"HTTP/1.1 200 ")
    return platform.enrichment.last.values("x-forwarded-proto")


async def test_a_trusted_proxy_tells_the_scheme_once_and_in_a_word(
    tmp_path: Path, redis_at: str
) -> None:
    async with platform_in(tmp_path, REDIS_URL=redis_at, TRUSTED_PROXIES="127.0.0.0/8") as own:
        assert await scheme_after(own, "https") == ["https"]
        assert await scheme_after(own, "http") == ["http"]
        assert await scheme_after(own) == ["http"]  # that of our own socket
        for odd in (["https", "https"], ["http", "https"], ["https,http"], ["gopher"], ["HTTPS"], [""]):  # fmt: skip
            assert await scheme_after(own, *odd) == ["http"], odd
        items = [{"method": "GET", "path": PATH}]
        bearer, told = own.auth.bearer(), [("X-Forwarded-Proto", "https")]
        for more, scheme in ((told, "https"), (told * 2, "http")):
            headers = [*bearer.items(), *more]
            got = await own.client.post("/api/v1/batch", json={"requests": items}, headers=headers)
            assert got.json()["data"]["responses"][0]["status"] == 200
            assert own.enrichment.last.values("x-forwarded-proto") == [scheme]


async def test_a_batch_comes_from_where_the_nearest_proxy_says(
    tmp_path: Path, redis_at: str
) -> None:
    """A proxy that adds a line of its own must not leave the client's line to count."""
    async with platform_in(tmp_path, REDIS_URL=redis_at, TRUSTED_PROXIES="127.0.0.0/8") as own:
        forwarded = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.5")]
        got = await own.client.post(
            "/api/v1/batch",
            json={"requests": [{"method": "GET", "path": PATH}]},
            headers=[*own.auth.bearer().items(), *forwarded],
        )
        assert got.json()["data"]["responses"][0]["status"] == 200
        assert own.enrichment.last.header("x-client-address") == "203.0.113.5"


async def test_nobody_else_tells_the_scheme(tmp_path: Path, redis_at: str) -> None:
    async with platform_in(tmp_path, REDIS_URL=redis_at, TRUSTED_PROXIES="10.0.0.0/8") as own:
        assert await scheme_after(own, "https") == ["http"]


async def test_without_trusted_proxies_the_scheme_is_that_of_our_socket(
    platform: Platform,
) -> None:
    assert await scheme_after(platform, "https") == ["http"]


@pytest.mark.parametrize(
    ("peer", "told", "scheme"),
    [
        ("10.0.0.1", ["https"], "https"),
        ("::ffff:10.0.0.1", ["https"], "https"),  # as a socket for both IPs shows it
        ("192.0.2.1", ["https"], ""),
        ("10.0.0.1", [], ""),
        ("10.0.0.1", ["https", "http"], ""),
        ("10.0.0.1", ["ftp"], ""),
        ("", ["https"], ""),
    ],
)
def test_the_scheme_is_told_by_trusted_peers_only(peer: str, told: list[str], scheme: str) -> None:
    trusted = Config.from_env({"TRUSTED_PROXIES": "10.0.0.0/8"}).trusted_proxies
    assert ClientAddress(trusted).scheme(peer, told) == scheme
    assert ClientAddress(()).scheme(peer, told) == ""
