"""Limits at work: exact over processes, cheap, and still there when Redis is not."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
import redis.asyncio as aioredis
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from gateway.auth.caller import Caller
from gateway.limits.headers import Allowance
from gateway.limits.limit import key_of, subject_of
from gateway.limits.rate_limiter import LimitedRoute, RateLimited, RateLimiter
from shared.data_access.cache.redis import RedisCache
from shared.errors import StoreUnavailable, render
from shared.security import ANONYMOUS, Principal
from tests.contract.proxy import proxied
from tests.gateway.limit_worker import limited
from tests.gateway.wire import until
from tests.token_bucket import TokenBucket

ORG, OTHER = UUID(int=7), UUID(int=8)
ALICE = Principal(ORG, "user:a", "analyst", "user")
BOB = Principal(ORG, "user:b", "analyst", "user")
EVE = Principal(OTHER, "user:e", "analyst", "user")


@dataclass
class Limits:
    texts: tuple[str, ...]
    path: str


def limits(*texts: str, path: str = "/api/v1/things") -> Limits:
    return Limits(texts, path)


@dataclass
class Opened:
    limiter: RateLimiter
    registry: CollectorRegistry
    routes: list[LimitedRoute]
    callers: dict[Principal, Caller] = field(default_factory=dict)

    async def count(self, principal: Principal, at: str = "192.0.2.1", index: int = 0, cost: int = 1) -> Allowance:  # fmt: skip
        caller = self.callers.setdefault(principal, Caller(principal))
        return await self.limiter.count(self.routes[index], caller, at, cost)

    async def passes(self, principal: Principal | None = ALICE, at: str = "192.0.2.1", index: int = 0) -> bool:  # fmt: skip
        try:
            if principal is None:
                await self.limiter.count_stranger(self.routes[index], at)
            else:
                await self.count(principal, at, index)
        except RateLimited:
            return False
        return True

    async def passed(self, times: int, principal: Principal = ALICE) -> int:
        return sum([await self.passes(principal) for _ in range(times)])

    async def is_back(self) -> bool:
        return not self.limiter.degraded

    def sample(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    @property
    def trips(self) -> float:
        return self.sample("rate_limit_round_trips_total")


@asynccontextmanager
async def opened(
    url: str, *routes: Limits, replicas: int = 1, budget: float = 1.0, **more: object
) -> AsyncIterator[Opened]:
    """A limiter; the budget leaves room for a busy test machine."""
    cache, registry = RedisCache(url), CollectorRegistry()
    limiter = RateLimiter(
        cache, registry, replicas=replicas, budget=budget, **more  # type: ignore[arg-type]  # clock and size
    )  # fmt: skip
    try:
        compiled = [limited(limiter, *one.texts, path=one.path) for one in routes]
        yield Opened(limiter, registry, compiled)
    finally:
        await limiter.close()
        await cache.close()


# Exact over processes.


def hammered(url: str, text: str, seconds: float, processes: int = 4) -> list[dict[str, Any]]:
    """What each process reports of asking for as much as it could at the same time."""
    command = [sys.executable, "-m", "tests.gateway.limit_worker", url, text, str(processes)]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                subprocess.Popen(
                    [*command, str(seconds)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=Path(__file__).parents[3],
                )
            )
            for _ in range(processes)
        ]
        for worker in workers:
            stack.callback(worker.kill)
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == b"ready\n"
        start = f"{time.time() + 0.3}\n".encode()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(start)
            worker.stdin.flush()
        return [orjson.loads(worker.communicate(timeout=60)[0]) for worker in workers]


@pytest.mark.parametrize(
    ("text", "rate", "burst"),
    [
        ("route 1500/s burst 1000", 1500, 1000),
        pytest.param("route 200/s burst 100", 200, 100, marks=pytest.mark.slow),
        pytest.param("route 5000/s burst 10000", 5000, 10_000, marks=pytest.mark.slow),
    ],
)
async def test_four_processes_let_through_what_one_would(
    redis_url: str, text: str, rate: int, burst: int
) -> None:
    said = await asyncio.to_thread(hammered, redis_url, text, 2.0)
    assert not any(worker["degraded"] for worker in said)
    allowed = sum(worker["allowed"] for worker in said)
    assert sum(worker["made"] for worker in said) > 1.2 * allowed, "the limit was hardly reached"
    first = min(worker["first"] for worker in said)
    lasted = max(worker["last"] for worker in said) - first
    assert allowed <= (burst + rate * lasted) * 1.01
    # What nobody came for in the last milliseconds, on a machine with fewer cores than processes,
    # is still there: the TAT tells how much was taken.
    taken = rate * (max(worker["taken_until"] for worker in said) - first)
    assert allowed == pytest.approx(taken, rel=0.01)
    assert taken >= 0.9 * (burst + rate * lasted)


# What a client sees.


async def test_the_tightest_limit_is_told(redis_url: str) -> None:
    async with opened(redis_url, limits("principal 2/h", "address 100/m burst 50")) as it:
        first = await it.count(ALICE)
        assert first.headers() == {
            "Ratelimit-Policy": '"principal";q=2;w=3600, "address";q=50;w=30',
            "Ratelimit": '"principal";r=1;t=1800',
            "Ratelimit-Limit": "2",
            "Ratelimit-Remaining": "1",
            "Ratelimit-Reset": "1800",
        }
        await it.count(ALICE)
        with pytest.raises(RateLimited) as caught:
            await it.count(ALICE)
        status, body, headers = render(caught.value, "id")
        assert (status, body["code"], body["error"]) == (429, 1010, "too_many_requests")
        assert "'principal': 2 per 3600 s" in body["message"]
        assert int(headers["Retry-After"]) in (1799, 1800)
        assert headers["Ratelimit"] == f'"principal";r=0;t={headers["Retry-After"]}'
        assert headers["Ratelimit-Remaining"] == "0"
        await it.count(BOB)
        assert it.sample("rate_limited_total", route="/api/v1/things", scope="principal") == 1
        assert it.sample("rate_limited_total", route="/api/v1/things", scope="address") == 0


async def test_waiting_for_retry_after_is_enough(redis_url: str) -> None:
    async with opened(redis_url, limits("principal 2/s burst 1")) as it:
        longest = 0.0

        async def keep_asking() -> None:
            nonlocal longest
            while True:  # refused the second time, unless this machine is busy for half a second
                asked = time.monotonic()
                try:
                    await it.count(ALICE)
                finally:
                    longest = max(longest, time.monotonic() - asked)

        with pytest.raises(RateLimited) as caught:
            await asyncio.wait_for(keep_asking(), 10)
        assert 0 < caught.value.allowance.reset <= 0.5
        # Redis looked at its clock at some moment of a question: when is not known here.
        await asyncio.sleep(caught.value.allowance.reset + longest + 0.005)
        assert await it.passes()


async def test_a_stranger_without_a_limit_by_address_asks_nobody(free_port: int) -> None:
    async with opened(f"redis://127.0.0.1:{free_port}/0", limits("principal 1/h")) as it:
        assert await it.passes(None)
        assert it.trips == 0


# Who counts together.


async def test_each_scope_counts_its_own(redis_url: str) -> None:
    async with opened(
        redis_url,
        limits("principal 1/h", path="/p"),
        limits("organisation 1/h", path="/o"),
        limits("address 1/h", path="/a"),
        limits("route 1/h", path="/r"),
    ) as it:
        for index, same, other in (
            (0, (ALICE, "x"), (BOB, "x")),
            (1, (BOB, "y"), (EVE, "x")),
            (2, (EVE, "x"), (ALICE, "y")),
        ):
            assert await it.passes(ALICE, "x", index)
            assert not await it.passes(*same, index)
            assert await it.passes(*other, index)
        assert await it.passes(ALICE, "x", 3)
        assert not await it.passes(EVE, "y", 3)


async def test_a_named_limit_is_shared_by_routes_and_others_are_not(redis_url: str) -> None:
    async with opened(
        redis_url,
        limits("api: principal 3/h", "principal 2/h", path="/a"),
        limits("api: principal 3/h", "principal 2/h", path="/b"),
    ) as it:
        assert [await it.passes(index=index) for index in (0, 0, 0, 1, 1)] == [
            True, True, False, True, False,
        ]  # fmt: skip
        assert it.sample("rate_limited_total", route="/a", scope="principal") == 1
        assert it.sample("rate_limited_total", route="/b", scope="principal") == 1


async def test_a_refused_request_takes_from_no_other_limit(redis_url: str) -> None:
    """Not even what was leased: here the wide limit gives leases of two."""
    async with opened(redis_url, limits("route 220/h", "principal 1/h")) as it:
        assert await it.passes(ALICE)
        assert await it.passed(20) == 0
        for number in range(219):
            assert await it.passes(Principal(ORG, f"user:{number}", "analyst", "user"))
        assert not await it.passes(BOB)


async def test_a_bad_credential_is_counted_by_address_only(redis_url: str) -> None:
    async with opened(redis_url, limits("route 1/h", "address 2/h")) as it:
        assert [await it.passes(None, "192.0.2.1") for _ in range(3)] == [True, True, False]
        assert await it.passes(ALICE, "192.0.2.2")


async def test_a_cost_above_the_burst_takes_all_of_it(redis_url: str) -> None:
    async with opened(redis_url, limits("principal 10/h")) as it:
        await it.count(ALICE, cost=4)
        with pytest.raises(RateLimited):
            await it.count(ALICE, cost=100)
        await it.count(BOB, cost=100)
        assert not await it.passes(BOB)
        assert await it.passed(10) == 6


def test_subjects_and_keys() -> None:
    assert subject_of("address", ALICE, "192.0.2.1") == "192.0.2.1"
    assert subject_of("address", ALICE, "::ffff:192.0.2.1") == "192.0.2.1"
    assert subject_of("address", ALICE, "2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64"
    assert subject_of("address", ALICE, "fe80::1%eth0") == "fe80::/64"
    assert subject_of("address", ALICE, "no:address") == "no:address"
    one, two = (Principal(org, "service:crm", "service", "service") for org in (ORG, OTHER))
    assert subject_of("principal", one, "") != subject_of("principal", two, "")
    assert key_of("GET /x principal", "user:a") == "limit:GET /x principal:user:a"
    long, longer = key_of("r" * 500, "user:a"), key_of("r" * 500, "user:b")
    assert long != longer
    assert len(long) == len(longer) < 80
    assert key_of("r", "\udc80").isascii()


# Cheap.


async def test_large_limits_cost_a_round_trip_in_hundreds(redis_url: str) -> None:
    async with opened(redis_url, limits("principal 20000/s", "address 50000/s")) as it:
        assert await it.passed(4000) == 4000
        # Leases of 200 and of 500; the two run out at different times.
        assert it.trips <= 4000 / 200 + 4000 / 500 + 2


async def test_requests_at_once_share_a_round_trip(redis_url: str) -> None:
    callers = [Principal(ORG, f"user:{uuid4()}", "agent", "user") for _ in range(300)]
    async with opened(redis_url, limits("principal 1/h", "route 299/h")) as it:
        passed = await asyncio.gather(*(it.passes(caller) for caller in callers))
        assert sum(passed) == 299
        assert it.trips <= 4


async def test_who_is_over_the_limit_is_refused_without_asking(redis_url: str) -> None:
    async with opened(redis_url, limits("principal 3/m")) as it:
        assert await it.passed(2000) == 3
        assert it.trips == 3  # the third answer told that there are no more


async def test_a_client_that_goes_away_stops_nobody(redis_url: str) -> None:
    async with opened(redis_url, limits("principal 100/h")) as it:
        tasks = [asyncio.create_task(it.passes()) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [answer for answer in done if answer is True] == [True] * 20
        assert await it.passes()


async def test_a_process_remembers_a_bounded_number_of_keys(redis_url: str) -> None:
    async with opened(redis_url, limits("address 5/s"), size=50) as it:
        await asyncio.gather(*(it.passes(ANONYMOUS, f"192.0.2.{n}") for n in range(200)))
        assert len(it.limiter._buckets) == 50


# Without Redis.


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 20),
    st.integers(1, 40),
    st.lists(st.integers(0, 30), min_size=5, max_size=40),
)
def test_alone_a_process_gives_out_its_part(
    replicas: int, rate: int, burst: int, steps: list[int]
) -> None:
    async def run() -> None:
        clock = Clock()
        reference = TokenBucket(
            Fraction(rate, replicas), max(Fraction(1), Fraction(burst, replicas))
        )
        # Port 1 of loopback: nobody listens there.
        async with opened(
            "redis://127.0.0.1:1/0",
            limits(f"principal {rate}/s burst {burst}"),
            replicas=replicas,
            clock=clock,
        ) as it:
            at = Fraction(1000)
            for step in steps:
                at += Fraction(step, 8) * Fraction(replicas, rate)
                clock.now = float(at)
                assert await it.passes() == reference.take(at, 1)
            assert it.limiter.degraded

    asyncio.run(run())


async def test_redis_may_go_and_come_back(redis_url: str) -> None:
    async with proxied(redis_url) as (url, proxy):
        routes = limits("principal 400/h"), limits("principal 400/h closed", path="/costly")
        async with opened(url, *routes, replicas=4) as it:
            assert await it.passed(100) == 100
            await proxy.cut()
            # 300 of 400 are left, a quarter of them for each of four processes.
            assert await it.passed(300) == 75
            assert it.limiter.degraded
            assert it.sample("rate_limit_degraded") == 1
            with pytest.raises(StoreUnavailable, match="can't be counted now") as caught:
                await it.count(ALICE, index=1)
            assert caught.value.headers() == {"Retry-After": "2"}
            trips = it.trips
            await proxy.start()
            await until(it.is_back, 5)
            assert it.sample("rate_limit_degraded") == 0
            assert it.trips == trips  # requests asked nobody meanwhile
            assert await it.passes(BOB)
            assert it.trips == trips + 1
            await it.count(ALICE, index=1)


async def test_a_redis_that_hangs_holds_nobody_up(redis_url: str) -> None:
    async with (
        proxied(redis_url) as (url, proxy),
        opened(url, limits("principal 10000/h", "address 10000/h burst 5000"), budget=0.1) as it,
    ):
        await it.passes()
        await until(it.is_back, 5)  # a busy machine may have been too slow for that, too
        proxy.freeze()
        strangers = [Principal(ORG, f"user:{uuid4()}", "agent", "user") for _ in range(200)]
        started = time.monotonic()
        passed = await asyncio.gather(*(it.passes(stranger) for stranger in strangers))
        assert all(passed)
        assert 0.09 < time.monotonic() - started < 0.6
        trips = it.trips
        started = time.monotonic()
        assert all([await it.passes(Principal(ORG, f"user:{n}", "agent", "user")) for n in range(100)])  # fmt: skip
        assert time.monotonic() - started < 0.1
        assert it.trips == trips
        proxy.thaw()
        await until(it.is_back, 10)
        assert await it.passes(EVE)
        assert it.trips > trips


async def test_a_redis_that_lost_everything_is_taken_as_it_is(redis_url: str) -> None:
    client = aioredis.Redis.from_url(redis_url)
    async with opened(redis_url, limits("principal 5/h")) as it:
        assert await it.passed(4) == 4
        await client.flushdb()
        await client.script_flush()
        assert await it.passed(9) == 5
    await client.aclose()
