"""Verdicts, the order of probes, and a runner that neither floods nor forgets."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.resilience.health_check import HealthChecks, HealthPolicy, ProbeSchedule, Verdict
from shared.errors import UpstreamUnavailable
from tests.gateway.fake_time import FakeClock, never

QUICK = HealthPolicy(interval_s=0.01, timeout_s=0.03, rise=2, fall=3, concurrency=4)


# Verdicts.


def test_three_failures_in_a_row_make_ill_and_two_passes_well() -> None:
    policy, verdict = HealthPolicy(), Verdict()
    probes = [False, False, True, False, False, False, False, True, False, True, True]
    changes = [verdict.take(policy, passed=passed) for passed in probes]
    assert [at for at, changed in enumerate(changes) if changed] == [5, 10]
    assert verdict.healthy


@given(probes=st.lists(st.booleans(), max_size=60), rise=st.integers(1, 5), fall=st.integers(1, 5))
def test_a_verdict_changes_exactly_after_a_row_of_contradictions(
    probes: list[bool], rise: int, fall: int
) -> None:
    policy, verdict = HealthPolicy(rise=rise, fall=fall), Verdict()
    for end in range(1, len(probes) + 1):
        before = verdict.healthy
        changed = verdict.take(policy, passed=probes[end - 1])
        needed = fall if before else rise
        # A row may not reach back beyond the last change: `needed` probes since then.
        row = probes[max(0, end - needed) : end]
        assert changed is (verdict.healthy is not before)
        if changed:
            assert len(row) == needed
            assert set(row) == {verdict.healthy}
        elif len(row) == needed and set(row) == {not before}:
            pytest.fail("a full row of contradictions changed nothing")


# The schedule.


def test_first_probes_are_spread_over_an_interval() -> None:
    schedule = ProbeSchedule[int](HealthPolicy(interval_s=10), random.Random(1).random)
    schedule.keep(range(1000), 0.0)
    per_second = Counter[int]()
    for second in range(10):
        while schedule.due(float(second + 1)) is not None:
            per_second[second] += 1
    assert sum(per_second.values()) == 1000
    assert all(60 <= per_second[second] <= 140 for second in range(10))


@given(chance=st.floats(0, 1, exclude_max=True))
def test_pauses_differ_by_the_jitter(chance: float) -> None:
    assert 1.5 <= HealthPolicy(interval_s=2, jitter=0.25).pause(chance) <= 2.5
    assert HealthPolicy(interval_s=2, jitter=0).pause(chance) == 2


def test_a_member_has_no_turn_while_it_is_probed() -> None:
    schedule = ProbeSchedule[str](HealthPolicy(interval_s=2, jitter=0), never)
    schedule.keep(["a"], 0.0)
    assert schedule.due(0.0) == "a"
    schedule.keep(["a"], 50.0)
    assert schedule.due(50.0) is None
    assert schedule.wait(50.0) == float("inf")
    schedule.done("a", 50.0)
    assert schedule.wait(50.5) == pytest.approx(1.5)
    assert schedule.due(51.9) is None
    assert schedule.due(52.0) == "a"


def test_who_is_gone_has_no_turn_and_who_returns_has_one() -> None:
    schedule = ProbeSchedule[str](HealthPolicy(jitter=0), never)
    schedule.keep(["a", "b"], 0.0)
    assert schedule.due(0.0) == "a"
    schedule.keep(["b"], 0.0)
    schedule.done("a", 0.0)
    assert [schedule.due(99.0), schedule.due(99.0)] == ["b", None]
    schedule.keep(["a", "b"], 99.0)
    schedule.keep(["b"], 99.0)
    schedule.keep(["a", "b"], 99.0)
    assert [schedule.due(199.0), schedule.due(199.0)] == ["a", None]


@given(steps=st.lists(st.tuples(st.sets(st.integers(0, 5)), st.floats(0, 3)), max_size=40))
def test_every_member_comes_again_and_nobody_else(steps: list[tuple[set[int], float]]) -> None:
    policy = HealthPolicy(interval_s=1, jitter=0.5)
    schedule, clock = ProbeSchedule[int](policy, random.Random(1).random), FakeClock()
    since: dict[int, float] = {}
    for members, pause in steps:
        schedule.keep(members, clock.now)
        since = {one: since.get(one, clock.now) for one in members}
        clock.advance(pause)
        while (one := schedule.due(clock.now)) is not None:
            assert one in members
            since[one] = clock.now
            schedule.done(one, clock.now)
        assert all(clock.now - last < 1.5 + 1e-9 for last in since.values())


# The runner.


@asynccontextmanager
async def running(checks: HealthChecks[int]) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(checks.run_forever())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions of several kinds, none of them an event
            await asyncio.sleep(0.005)


class Services:
    """Instances by number, with what becomes of their probes."""

    def __init__(self, *members: int) -> None:
        self.members = list(members)
        self.behaviour: dict[int, Callable[[], Awaitable[bool]]] = {}
        self.probed = Counter[int]()
        self.at_once = Counter[int]()
        self.most = 0
        self.changes: list[tuple[int, bool]] = []
        self.checks = HealthChecks(
            lambda: self.members, self.probe, lambda *change: self.changes.append(change), QUICK
        )

    async def probe(self, member: int) -> bool:
        self.probed[member] += 1
        self.at_once[member] += 1
        self.most = max(self.most, self.at_once.total())
        assert self.at_once[member] == 1
        try:
            return await self.behaviour.get(member, passes)()
        finally:
            self.at_once[member] -= 1


async def passes() -> bool:
    await asyncio.sleep(0.002)
    return True


async def fails() -> bool:
    return False


async def unreachable() -> bool:
    raise UpstreamUnavailable("refused")


async def hangs() -> bool:
    await asyncio.sleep(3600)
    return True


@pytest.mark.parametrize("illness", [fails, unreachable, hangs])
async def test_an_ill_instance_is_found_and_its_recovery_too(
    illness: Callable[[], Awaitable[bool]],
) -> None:
    services = Services(1, 2, 3)
    services.behaviour[2] = illness
    async with running(services.checks):
        await until(lambda: services.changes == [(2, False)])
        assert services.probed[2] >= 3
        assert [services.checks.healthy(one) for one in (1, 2, 3)] == [True, False, True]
        services.behaviour.clear()
        await until(lambda: services.changes == [(2, False), (2, True)])


async def test_probes_are_bounded_and_slow_ones_starve_nobody() -> None:
    services = Services(*range(30))
    services.behaviour = dict.fromkeys(range(10), hangs)
    async with running(services.checks):
        await until(lambda: all(services.probed[one] >= 3 for one in range(30)), 20)
    assert services.most == QUICK.concurrency
    assert services.at_once.total() == 0  # cancelled probes have ended, too


async def test_members_come_and_go() -> None:
    services = Services(1)
    async with running(services.checks):
        await until(lambda: services.probed[1] > 2)
        services.behaviour[1] = services.behaviour[2] = fails
        services.members = [2]
        await until(lambda: services.changes == [(2, False)])
        seen = services.probed[1]
        await asyncio.sleep(0.05)
        assert services.probed[1] == seen
        services.members = []
        await asyncio.sleep(0.05)
        assert services.checks.healthy(2)  # forgotten
        services.members = [1, 2]
        await until(lambda: (1, False) in services.changes)


async def test_a_probe_that_ends_after_its_member_left_says_nothing() -> None:
    services, asked, told = Services(1), asyncio.Event(), asyncio.Event()

    async def slow() -> bool:
        asked.set()
        await told.wait()
        return False

    services.behaviour[1] = slow
    checks = HealthChecks(
        lambda: services.members,
        services.probe,
        lambda *change: services.changes.append(change),
        HealthPolicy(interval_s=0.01, fall=1),
    )
    async with running(checks):
        await asked.wait()
        services.members = []
        await asyncio.sleep(0.05)
        told.set()
        await asyncio.sleep(0.05)
    assert services.changes == []


async def test_a_defect_of_the_probe_is_not_an_illness_and_checks_can_be_run_again() -> None:
    services = Services(1, 2)
    told = defaultdict[str, int](int)

    async def broken() -> bool:
        told["defects"] += 1
        raise ZeroDivisionError

    services.behaviour[1] = broken
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(services.checks.run_forever(), 5)
    assert caught.group_contains(ZeroDivisionError)
    services.behaviour.clear()
    before = services.probed[1]
    async with running(services.checks):
        await until(lambda: services.probed[1] > before + 2)
    assert services.changes == []
