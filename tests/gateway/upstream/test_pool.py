"""What a pool knows of its instances is its own: not theirs, nor the pool's before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.resilience.breaker import BreakerPolicy, CircuitState
from gateway.resilience.outcome import Outcome
from gateway.timeouts import Timeouts
from gateway.upstream.discovery import Discovery
from gateway.upstream.instance import Exchange, Instance
from gateway.upstream.member import Member
from gateway.upstream.policy import ServicePolicy
from gateway.upstream.pool import Pool, Pools
from shared.data_access.cache.redis import RedisCache
from tests.gateway.wire import echo, served

BAD = Outcome.GATEWAY_ERROR
POLICY = ServicePolicy(breaker=BreakerPolicy(consecutive=3))
STRICTER = ServicePolicy(breaker=BreakerPolicy(consecutive=2))
URLS = ("http://127.0.0.1:1", "http://127.0.0.1:2")


def pools_of(*urls: str) -> Pools:
    cache = RedisCache("redis://127.0.0.1:1/0")  # never asked
    return Pools(Discovery(cache, {"portrait": urls}, Timeouts()), POLICY)


def fail(pool: Pool, member: Member, times: int) -> None:
    for _ in range(times):
        pool.ended(member, pool.acquire(member), BAD, 0.01)


def told(pools: Pools) -> list[tuple[Pool, Member]]:
    said: list[tuple[Pool, Member]] = []
    pools.on_change(lambda pool, member: said.append((pool, member)))
    return said


def test_another_policy_begins_anew_with_the_same_instances() -> None:
    pools = pools_of(*URLS)
    before = pools.of("portrait")
    fail(before, before.members()[0], 3)
    said = told(pools)
    after = pools.of("portrait", STRICTER)
    assert after is not before
    assert [one.instance for one in after.members()] == [one.instance for one in before.members()]
    assert {one.breaker.state for one in after.members()} == {CircuitState.CLOSED}
    assert said == [(after, one) for one in after.members()]
    assert pools.of("portrait", STRICTER) is after


def test_what_ends_in_the_pool_before_concerns_nobody() -> None:
    pools = pools_of(*URLS)
    before = pools.of("portrait")
    member = before.members()[0]
    ticket = before.acquire(member)
    after = pools.of("portrait", STRICTER)
    said = told(pools)
    before.ended(member, ticket, BAD, 0.01)
    fail(before, member, 3)
    assert {one.breaker.state for one in after.members()} == {CircuitState.CLOSED}
    assert said == []


async def test_who_comes_back_has_a_new_circuit_in_the_pool_of_today() -> None:
    async with served(echo) as wire:
        pools = pools_of(wire.url)
        (earlier,) = pools.of("portrait").members()
        pool = pools.of("portrait", STRICTER)
        (member,) = pool.members()
        fail(pool, member, 2)
        open_ = member.breaker
        said = told(pools)
        member.instance.believe(unreachable=True)
        await member.instance.close(await member.instance.open(Exchange("GET", "/", "")))
        assert not member.instance.unreachable
        assert member.breaker is not open_
        assert said == [(pool, member)]
        assert earlier.breaker is not member.breaker
        member.instance.retire()


def known(*versions: str) -> Callable[[], tuple[Instance, ...]]:
    found = tuple(Instance(URLS[0], str(n), 1.0, one) for n, one in enumerate(versions))
    return lambda: found


@pytest.mark.parametrize(
    ("versions", "weights"),
    [
        ("1122", [45, 45, 5, 5]),
        ("112", [45, 45, 10]),
        ("33", [1, 1]),  # nobody runs what has a share: all alike
        ("113", [45, 45, 0]),
    ],
)
def test_versions_share_by_weight(versions: str, weights: list[float]) -> None:
    policy = ServicePolicy(versions={"1": 90, "2": 10})
    pool = Pool(
        "portrait", policy, known(*versions), policy.breaker, lambda *_: None, lambda _: None
    )
    members = pool.members()
    assert [one.base_weight for one in members] == weights
    picked = {pool.pick() for _ in range(50)}
    assert picked <= {one for one in members if one.base_weight}
