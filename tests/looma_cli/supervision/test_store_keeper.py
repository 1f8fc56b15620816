"""Every store is started again by itself, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from looma_cli.supervision.store_keeper import StoreKeeper
from shared.embedded.errors import EmbeddedStoreError


class Stores:
    """Their process table, written by the test: `graph` ends as soon as it has been started."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.starts: list[str] = []
        self.hangs = asyncio.Event()
        self.hanging: set[str] = set()
        self.failing: set[str] = set()

    def ended(self) -> list[str]:
        return sorted(self.dead)

    async def start(self, *, only: Collection[str]) -> None:
        (name,) = only
        self.starts.append(name)
        if name in self.hanging:
            await self.hangs.wait()
        if name in self.failing:
            raise EmbeddedStoreError(f"{name} did not start")
        if name != "graph":
            self.dead.discard(name)


@pytest.fixture
async def kept():
    stores, said = Stores(), []
    run = asyncio.create_task(StoreKeeper(stores, said.append).run())
    yield stores, said
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds
            await asyncio.sleep(0.01)


async def test_one_that_keeps_ending_delays_no_other(kept):
    stores, said = kept
    stores.dead.add("graph")
    await until(lambda: stores.starts.count("graph") == 2)
    await until(lambda: "graph ended, starting again in 1 s" in said)
    stores.dead.add("postgres")
    await until(lambda: "postgres" not in stores.dead)
    assert "postgres ended, starting again" in said
    assert stores.starts.count("graph") == 2  # it still waits


async def test_one_that_takes_long_to_start_delays_no_other(kept):
    stores, _ = kept
    stores.hanging.add("redis")
    stores.dead.add("redis")
    await until(lambda: stores.starts == ["redis"])
    stores.dead.add("postgres")
    await until(lambda: "postgres" not in stores.dead)
    assert stores.starts == ["redis", "postgres"]
    stores.hangs.set()
    await until(lambda: not stores.dead)


async def test_one_that_would_not_start_is_told_of_and_tried_again(kept):
    stores, said = kept
    stores.failing.add("redis")
    stores.dead |= {"redis", "postgres"}
    await until(lambda: "redis did not start" in said)
    stores.failing.clear()
    await until(lambda: not stores.dead)
    assert stores.starts.count("postgres") == 1
