"""A store that doesn't answer is refused at once, and nobody's query can bring that about."""

from __future__ import annotations

import asyncio
import time

import pytest

from shared.data_access.errors import Translator
from shared.data_access.guard import Guard
from shared.errors import StoreConflict, StoreError, StoreUnavailable

STORE = Translator("test store", (), lambda _: StoreError)


class Store:
    """A store that answers, refuses or hangs, to calls and to probes."""

    def __init__(self) -> None:
        self.up = True
        self.probes = 0
        self.refusal = ""
        self.back = asyncio.Event()
        self.guard = Guard(STORE, self.probe, every=0.02, patience=0.1)

    async def probe(self) -> bool | str:
        self.probes += 1
        return self.up and (self.refusal or True)

    async def call(self, *, seconds: float = 0.05, hang: bool = False) -> str:
        async with self.guard.call(seconds, "GET"):
            if hang or not self.up:
                await self.back.wait()
        return "answer"


@pytest.fixture
async def store():
    store = Store()
    yield store
    await store.guard.close()


async def refused_at_once(store: Store) -> bool:
    """Whether a call that would take ten seconds is refused, without having been made."""
    refused = store.guard.refused
    try:
        async with asyncio.timeout(5):
            await store.call(seconds=10, hang=not store.up)
    except StoreUnavailable:
        return store.guard.refused == refused + 1
    return False


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - conditions of all kinds
            await asyncio.sleep(0.005)


async def test_after_the_first_hang_calls_are_refused_until_a_probe_is_answered(store):
    store.up = False
    with pytest.raises(StoreUnavailable):
        await store.call()
    assert await refused_at_once(store)
    assert await refused_at_once(store)
    assert not store.guard.up
    store.up = True
    await until(lambda: store.guard.up)
    assert await store.call() == "answer"


async def test_a_refusal_says_when_to_come_back(store):
    store.up = False
    with pytest.raises(StoreUnavailable):
        await store.call()
    with pytest.raises(StoreUnavailable, match=r"test store doesn't answer.*Try again") as caught:
        await store.call()
    assert caught.value.headers()["Retry-After"] == "1"


async def test_expensive_queries_of_one_caller_refuse_nobody(store):
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            await store.call(seconds=0.01, hang=True)
        assert await store.call() == "answer"
    assert store.guard.refused == 0
    assert store.guard.up


async def test_what_a_store_refuses_is_no_reason_to_probe(store):
    for kind in (StoreError, StoreConflict):
        with pytest.raises(kind):
            async with store.guard.call(1, "GET"):
                raise kind("no")
    await asyncio.sleep(0.05)
    assert store.probes == 0


async def test_calls_under_way_end_when_the_store_is_found_to_be_down(store):
    store.up = False
    waiting = asyncio.create_task(store.call(seconds=60))
    await asyncio.sleep(0)
    store.guard.suspect()
    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable):
            await waiting


async def test_calls_wait_for_the_first_probe_and_no_longer(store):
    answer = asyncio.Event()

    async def probe() -> bool:
        await answer.wait()
        return True

    store.guard._probe = probe
    store.guard.suspect()
    call = asyncio.create_task(store.call(seconds=5))
    await asyncio.sleep(0.02)
    assert not call.done()
    answer.set()
    assert await call == "answer"


class Busy(Store):
    """A store that answers calls, and no probe in time: it has no room for a new connection."""

    async def probe(self) -> bool:
        self.probes += 1
        await asyncio.sleep(3600)
        return True


@pytest.fixture
async def busy():
    store = Busy()
    store.guard = Guard(STORE, store.probe, every=0.02, patience=0.1, long=0.02)
    yield store
    await store.guard.close()


async def test_a_probe_for_a_long_call_holds_nobody_up(busy):
    busy.guard._patience = 3600
    async with busy.guard.call(60, "GET"):
        await until(lambda: busy.probes)
        async with asyncio.timeout(10):
            assert await busy.call(seconds=5) == "answer"


async def test_the_probe_after_a_failure_holds_others_up_for_a_moment_only(busy):
    busy.guard._patience = 3600
    with pytest.raises(StoreUnavailable):
        await busy.call(hang=True)
    await until(lambda: busy.probes)
    async with asyncio.timeout(10):
        assert await busy.call(seconds=5) == "answer"


async def test_an_answered_call_lets_those_go_that_wait_for_the_probe(busy):
    busy.guard._patience = 3600
    answered = asyncio.Event()

    async def long() -> None:
        async with busy.guard.call(60, "GET"):
            await answered.wait()

    under_way = asyncio.create_task(long())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await busy.call(seconds=0.01, hang=True)
    assert busy.guard._verdict is not None
    late = asyncio.create_task(busy.call(seconds=5))
    await asyncio.sleep(0)
    answered.set()
    await under_way
    assert await late == "answer"
    assert busy.guard._verdict is None


async def test_a_store_that_answers_calls_is_up_whatever_its_probes_say(busy):
    async def long() -> str:
        async with busy.guard.call(60, "GET"):
            await until(lambda: busy.probes >= 4)
        return "answer"

    under_way = asyncio.create_task(long())
    while not under_way.done():
        assert await busy.call(seconds=60) == "answer"
        with pytest.raises(StoreConflict):  # that is an answer too
            async with busy.guard.call(60, "GET"):
                raise StoreConflict("there is one")
        await asyncio.sleep(0.005)
    assert await under_way == "answer"
    assert busy.guard.up
    assert busy.guard.refused == 0


async def test_a_store_that_has_stopped_to_answer_calls_as_well_is_down(busy):
    busy.guard.condition()  # which nobody has asked yet, so it asks
    while busy.probes < 3:
        assert await busy.call(seconds=60) == "answer"
        await asyncio.sleep(0.005)
    hanging = [asyncio.create_task(busy.call(seconds=60, hang=True)) for _ in range(3)]
    async with asyncio.timeout(10):
        ended = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in ended)
    assert not busy.guard.up


async def test_after_its_end_a_guard_asks_nobody(store):
    await store.guard.close()
    store.guard._asked_at -= 60
    store.guard.condition()
    with pytest.raises(StoreUnavailable):
        await store.call(hang=True)
    assert store.guard._watch is None
    assert store.probes == 0


async def test_a_store_that_refuses_is_up_for_calls_and_its_condition_says_so(store, capsys):
    store.refusal = "READONLY"
    store.guard.condition()
    await until(lambda: store.guard.condition() != "up")
    assert store.guard.condition() == (
        "The test store answers, but refuses to serve. The log has the details."
    )
    assert "READONLY" in capsys.readouterr().out
    assert store.guard.up
    assert await store.call() == "answer"
    store.refusal = ""
    store.guard.suspect()
    await until(lambda: store.guard.condition() == "up")


async def test_a_ping_that_is_answered_ends_an_outage(store):
    store.up = False
    store.guard._every = 3600
    with pytest.raises(StoreUnavailable):
        await store.call()
    await until(lambda: not store.guard.up)
    with pytest.raises(StoreUnavailable):
        await store.guard.ask()
    store.up = True
    await store.guard.ask()
    assert await store.call() == "answer"


async def test_a_probe_that_is_defective_keeps_nobody_away(store):
    async def probe() -> bool:
        raise RuntimeError("a defect")

    store.guard._probe = probe
    with pytest.raises(StoreUnavailable):
        await store.call(hang=True)
    await until(store.guard._watch.done)
    assert await store.call() == "answer"


async def test_there_is_one_probe_at_a_time_however_many_calls_fail(store):
    store.up = False
    calls = [store.call(seconds=0.01) for _ in range(200)]
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    began = time.monotonic()
    await asyncio.sleep(0.1)
    # Every 16 to 24 ms since the first call failed.
    assert store.probes <= 2 + (time.monotonic() - began + 0.1) / 0.016


async def test_the_condition_is_asked_for_where_nobody_calls(store):
    assert store.guard.condition() == "up"
    await until(lambda: store.probes == 1)
    assert store.guard.condition() == "up"
    assert store.probes == 1  # it is fresh
    store.up = False
    store.guard._asked_at -= 60
    assert store.guard.condition() == "up"  # as far as is known, without waiting
    await until(lambda: not store.guard.up)
    assert "doesn't answer" in store.guard.condition()


async def test_a_cancelled_call_is_cancelled(store):
    task = asyncio.create_task(store.call(seconds=60, hang=True))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert store.probes == 0
