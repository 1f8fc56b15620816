"""Who is picked: by load, by latency, by weight, by key; and who never is."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, pvariance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.balancer import (
    BALANCERS,
    Balancer,
    ByKey,
    ByWeight,
    LeastLatency,
    LeastRequest,
)
from gateway.upstream.peak_ewma import PeakEwma
from tests.gateway.fake_time import FakeClock


@dataclass(eq=False)
class Member:
    url: str
    weight: float = 1.0
    in_flight: int = 0
    open: bool = True
    latency: PeakEwma = field(default_factory=lambda: PeakEwma(clock=FakeClock()))

    def admits(self) -> bool:
        return self.open


def members(*weights: float) -> list[Member]:
    return [Member(f"http://10.0.0.{number}:80", weight) for number, weight in enumerate(weights)]


def seeded(seed: int = 1) -> list[Balancer]:
    chance = random.Random(seed).random
    return [LeastRequest(chance), LeastLatency(chance), ByWeight(chance), ByKey()]


def shares(
    picker: Balancer, pool: Sequence[Member], picks: int = 20_000, key: str | None = None
) -> list[float]:
    counted = Counter(
        one.url
        for number in range(picks)
        if (one := picker.pick(pool, key=None if key is None else f"{key}{number}"))
    )
    return [counted[one.url] / picks for one in pool]


POOLS = st.lists(
    st.builds(
        Member,
        url=st.uuids().map(str),
        weight=st.floats(0.001, 1000),
        in_flight=st.integers(0, 50),
        open=st.booleans(),
    ),
    max_size=12,
)
# Rounding happens at the borders.
CHANCES = st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, 1.0 - 2.0**-53]))


# What holds for all.


@given(pool=POOLS, chances=st.lists(CHANCES, min_size=2, max_size=2), data=st.data())
def test_nobody_is_picked_who_is_tried_or_refuses(
    pool: list[Member], chances: list[float], data: st.DataObject
) -> None:
    tried = data.draw(st.sets(st.sampled_from(pool))) if pool else set()
    left = [one for one in pool if one.open and one not in tried]
    key = data.draw(st.none() | st.text())
    for make in (LeastRequest, LeastLatency, ByWeight):
        picked = make(iter(chances).__next__).pick(pool, tried, key)
        assert picked in left if left else picked is None
    picked = ByKey().pick(pool, tried, key)
    assert picked in left if left else picked is None


def test_the_same_chances_pick_the_same() -> None:
    pool = members(1, 2, 3, 4)
    for one, other in zip(seeded(5), seeded(5), strict=True):
        ours = [one.pick(pool, key=f"user-{number}") for number in range(100)]
        assert ours == [other.pick(pool, key=f"user-{number}") for number in range(100)]
        assert len(set(ours)) == 4


def test_every_policy_has_a_name() -> None:
    pool = members(1, 1)
    for make in BALANCERS.values():
        assert make().pick(pool) in pool
        assert make().pick(pool, tried=[pool[0]], key="user-1") is pool[1]
        assert make().pick([], key="user-1") is None


# Least request.


@pytest.mark.parametrize("weights", [(1, 1), (1, 1, 1, 1, 1), (10, 1), (0.1, 1, 1), (5, 3, 2)])
def test_an_idle_pool_is_used_by_weight(weights: tuple[float, ...]) -> None:
    expected = [weight / sum(weights) for weight in weights]
    pool = members(*weights)
    for picker in seeded()[:3]:
        assert shares(picker, pool) == pytest.approx(expected, abs=0.015)
    assert shares(ByKey(), pool, key="user-") == pytest.approx(expected, abs=0.015)


@given(pool=POOLS, chances=st.lists(CHANCES, min_size=2, max_size=2))
def test_two_different_ones_are_drawn(pool: list[Member], chances: list[float]) -> None:
    usable = [one for one in pool if one.open]
    picked = LeastRequest(iter(chances).__next__).pick(pool)
    if len(usable) == 2:
        assert picked is not None
        assert picked.in_flight / picked.weight == min(o.in_flight / o.weight for o in usable)
    elif len(usable) > 2:
        assert picked is not None
        worst = max(one.in_flight / one.weight for one in usable)
        if sum(one.in_flight / one.weight == worst for one in usable) == 1:
            assert picked.in_flight / picked.weight < worst  # the busiest never wins


@pytest.mark.parametrize("weights", [(0.6, 2.4), (0.9, 0.3, 2.5)])
def test_a_rounding_does_not_draw_the_same_one_twice(weights: tuple[float, ...]) -> None:
    pool = members(*weights)
    pool[-1].in_flight = 1
    last = 1.0 - 2.0**-53
    assert LeastRequest(iter([last, last]).__next__).pick(pool) is pool[-2]


@pytest.mark.parametrize("busy", [0, 1, 2, 3])
def test_what_the_busiest_does_not_get_is_shared_by_weight(busy: int) -> None:
    pool = members(4, 1, 3, 2)
    pool[busy].in_flight = 100
    left = sum(one.weight for one in pool) - pool[busy].weight
    expected = [0 if one is pool[busy] else one.weight / left for one in pool]
    seen = shares(LeastRequest(random.Random(1).random), pool)
    assert seen == pytest.approx(expected, abs=0.015)


def run_queue(picker: Balancer, pool: list[Member], requests: int, busy: int, seed: int) -> None:
    """Keep `busy` requests in flight; those that end are random ones."""
    source, running = random.Random(seed), []
    for _ in range(requests):
        one = picker.pick(pool)
        assert one is not None
        one.in_flight += 1
        running.append(one)
        if len(running) > busy:
            running.pop(source.randrange(len(running))).in_flight -= 1


def test_two_choices_balance_far_better_than_one() -> None:
    def spread(policy: type[LeastRequest | ByWeight]) -> float:
        found = []
        for seed in range(10):
            pool = members(*[1] * 20)
            run_queue(policy(random.Random(seed).random), pool, 4000, 400, seed)
            found.append(pvariance([one.in_flight for one in pool]))
        return mean(found)

    assert spread(ByWeight) == pytest.approx(19, rel=0.3)  # a multinomial distribution's
    assert spread(LeastRequest) < 5


def test_under_load_what_is_in_flight_follows_the_weights() -> None:
    pool = members(4, 2, 1, 1)
    run_queue(LeastRequest(random.Random(4).random), pool, 20_000, 800, 2)
    assert [one.in_flight for one in pool] == pytest.approx([400, 200, 100, 100], rel=0.1)


def test_a_heavily_loaded_instance_gets_nothing_more() -> None:
    pool = members(1, 1, 1)
    pool[1].in_flight = 100
    assert shares(LeastRequest(random.Random(1).random), pool)[1] == 0


# Latency.


def test_a_slow_instance_is_avoided_and_comes_back_by_and_by() -> None:
    clock = FakeClock()
    pool = members(1, 1)
    for one, seconds in zip(pool, (0.010, 0.500), strict=True):
        one.latency = PeakEwma(clock=clock)
        one.latency.record(seconds)
    picker = LeastLatency(random.Random(1).random)
    assert shares(picker, pool, 100) == [1, 0]
    for _ in range(60):
        clock.advance(1)
        pool[0].latency.record(0.010)
    assert shares(picker, pool, 100) == [0, 1]  # it is believed to be well, until it is measured
    pool[1].latency.record(0.500)
    assert shares(picker, pool, 100) == [1, 0]


def test_a_slow_instance_is_still_used_when_the_fast_one_is_busy() -> None:
    pool = members(1, 1)
    pool[0].latency.record(0.010)
    pool[1].latency.record(0.050)
    pool[0].in_flight = 10
    assert LeastLatency().pick(pool) is pool[1]


def test_an_unmeasured_instance_is_given_one_request_at_first() -> None:
    pool = members(1, 1)
    pool[0].latency.record(0.010)
    assert LeastLatency().pick(pool) is pool[1]
    pool[1].in_flight = 1
    assert LeastLatency().pick(pool) is pool[0]


def test_peaks_count_at_once_and_fade_with_time_not_with_requests() -> None:
    clock = FakeClock()
    mean = PeakEwma(decay_s=10, clock=clock)
    mean.record(0.01)
    mean.record(2.0)
    assert mean.seconds == 2.0
    for _ in range(1000):
        mean.record(0.01)
    assert mean.seconds == 2.0
    clock.advance(10)
    mean.record(0.01)
    assert mean.seconds == pytest.approx(2.0 / 2.71828 + 0.01 * (1 - 1 / 2.71828), rel=1e-4)
    clock.advance(1000)
    assert mean.seconds == pytest.approx(0, abs=1e-9)


def test_failing_fast_is_no_merit() -> None:
    pool = members(1, 1)
    pool[0].latency.record(0.0001, failed=True)
    pool[1].latency.record(0.3)
    assert LeastLatency().pick(pool) is pool[1]
    pool[0].latency.record(4.0, failed=True)
    assert pool[0].latency.seconds == 4.0


@given(samples=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 60)), min_size=1, max_size=40))
def test_the_mean_stays_among_its_samples(samples: list[tuple[float, float]]) -> None:
    clock = FakeClock()
    mean = PeakEwma(clock=clock)
    for pause, seconds in samples:
        clock.advance(pause)
        mean.record(seconds)
        assert seconds <= mean.seconds + 1e-9
    assert mean.seconds <= max(seconds for _, seconds in samples) + 1e-9


# Keys.

KEYS = [f"user-{number}" for number in range(3000)]


def placed(pool: Sequence[Member], keys: Sequence[str] = KEYS) -> dict[str, str]:
    picker = ByKey()
    found = {}
    for key in keys:
        one = picker.pick(pool, key=key)
        assert one is not None
        found[key] = one.url
    return found


@settings(max_examples=25, deadline=None)
@given(weights=st.lists(st.floats(0.2, 5), min_size=2, max_size=9), gone=st.integers(0, 8))
def test_only_the_keys_of_who_leaves_move(weights: list[float], gone: int) -> None:
    pool = members(*weights)
    leaving = pool[gone % len(pool)]
    keys = KEYS[:400]
    before, after = placed(pool, keys), placed([o for o in pool if o is not leaving], keys)
    assert all(before[key] == after[key] or before[key] == leaving.url for key in keys)


@settings(max_examples=25, deadline=None)
@given(weights=st.lists(st.floats(0.2, 5), min_size=2, max_size=9), growth=st.floats(1.01, 10))
def test_growing_weight_moves_keys_to_who_grows_only(weights: list[float], growth: float) -> None:
    pool, keys = members(*weights), KEYS[:400]
    before = placed(pool, keys)
    pool[0].weight *= growth
    after = placed(pool, keys)
    assert all(after[key] in (before[key], pool[0].url) for key in keys)


def test_the_keys_of_who_leaves_spread_over_all_others() -> None:
    pool = members(1, 1, 1, 1, 1)
    before, after = placed(pool), placed(pool[1:])
    moved = [key for key in KEYS if before[key] != after[key]]
    assert len(moved) == pytest.approx(len(KEYS) / 5, rel=0.15)
    heirs = Counter(after[key] for key in moved)
    assert all(count == pytest.approx(len(moved) / 4, rel=0.25) for count in heirs.values())


def test_the_order_of_the_pool_and_the_process_do_not_matter() -> None:
    pool = members(1, 2, 3)
    assert placed(pool, KEYS[:200]) == placed(pool[::-1], KEYS[:200])
    # As computed by another process: changing this would move every key at a rollout.
    assert [url[-4] for url in placed(pool, KEYS[:12]).values()] == list("201212221122")


def test_keys_of_an_open_breaker_go_elsewhere_and_come_back() -> None:
    pool = members(1, 1, 1)
    before = placed(pool, KEYS[:300])
    pool[1].open = False
    meanwhile = placed(pool, KEYS[:300])
    assert pool[1].url not in meanwhile.values()
    assert all(meanwhile[k] == before[k] for k in KEYS[:300] if before[k] != pool[1].url)
    pool[1].open = True
    assert placed(pool, KEYS[:300]) == before


@given(pool=POOLS, key=st.text(), bound=st.floats(1, 4))
def test_a_hot_key_takes_no_more_than_its_bound(pool: list[Member], key: str, bound: float) -> None:
    picked = ByKey(bound).pick(pool, key=key)
    usable = [one for one in pool if one.open]
    if picked is not None:
        share = picked.weight / sum(one.weight for one in usable)
        in_flight = sum(one.in_flight for one in usable) + 1
        assert picked.in_flight < bound * in_flight * share * (1 + 1e-9) + 1


def test_a_hot_key_spills_to_its_next_instance_and_only_then() -> None:
    pool, picker = members(1, 1, 1, 1), ByKey()
    for _ in range(100):
        one = picker.pick(pool, key="hot")
        assert one is not None
        one.in_flight += 1
    busy = sorted(one.in_flight for one in pool)
    assert busy == [0, 0, 50, 50]  # twice a quarter each, in the key's own order
