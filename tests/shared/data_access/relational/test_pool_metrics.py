"""What is told of the connections: in use, at most, waited for."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from shared.data_access.access import StoreUrls, open_data_access
from shared.data_access.relational.fair_turns import FairTurns
from shared.data_access.relational.pool_metrics import PoolMetrics


def told(registry: CollectorRegistry) -> tuple[float | None, ...]:
    names = ("in_use", "max", "waiters")
    return tuple(registry.get_sample_value(f"postgres_connections_{name}") for name in names)


async def test_turns_that_are_taken_and_waited_for_are_told() -> None:
    turns, registry = FairTurns(2), CollectorRegistry()
    registry.register(PoolMetrics(turns))
    assert told(registry) == (0, 2, 0)
    async with turns.turn("one", 1):
        assert told(registry) == (1, 2, 0)
        async with turns.turn("other", 1):

            async def wait() -> None:
                async with turns.turn("third", 10):
                    pass

            waiting = [asyncio.create_task(wait()) for _ in range(3)]
            await asyncio.sleep(0)
            assert told(registry) == (2, 2, 3)
    await asyncio.gather(*waiting)
    assert told(registry) == (0, 2, 0)


async def test_who_gave_up_waits_no_more() -> None:
    turns, registry = FairTurns(1), CollectorRegistry()
    registry.register(PoolMetrics(turns))
    async with turns.turn("one", 1):
        with pytest.raises(TimeoutError):
            async with turns.turn("other", 0.01):
                pass
        assert told(registry) == (1, 1, 0)


async def test_a_process_tells_of_its_own_pool(database_url: str) -> None:
    registry = CollectorRegistry()
    urls = StoreUrls(database_url, "bolt://127.0.0.1:1", None, None, "redis://127.0.0.1:1")
    async with open_data_access(urls, ports={"relational"}, pool_size=7, registry=registry) as data:
        assert told(registry) == (0, 7, 0)
        async with data.relational.system():
            assert told(registry) == (1, 7, 0)
        assert told(registry) == (0, 7, 0)
