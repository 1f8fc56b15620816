"""The gateway's own requests to services: whom they go to, and what of an answer is taken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.timeouts import Timeouts
from gateway.upstream.discovery import Discovery
from gateway.upstream.service_calls import ServiceCalls
from shared.data_access.cache.redis import RedisCache
from shared.errors import UpstreamError, UpstreamUnavailable
from shared.security import InternalTokens
from tests.gateway.wire import Received, answer, echo, served

Known = Callable[..., tuple[ServiceCalls, Discovery]]


@pytest.fixture
async def known(redis_at: str) -> AsyncIterator[Known]:
    """Calls to instances of `portrait` at the given URLs."""
    cache = RedisCache(redis_at)
    opened: list[Discovery] = []

    def calls(*urls: str) -> tuple[ServiceCalls, Discovery]:
        discovery = Discovery(cache, {"portrait": urls} if urls else {}, Timeouts())
        opened.append(discovery)
        return ServiceCalls(discovery, InternalTokens(b"s" * 32)), discovery

    yield calls
    for discovery in opened:
        discovery.close()
    await cache.close()


async def test_equally_busy_instances_take_turns(known: Known) -> None:
    async with served(echo) as one, served(echo) as two, served(echo) as three:
        wires = (one, two, three)
        calls, discovery = known(*(wire.url for wire in wires))
        for _ in range(9):
            status, _ = await calls.ask("portrait", "GET", "/ready")
            assert status == 200
        assert [len(wire.requests) for wire in wires] == [3, 3, 3]
        assert [wire.connections for wire in wires] == [1, 1, 1]
        assert [instance.in_flight for instance in discovery.of("portrait")] == [0, 0, 0]


async def test_an_instance_that_cant_be_reached_is_passed_over(known: Known) -> None:
    async with served(echo) as gone:
        pass
    async with served(echo) as there:
        calls, _ = known(gone.url, there.url)
        for _ in range(3):
            assert (await calls.ask("portrait", "GET", "/ready"))[0] == 200
        assert len(there.requests) == 3


async def test_nobody_to_ask_is_unavailable(known: Known) -> None:
    calls, _ = known()
    with pytest.raises(UpstreamUnavailable, match="'portrait'"):
        await calls.ask("portrait", "GET", "/ready")


async def test_an_answer_that_is_not_json_is_the_services_fault(known: Known) -> None:
    async def page(received: Received, writer: asyncio.StreamWriter) -> None:
        del received
        writer.write(answer(200, b"<html>"))

    async with served(page) as wire:
        calls, _ = known(wire.url)
        with pytest.raises(UpstreamError, match="not JSON"):
            await calls.ask("portrait", "GET", "/ready")
