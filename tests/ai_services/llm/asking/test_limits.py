"""Limits of models: right across replicas, all or nothing, and still there when Redis is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
import redis.asyncio as aioredis
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ai_services.llm.asking.limits import Limits, Over, Taken
from ai_services.llm.asking.rate import Places, Rate
from shared.data_access.cache.redis import RedisCache
from tests.contract.proxy import Proxy, proxied

SOON_S = 10.0  # a probe's two seconds, on a machine that has other work


def organisation(per_minute: int) -> Rate:
    return Rate("organisation", "org", "tokens", per_minute)


def provider(per_minute: int) -> Rate:
    return Rate("provider", "openai", "tokens", per_minute)


def requests(per_minute: int) -> Rate:
    return Rate("key", f"key:{uuid4()}", "requests", per_minute)


class Opened:
    """One replica's limits, with what its metrics say."""

    def __init__(self, url: str, replicas: int, lease_s: float, budget_s: float = 2.0) -> None:
        self.registry = CollectorRegistry()
        self.cache = RedisCache(url)
        self.limits = Limits(
            self.cache,
            self.registry,
            replicas=lambda: replicas,
            lease_s=lease_s,
            budget_s=budget_s,
        )

    async def takes(self, *rates: Rate, tokens: int = 1) -> bool:
        return isinstance(await self.limits.take(rates, tokens), Taken)

    async def has_place(self, places: Places) -> bool:
        async with self.limits.place(places) as over:
            return over is None

    @property
    def degraded(self) -> float | None:
        return self.registry.get_sample_value("llm_limits_degraded")

    async def lacks_place(self, places: Places) -> bool:
        return not await self.has_place(places)

    async def is_back(self) -> bool:
        return self.degraded == 0

    async def close(self) -> None:
        await self.limits.close()
        await self.cache.close()


Open = Callable[..., Opened]


@asynccontextmanager
async def opening() -> AsyncIterator[Open]:
    opened: list[Opened] = []

    def open_one(
        url: str, *, replicas: int = 1, lease_s: float = 30.0, budget_s: float = 2.0
    ) -> Opened:
        opened.append(Opened(url, replicas, lease_s, budget_s))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.close()


@pytest.fixture
async def replica() -> AsyncIterator[Open]:
    async with opening() as open_one:
        yield open_one


@pytest.fixture
def one(replica: Open, redis_url: str) -> Opened:
    return replica(redis_url)


@pytest.fixture
async def proxy_url(redis_url: str) -> AsyncIterator[tuple[str, Proxy]]:
    async with proxied(redis_url) as through:
        yield through


@pytest.fixture
def logs() -> Iterator[list[dict[str, object]]]:
    with capture_logs() as entries:
        yield entries  # type: ignore[misc] - they are dicts


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SOON_S):
        while not await holds():  # noqa: ASYNC110 - what is asked is another process
            await asyncio.sleep(0.01)


async def test_a_request_over_one_limit_takes_from_none(one: Opened) -> None:
    rates = organisation(50), provider(100)
    assert await one.takes(*rates, tokens=30)
    over = await one.limits.take(rates, 30)
    assert isinstance(over, Over)
    assert over.limit == rates[0]
    assert over.retry_after == pytest.approx(12, abs=1)  # ten of fifty are missing
    assert await one.takes(rates[1], tokens=70)
    assert not await one.takes(rates[1], tokens=5)
    assert one.registry.get_sample_value(
        "llm_limited_total", {"scope": "organisation", "unit": "tokens"}
    ) == 1  # fmt: skip


async def test_requests_and_tokens_are_counted_each_in_their_unit(one: Opened) -> None:
    count, tokens = requests(2), organisation(1000)
    assert [await one.takes(count, tokens, tokens=300) for _ in range(3)] == [True, True, False]
    over = await one.limits.take([count, tokens], 300)
    assert isinstance(over, Over)
    assert over.limit == count
    assert await one.takes(tokens, tokens=400)


async def test_the_limit_that_keeps_longest_is_named(one: Opened) -> None:
    rates = organisation(60), provider(600)
    assert await one.takes(*rates, tokens=60)
    assert await one.takes(rates[1], tokens=540)
    over = await one.limits.take(rates, 30)
    assert isinstance(over, Over)
    assert (over.limit, round(over.retry_after)) == (rates[0], 30)


async def test_after_the_wait_it_told_a_request_passes(one: Opened) -> None:
    rate = organisation(60_000)
    assert await one.takes(rate, tokens=60_000)
    over = await one.limits.take([rate], 300)
    assert isinstance(over, Over)
    assert 0.1 < over.retry_after <= 0.3
    await asyncio.sleep(over.retry_after + 0.005)
    assert await one.takes(rate, tokens=300)


async def test_more_than_a_minutes_tokens_are_all_of_them(one: Opened) -> None:
    rate = organisation(100)
    taken = await one.limits.take([rate], 5000)
    assert isinstance(taken, Taken)
    over = await one.limits.take([rate], 5000)
    assert isinstance(over, Over)
    assert over.retry_after == pytest.approx(60, abs=2)
    await one.limits.correct(taken, 700)  # still more than all
    assert not await one.takes(rate, tokens=5)
    await one.limits.correct(taken, 40)
    assert await one.takes(rate, tokens=60)
    assert not await one.takes(rate, tokens=5)


async def test_a_correction_gives_back_what_was_not_used(one: Opened) -> None:
    rate, count = organisation(100), requests(1)
    taken = await one.limits.take([count, rate], 90)
    assert isinstance(taken, Taken)
    await one.limits.correct(taken, 20)
    assert await one.takes(rate, tokens=80)
    assert not await one.takes(count)  # it was a request all the same


async def test_a_correction_takes_what_was_used_besides(one: Opened) -> None:
    rate = organisation(100)
    taken = await one.limits.take([rate], 10)
    assert isinstance(taken, Taken)
    assert await one.takes(rate, tokens=50)
    await one.limits.correct(taken, 90)  # 80 more, of which 40 are there
    assert not await one.takes(rate, tokens=5)
    over = await one.limits.take([rate], 10)
    assert isinstance(over, Over)
    assert over.retry_after < 7


async def test_what_was_never_asked_is_given_back_whole(one: Opened) -> None:
    rates = requests(1), organisation(100)
    taken = await one.limits.take(rates, 100)
    assert isinstance(taken, Taken)
    await one.limits.give_back(taken)
    assert await one.takes(*rates, tokens=100)


async def test_replicas_share_a_limit(replica: Open, redis_url: str) -> None:
    replicas, rate = [replica(redis_url) for _ in range(3)], requests(40)
    answers = await asyncio.gather(*(replicas[n % 3].takes(rate) for n in range(150)))
    assert sum(answers) == 40


async def test_replicas_that_hold_leases_give_out_no_more_than_the_limit(
    replica: Open, redis_url: str
) -> None:
    replicas, rate = [replica(redis_url, replicas=3) for _ in range(3)], requests(3000)
    began = time.monotonic()
    answers = [await replicas[n % 3].takes(rate) for n in range(2900)]
    answers += await asyncio.gather(*(replicas[n % 3].takes(rate) for n in range(300)))
    came_back = (time.monotonic() - began) * 3000 / 60
    assert 3000 - 3 * 10 <= sum(answers) <= 3000 + came_back


async def test_what_is_held_pays_without_redis_and_takes_what_was_not_used(
    replica: Open, proxy_url: tuple[str, Proxy]
) -> None:
    url, proxy = proxy_url
    one, rate = replica(url), organisation(100_000)
    taken = await one.limits.take([rate], 900)
    assert isinstance(taken, Taken)
    await proxy.cut()
    assert await one.takes(rate, tokens=600)
    await one.limits.correct(taken, 600)
    assert await one.takes(rate, tokens=700)
    assert one.degraded == 0
    assert await one.takes(rate, tokens=1)  # nothing is held any more
    assert one.degraded == 1


async def test_without_limits_redis_is_not_asked(replica: Open, free_port: int) -> None:
    one = replica(f"redis://127.0.0.1:{free_port}/0")
    taken = await one.limits.take([], 10**9)
    assert isinstance(taken, Taken)
    await one.limits.correct(taken, 5)
    async with one.limits.place(None) as over:
        assert over is None
    assert one.degraded == 0


async def test_a_cancelled_take_takes_nothing(
    replica: Open, redis_url: str, proxy_url: tuple[str, Proxy]
) -> None:
    url, proxy = proxy_url
    one, other, rate = replica(url), replica(redis_url), organisation(100)
    assert await one.takes(rate, tokens=10)  # connected
    proxy.freeze()
    taking = asyncio.create_task(one.takes(rate, tokens=90))
    await asyncio.sleep(0.05)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    proxy.thaw()
    await until(lambda: other.takes(rate, tokens=88))


async def test_without_redis_each_counts_its_part(
    replica: Open, proxy_url: tuple[str, Proxy], logs: list[dict[str, object]]
) -> None:
    url, proxy = proxy_url
    one, rate = replica(url, replicas=4), organisation(100)
    assert await one.takes(rate, tokens=100)
    assert one.degraded == 0
    await proxy.cut()
    answers = [await one.takes(rate, tokens=5) for _ in range(8)]
    assert answers == [True] * 5 + [False] * 3
    assert (one.degraded, one.limits.degraded) == (1, True)
    taken = await one.limits.take([provider(100)], 5000)
    assert isinstance(taken, Taken)
    await one.limits.correct(taken, 10)
    assert await one.takes(provider(100), tokens=15)
    await proxy.start()
    await until(one.is_back)
    assert not await one.takes(rate, tokens=50)  # what was taken before is known again
    said = [entry["event"] for entry in logs if str(entry["event"]).startswith("limits are")]
    assert said == [
        "limits are counted by each process alone",
        "limits are counted together again",
    ]


async def test_a_redis_that_stands_still_costs_the_budget_once(
    replica: Open, proxy_url: tuple[str, Proxy]
) -> None:
    url, proxy = proxy_url
    one, rate = replica(url, budget_s=0.25), requests(100)
    assert await one.takes(rate)
    proxy.freeze()
    began = time.monotonic()
    assert all([await one.takes(rate) for _ in range(50)])
    assert 0.2 < time.monotonic() - began < 1.0
    assert one.degraded == 1
    proxy.thaw()
    await until(one.is_back)


PLACES = Places("provider", "openai", 2)


async def test_no_more_at_once_than_there_are_places(replica: Open, redis_url: str) -> None:
    replicas = [replica(redis_url) for _ in range(2)]
    highest = now = refused = 0

    async def ask(number: int) -> None:
        nonlocal highest, now, refused
        async with replicas[number % 2].limits.place(PLACES) as over:
            if over is not None:
                assert over.limit == PLACES
                assert over.retry_after > 0
                refused += 1
                return
            now += 1
            highest = max(highest, now)
            await asyncio.sleep(0.001)
            now -= 1

    for _ in range(5):
        await asyncio.gather(*(ask(number) for number in range(10)))
    assert highest == 2
    assert refused
    assert await replicas[0].has_place(PLACES)


async def test_a_place_is_free_at_once_however_its_block_ends(one: Opened) -> None:
    only = Places("provider", "openai", 1)
    entered = asyncio.Event()

    async def hold() -> None:
        async with one.limits.place(only) as over:
            assert over is None
            entered.set()
            await asyncio.sleep(60)

    holding = asyncio.create_task(hold())
    await entered.wait()
    assert not await one.has_place(only)
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert await one.has_place(only)
    with pytest.raises(ZeroDivisionError):
        async with one.limits.place(only):
            raise ZeroDivisionError
    assert await one.has_place(only)


async def test_who_is_cancelled_while_waiting_for_a_place_holds_none(
    replica: Open, redis_url: str, proxy_url: tuple[str, Proxy]
) -> None:
    url, proxy = proxy_url
    one, other, only = replica(url), replica(redis_url), Places("provider", "openai", 1)
    assert await one.has_place(only)
    proxy.freeze()
    waiting = asyncio.create_task(one.has_place(only))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    proxy.thaw()
    await until(lambda: other.has_place(only))
    assert one.degraded == 0


async def test_a_place_is_kept_for_longer_than_a_lease(replica: Open, redis_url: str) -> None:
    one, other = replica(redis_url, lease_s=0.3), replica(redis_url)
    only = Places("provider", "openai", 1)
    async with one.limits.place(only) as over:
        assert over is None
        for _ in range(8):
            await asyncio.sleep(0.1)
            assert not await other.has_place(only)
    await until(lambda: other.has_place(only))


async def test_the_place_of_a_process_that_died_comes_free(replica: Open, redis_url: str) -> None:
    one, other = replica(redis_url, lease_s=0.5), replica(redis_url)
    only = Places("provider", "openai", 1)
    async with one.limits.place(only):
        await one.limits.close()  # nothing is renewed any more
        assert not await other.has_place(only)
        await asyncio.sleep(0.5)
        assert await other.has_place(only)


async def test_places_that_a_restarted_redis_forgot_are_counted_again(
    replica: Open, redis_url: str
) -> None:
    one, other = replica(redis_url, lease_s=0.3), replica(redis_url)
    only = Places("provider", "openai", 1)
    async with one.limits.place(only):
        client = aioredis.Redis.from_url(redis_url)
        await client.flushdb()
        await client.aclose()
        await asyncio.sleep(0.2)
        assert not await other.has_place(only)
    await until(lambda: other.has_place(only))


async def test_without_redis_places_are_counted_here_and_told_when_it_is_back(
    replica: Open, redis_url: str, proxy_url: tuple[str, Proxy]
) -> None:
    url, proxy = proxy_url
    one, other = replica(url, replicas=2, lease_s=120), replica(redis_url)
    many = Places("provider", "openai", 4)
    async with one.limits.place(many) as first:
        assert first is None
        await proxy.cut()
        async with one.limits.place(many) as second, one.limits.place(many) as third:
            assert second is None
            assert isinstance(third, Over)  # two of four are this replica's, and one it had before
            assert one.degraded == 1
            await proxy.start()
            await until(one.is_back)
            await until(lambda: other.lacks_place(Places("provider", "openai", 2)))
    assert await one.has_place(Places("provider", "openai", 1))


def test_a_limit_says_what_it_is() -> None:
    assert organisation(500).text == "500 tokens per minute for each organisation"
    assert PLACES.text == "2 requests at once for each provider"
