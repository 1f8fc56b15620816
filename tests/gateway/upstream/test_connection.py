"""Connections to services: kept when they are clean, given up when they are not."""

from __future__ import annotations

import asyncio

import pytest

from gateway.upstream.instance import Exchange, Instance
from shared.errors import UpstreamError, UpstreamTimeout, UpstreamUnavailable
from tests.gateway.wire import Received, answer, echo, served


def request(target: str, method: str = "GET", **more: float) -> Exchange:
    return Exchange(method, target, "", **more)


async def read(instance: Instance, exchange: Exchange) -> bytes:
    connection = await instance.open(exchange)
    parts = []
    while part := await connection.read(1):
        parts.append(part)
    await instance.close(connection)
    return b"".join(parts)


async def target_only(received: Received, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(200, received.target.encode()))
    await writer.drain()


async def test_what_was_not_read_never_begins_the_next_answer() -> None:
    async with served(target_only) as wire:
        instance = Instance(wire.url, "one", 1)
        for number in range(5):
            left = await instance.open(request(f"/secret-{number}"))
            await asyncio.sleep(0.02)  # all of it has come
            await instance.close(left)
            assert await read(instance, request("/mine")) == b"/mine"
        instance.retire()


async def test_a_late_answer_is_not_asked_for_again() -> None:
    """A kept connection that stays silent is late, not closed."""

    async def once(received: Received, writer: asyncio.StreamWriter) -> None:
        if len(wire.requests) > 1:
            await asyncio.sleep(5)
        await echo(received, writer)

    async with served(once) as wire:
        instance = Instance(wire.url, "one", 1)
        await read(instance, request("/"))
        with pytest.raises(UpstreamTimeout):
            await instance.open(request("/", timeout=0.1))
        assert len(wire.requests) == 2
        assert instance.in_flight == 0
        instance.retire()


async def test_a_connection_serves_one_exchange_at_a_time() -> None:
    async with served(target_only) as wire:
        instance = Instance(wire.url, "one", 1)
        got = await asyncio.gather(*(read(instance, request(f"/{n}")) for n in range(20)))
        assert got == [f"/{n}".encode() for n in range(20)]
        busy = wire.connections
        await asyncio.gather(*(read(instance, request(f"/{n}")) for n in range(busy)))
        assert wire.connections == busy
        instance.retire()


async def test_a_large_answer_waits_for_its_reader() -> None:
    """Back pressure: what nobody reads stays with the service."""
    sent = 0

    async def large(_received: Received, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(1024):
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with served(large) as wire:
        instance = Instance(wire.url, "one", 1)
        connection = await instance.open(request("/"))
        await asyncio.sleep(0.3)
        assert sent < 32 << 20
        size = 0
        while part := await connection.read(1):
            size += len(part)
        assert size == 64 << 20
        await instance.close(connection)
        instance.retire()


async def test_a_service_that_takes_nothing_more_is_late() -> None:
    class Endless:
        length: int | None = None
        first = b"x" * 65_536
        complete = False

        async def read(self) -> bytes:
            return self.first

    async def deaf(_received: Received, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with served(deaf, stream=True) as wire:
        instance = Instance(wire.url, "one", 1)
        with pytest.raises(UpstreamTimeout, match="stopped taking"):
            await instance.open(Exchange("POST", "/", "", Endless(), 5, 0.2))
        instance.retire()


async def test_a_post_without_a_body_says_so() -> None:
    async with served(echo) as wire:
        instance = Instance(wire.url, "one", 1)
        await read(instance, request("/", "POST"))
        assert wire.last.header("content-length") == "0"
        await read(instance, request("/"))
        assert wire.last.header("content-length") is None
        instance.retire()


async def test_a_retired_instance_keeps_nothing() -> None:
    async with served(target_only) as wire:
        instance = Instance(wire.url, "one", 1)
        connection = await instance.open(request("/"))
        instance.retire()
        assert await connection.read(1) == b"/"
        await instance.close(connection)
        assert connection.closed


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://name.invalid:80"])
async def test_an_instance_that_can_not_be_reached_is_unavailable(url: str) -> None:
    instance = Instance(url, "one", 2)
    with pytest.raises(UpstreamUnavailable):
        await instance.open(request("/"))
    assert instance.in_flight == 0
    assert instance.cooling(asyncio.get_running_loop().time())


async def test_cancelling_ends_the_connection() -> None:
    async def silence(_received: Received, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with served(silence) as wire:
        instance = Instance(wire.url, "one", 1)
        task = asyncio.create_task(instance.open(request("/")))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.wait_for(wire.lost.wait(), 1)
        assert instance.in_flight == 0


async def test_an_instance_that_hangs_up_at_once_fails_at_once() -> None:
    """As a proxy does that has nobody behind it: the request's own time isn't waited for."""

    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        instance = Instance(f"http://127.0.0.1:{port}", "one", 1)
        for _ in range(20):
            async with asyncio.timeout(5):
                with pytest.raises(UpstreamError):
                    await instance.open(request("/", timeout=60))
        assert instance.in_flight == 0
