"""One attempt at servers that do what they shouldn't."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from ai_services.monitor.webhooks.delivery import resolving
from ai_services.monitor.webhooks.delivery.address import Address, Target
from ai_services.monitor.webhooks.delivery.resolving import Resolver, opened_resolver
from ai_services.monitor.webhooks.delivery.sending import Sender
from ai_services.monitor.webhooks.delivery.verdict import Answer
from shared.errors import InvalidInput
from tests.ai_services.monitor.webhooks.receiver import answer, receiving

LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.fixture
async def resolver() -> AsyncIterator[Resolver]:
    async with opened_resolver(LOOPBACK) as opened:
        yield opened


async def post(resolver: Resolver, url: str, timeout_s: float = 5.0) -> Answer:
    return await Sender(resolver, timeout_s).post(url, {"webhook-id": "msg_1"}, b"{}", 0.0)


@asynccontextmanager
async def writing(
    write: Callable[[asyncio.StreamWriter], Any], ssl_context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A server that takes a request and does what `write` says; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await write(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=ssl_context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_redirects_are_failures_and_are_not_followed(resolver: Resolver) -> None:
    async with (
        receiving() as inside,
        receiving(lambda _: answer(302, f"Location: {inside.url}")) as receiver,
    ):
        said = await post(resolver, receiver.url)
        assert (said.status, said.error) == (302, "It answered 302: redirects are not followed.")
        assert (len(receiver.requests), inside.requests) == (1, [])


async def test_an_endless_body_is_left_and_the_status_counts(resolver: Resolver) -> None:
    written = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()
            written += 0x10000

    async with writing(endless) as port:
        assert await post(resolver, f"http://127.0.0.1:{port}/") == Answer(200)
    assert written < 64 << 20


async def test_a_body_that_never_comes_doesnt_undo_a_success(resolver: Resolver) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(60)

    async with writing(silent) as port:
        assert await post(resolver, f"http://127.0.0.1:{port}/") == Answer(200)


@pytest.mark.parametrize(
    "said",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, b"\0" * 100],
    ids=["nothing", "another protocol", "an endless header", "zeros"],
)
async def test_what_is_no_http_is_a_failure_and_nothing_of_it_is_kept(
    resolver: Resolver, said: bytes
) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with writing(write) as port:
        found = await post(resolver, f"http://127.0.0.1:{port}/")
    assert found == Answer(None, "The connection ended without an answer in HTTP.")


async def test_nobody_there_is_a_failure(resolver: Resolver, free_port: int) -> None:
    found = await post(resolver, f"http://127.0.0.1:{free_port}/")
    assert found == Answer(None, "It can't be connected to.")


async def test_a_certificate_of_nobodys_is_refused(resolver: Resolver, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(answer(200))

    async with writing(write, context) as port:
        found = await post(resolver, f"https://127.0.0.1:{port}/")
    assert found == Answer(None, "Its certificate is not valid for this host.")


async def test_an_address_out_of_bounds_is_not_connected_to(resolver: Resolver) -> None:
    async with receiving() as receiver, opened_resolver(()) as strict:
        for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
            found = await post(strict, url)
            assert found.status is None
            assert "url: " in str(found.error)
        assert receiver.requests == []


class Rebinding(Resolver):
    """Says one thing when it is asked first and another after that, as a name server can."""

    def __init__(self, *answers: str) -> None:
        self.answers = [[ip_address(one)] for one in answers]

    async def addresses(self, target: Target) -> list[Address]:
        return list(self.answers.pop(0))


async def test_a_name_is_looked_up_once_and_connected_to_where_it_was_found() -> None:
    """A second look-up would be answered with another address; there is none."""
    async with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "crm.invalid")
        assert await post(Rebinding("127.0.0.1"), url) == Answer(204)
    (request,) = receiver.requests
    assert request.headers["host"].startswith("crm.invalid:")


async def test_a_socket_is_opened_to_addresses_that_were_checked_alone() -> None:
    """An address in a URL is looked up by nobody: it is compared when the socket is opened."""
    async with receiving() as receiver:
        found = await post(Rebinding("127.0.0.2"), receiver.url)
        assert found == Answer(None, "It can't be connected to.")
        assert receiver.requests == []


def looked_up(*addresses: str) -> Callable[..., list[Any]]:
    return lambda *_, **__: [
        (socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, 443))
        for one in addresses
    ]


@pytest.mark.parametrize(
    "addresses",
    [
        ("169.254.169.254",), ("10.0.0.1",), ("::1",), ("::ffff:10.0.0.1",), ("fe80::1%1",),
        ("8.8.8.8", "10.0.0.1"),
    ],
)  # fmt: skip
async def test_a_name_any_of_whose_addresses_is_out_of_bounds_is_refused(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    monkeypatch.setattr(resolving.socket, "getaddrinfo", looked_up(*addresses))
    with pytest.raises(InvalidInput, match="can't be sent to"):
        await resolver.check("https://crm.example.com/")


async def test_a_name_that_nobody_knows_is_refused(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(resolving.socket, "getaddrinfo", unknown)
    with pytest.raises(InvalidInput, match="can't be sent to"):
        await resolver.check("https://crm.invalid/")


async def test_why_a_name_is_refused_tells_nothing_of_the_network_we_are_in(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else names could be tried until one answers otherwise: an inner name server's."""

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    said = set()
    for url in ("https://db.internal/", "http://db.internal/", "https://db.internal:5432/"):
        for answers in (unknown, looked_up("10.0.0.1"), looked_up("169.254.169.254")):
            monkeypatch.setattr(resolving.socket, "getaddrinfo", answers)
            with pytest.raises(InvalidInput) as refused:
                await resolver.check(url)
            said.add(refused.value.message)
    assert len(said) == 1


async def test_a_public_name_is_fine(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving.socket, "getaddrinfo", looked_up("8.8.8.8", "2606:4700::1"))
    await resolver.check("https://crm.example.com/")
