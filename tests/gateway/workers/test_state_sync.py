"""What one worker learns of an instance holds in all, whatever becomes of the messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.resilience.breaker import REFUSED, BreakerPolicy, CircuitState, Ticket
from gateway.resilience.outcome import Outcome
from gateway.resilience.outliers import OutlierPolicy
from gateway.timeouts import Timeouts
from gateway.upstream.discovery import Discovery
from gateway.upstream.member import Member
from gateway.upstream.policy import ServicePolicy
from gateway.upstream.pool import Pool, Pools
from gateway.workers.state_sync import SILENT_S, StateSync
from gateway.workers.worker import WorkerPlace
from shared.data_access.cache.redis import RedisCache
from tests.gateway.fake_time import FakeClock

CLOSED, HALF_OPEN, OPEN = CircuitState
OK, BAD = Outcome.SUCCESS, Outcome.GATEWAY_ERROR
POLICY = ServicePolicy(
    breaker=BreakerPolicy(jitter=0.0, open_s=30.0, longest_s=300.0),
    outliers=OutlierPolicy(errors=None, gateway_errors=None),
)
EJECTING = ServicePolicy(breaker=BreakerPolicy(consecutive=10**9, requests=10**9))


class Worker:
    """A worker as far as the state that is shared goes: its own pools, breakers and memory."""

    def __init__(self, port: Port, number: int) -> None:
        place = WorkerPlace(number, tuple(range(port.size)), port.folder)
        urls = [f"http://127.0.0.1:{one}" for one in range(1, port.instances + 1)]
        discovery = Discovery(port.cache, {"portrait": urls}, Timeouts())
        self.number = number
        self.pools = Pools(discovery, port.policy, place.share, port.clock)
        self.pool: Pool = self.pools.of("portrait")
        self.pool.members()
        self.sync = StateSync(
            number, self.pools, lambda said, to: port.send(number, said, to), port.clock
        )
        self.pools.on_change(self.sync.noticed)

    def member(self, instance: int = 0) -> Member:
        return self.pool.members()[instance]

    def lost(self, instance: int = 0) -> None:
        """It can't be connected to from here."""
        self.member(instance).instance.believe(unreachable=True)

    def back(self, instance: int = 0) -> None:
        """It can be connected to again."""
        self.pool.came_back(self.member(instance).instance)

    def acquire(self, instance: int = 0) -> Ticket:
        return self.pool.acquire(self.member(instance))

    def end(self, ticket: Ticket, outcome: Outcome, instance: int = 0) -> None:
        self.pool.ended(self.member(instance), ticket, outcome, 0.01)

    def ask(self, *outcomes: Outcome, instance: int = 0) -> None:
        for outcome in outcomes:
            self.end(self.acquire(instance), outcome, instance)

    def state(self, instance: int = 0) -> CircuitState:
        return self.member(instance).breaker.state

    def out(self) -> list[int]:
        """The instances that get no requests."""
        eligible = {one.url for one in self.pool._outliers.eligible()}
        return [n for n, one in enumerate(self.pool.members()) if one.url not in eligible]


class Port:
    """Workers and the messages that are under way between them."""

    def __init__(self, size: int = 2, instances: int = 1, policy: ServicePolicy = POLICY) -> None:
        self.size, self.instances, self.policy = size, instances, policy
        self.clock = FakeClock()
        self.cache = RedisCache("redis://127.0.0.1:1/0")  # never asked
        self.folder = Path("/nonexistent")  # never written to
        self.under_way: list[tuple[int, int, bytes]] = []
        self.workers = {n: Worker(self, n) for n in range(1, size + 1)}

    def __iter__(self) -> Iterator[Worker]:
        return iter(self.workers.values())

    def send(self, sender: int, said: bytes, to: int | None) -> None:
        for other in self.workers if to is None else (to,):
            if other != sender:
                self.under_way.append((sender, other, said))

    def deliver(self) -> None:
        while self.under_way:
            sender, to, said = self.under_way.pop(0)
            if to in self.workers:
                self.workers[to].sync.hear(sender, said)

    def lose(self) -> None:
        self.under_way.clear()

    def gossip(self, seconds: float = 0.0) -> None:
        """What happens by itself: everybody says everything, every second."""
        for _ in range(max(1, int(seconds))):
            if seconds:
                self.clock.advance(1.0)
            for worker in self:
                worker.sync.repeat()
            self.deliver()

    def states(self, instance: int = 0) -> list[CircuitState]:
        return [worker.state(instance) for worker in self]


def opened(port: Port) -> Port:
    next(iter(port)).ask(*[BAD] * 5)
    port.deliver()
    return port


def half_open(port: Port) -> Port:
    opened(port).clock.advance(30)
    return port


# Circuits.


def test_what_one_opens_is_open_in_all_until_the_same_moment() -> None:
    port = opened(Port(4))
    assert port.states() == [OPEN] * 4
    port.clock.advance(29.9)
    assert [worker.acquire() for worker in port] == [REFUSED] * 4
    port.clock.advance(0.2)
    assert port.states() == [HALF_OPEN] * 4


@pytest.mark.parametrize(("size", "probes"), [(1, 3), (2, 3), (3, 3), (4, 4), (7, 7)])
def test_all_together_admit_the_probes_of_one_or_one_each(size: int, probes: int) -> None:
    port = half_open(Port(size))
    admitted = [ticket for _ in range(5) for worker in port if (ticket := worker.acquire())]
    assert len(admitted) == probes


@given(places=st.integers(1, 20), workers=st.integers(1, 40))
def test_shares_add_up(places: int, workers: int) -> None:
    port = Port(1)
    parts = [
        WorkerPlace(number, tuple(range(workers)), port.folder).share(places)
        for number in range(1, workers + 1)
    ]
    assert sum(parts) == max(places, workers)
    assert min(parts) >= 1


def test_answered_probes_of_all_close_all() -> None:
    port = half_open(Port(3))
    one, two, three = port
    one.ask(OK)
    two.ask(OK)
    port.deliver()
    assert port.states() == [HALF_OPEN] * 3
    three.ask(OK)
    assert three.state() is CLOSED
    port.deliver()
    assert port.states() == [CLOSED] * 3


def test_a_worker_without_requests_holds_nobody_up() -> None:
    port = half_open(Port(4))
    *_, last = port
    last.ask(OK, OK, OK)
    port.deliver()
    assert port.states() == [CLOSED] * 4


def test_one_failed_probe_opens_all_again_for_longer() -> None:
    port = half_open(Port(3))
    one, two, three = port
    waiting = three.acquire()
    one.ask(OK)
    two.ask(BAD)
    port.deliver()
    assert port.states() == [OPEN] * 3
    assert {worker.member().breaker.snapshot().opened for worker in port} == {2}
    three.end(waiting, OK)  # it was asked before: it says nothing any more
    port.deliver()
    assert port.states() == [OPEN] * 3
    port.clock.advance(59.9)
    assert port.states() == [OPEN] * 3


def test_two_that_fail_at_once_are_one_opening_and_the_later_end_holds() -> None:
    port = Port(2)
    one, two = port
    one.ask(*[BAD] * 5)
    port.clock.advance(0.001)
    two.ask(*[BAD] * 5)
    port.deliver()
    ends = {worker.member().breaker.told()[0] for worker in port}
    assert ends == {port.clock.now + 30}
    assert {worker.member().breaker.snapshot().opened for worker in port} == {1}


def test_of_a_closing_and_an_opening_at_once_the_opening_holds() -> None:
    port = half_open(Port(2))
    one, two = port
    failing = two.acquire()
    one.ask(OK, OK, OK)
    two.end(failing, BAD)
    port.deliver()
    assert port.states() == [OPEN] * 2


def test_who_starts_later_learns_what_is_open_and_counts_on_from_there() -> None:
    port = half_open(Port(2))
    two = port.workers[2]
    two.ask(BAD)
    port.deliver()
    port.workers[1] = Worker(port, 1)
    assert port.states() == [CLOSED, OPEN]
    two.sync.greet(1)
    port.deliver()
    assert port.states() == [OPEN, OPEN]
    port.clock.advance(60)
    port.workers[1].ask(BAD)
    port.deliver()
    assert {worker.member().breaker.snapshot().opened for worker in port} == {3}


def test_what_was_lost_comes_with_the_next_second() -> None:
    port = Port(3)
    next(iter(port)).ask(*[BAD] * 5)
    port.lose()
    assert port.states() == [OPEN, CLOSED, CLOSED]
    port.gossip(1)
    assert port.states() == [OPEN] * 3
    port.clock.advance(30)
    next(iter(port)).ask(OK, OK)
    port.lose()
    next(iter(port)).ask(OK)
    port.lose()
    port.gossip(1)
    assert port.states() == [CLOSED] * 3


def test_an_old_message_changes_nothing() -> None:
    port = opened(Port(2))
    one, two = port
    one.sync.repeat()
    old = [*port.under_way]
    port.lose()
    port.clock.advance(30)
    one.ask(OK, OK)
    two.ask(OK)
    port.deliver()
    assert port.states() == [CLOSED] * 2
    port.under_way = old
    port.deliver()
    assert port.states() == [CLOSED] * 2


def test_an_instance_that_comes_back_closes_all() -> None:
    port = Port(3)
    one, two, three = port
    one.lost()
    one.ask(*[BAD] * 5)
    port.deliver()
    assert two.member().instance.unreachable  # whoever connects next notices its return
    two.back()
    port.deliver()
    assert port.states() == [CLOSED] * 3
    assert not three.member().instance.unreachable


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"rows": [[]], "able": true, "ill": null}',
        b'{"rows": [["portrait", "u", "n", "x", 0, 0, 0, 0, 0, 0, 0, 0]], "able": true, "ill": null}',
        b'{"rows": [], "able": true, "ill": [["a"]]}',
        b'{"rows": [["portrait", "u", "n", 9, 1e300, 0, 0, 0, 9, 9, 9, 0]], "able": 0, "ill": null}',
    ],
)
def test_what_can_not_be_read_or_is_of_somebody_unknown_changes_nothing(message: bytes) -> None:
    port = Port(2)
    next(iter(port)).sync.hear(2, message)
    assert (port.states(), port.under_way) == ([CLOSED] * 2, [])


def test_no_message_opens_for_longer_than_the_policy_allows() -> None:
    port = Port(2)
    one, _ = port
    name = one.member().name
    row = f'["portrait", "{one.member().url}", "{name}", 9, 1e300, 1, 1, 0, 9, 1e300, 1, false]'
    one.sync.hear(2, f'{{"rows": [{row}], "able": true, "ill": null}}'.encode())
    assert one.state() is OPEN
    port.clock.advance(300)
    assert one.state() is HALF_OPEN


# Ejections.


def test_what_one_ejects_is_ejected_by_all_and_for_longer_each_time() -> None:
    port = Port(3, instances=4, policy=EJECTING)
    one, two, _ = port
    one.ask(*[BAD] * 5, instance=2)
    port.deliver()
    assert [worker.out() for worker in port] == [[2]] * 3
    port.clock.advance(30)
    assert [worker.out() for worker in port] == [[]] * 3
    two.ask(*[BAD] * 5, instance=2)
    port.deliver()
    port.clock.advance(59)
    assert [worker.out() for worker in port] == [[2]] * 3


def test_two_that_eject_too_many_at_once_agree_on_who_stays_out() -> None:
    port = Port(2, instances=2, policy=EJECTING)
    one, two = port
    one.ask(*[BAD] * 5, instance=0)
    port.clock.advance(0.001)
    two.ask(*[BAD] * 5, instance=1)
    port.deliver()
    port.gossip(2)
    assert [worker.out() for worker in port] == [[1]] * 2


def test_who_came_back_and_answers_its_check_is_in_again_everywhere() -> None:
    port = Port(2, instances=2, policy=EJECTING)
    one, two = port
    two.lost(1)
    two.ask(*[BAD] * 5, instance=1)
    port.deliver()
    one.pool.passed(one.member(1))  # a check on a connection from before says nothing
    assert [worker.out() for worker in port] == [[1]] * 2
    assert one.member(1).instance.unreachable
    one.back(1)
    assert one.out() == [1]
    one.pool.passed(one.member(1))
    port.deliver()
    assert [worker.out() for worker in port] == [[]] * 2


def test_who_was_ejected_after_its_return_stays_out() -> None:
    port = Port(1, instances=2, policy=EJECTING)
    (one,) = port
    one.back(1)
    one.ask(*[BAD] * 5, instance=1)
    one.pool.passed(one.member(1))
    assert one.out() == [1]


# Health.


def test_one_worker_makes_the_checks_and_all_know_what_it_finds() -> None:
    port = Port(3, instances=4)
    port.gossip(4)
    one, *others = port
    assert [worker.sync.checks for worker in port] == [True, False, False]
    one.pool.mark(one.member(3), healthy=False)
    port.deliver()
    assert [worker.out() for worker in others] == [[3]] * 2
    one.pool.mark(one.member(3), healthy=True)
    port.lose()
    port.gossip(1)
    assert [worker.out() for worker in others] == [[]] * 2


def test_when_it_falls_silent_the_next_one_goes_on_from_what_it_knows() -> None:
    port = Port(3, instances=4)
    port.gossip(4)
    one = port.workers.pop(1)
    one.pool.mark(one.member(3), healthy=False)
    port.deliver()
    port.gossip(SILENT_S + 1)
    two, three = port
    assert [worker.sync.checks for worker in port] == [True, False]
    assert [worker.pool.healthy(worker.member(3)) for worker in port] == [False] * 2
    two.pool.mark(two.member(3), healthy=True)
    port.deliver()
    assert three.out() == []


@pytest.mark.parametrize("greeted", [True, False])
def test_a_new_worker_knows_who_is_ill_before_it_says_who_is(greeted: bool) -> None:
    port = Port(2, instances=4)
    port.gossip(4)
    one = port.workers[1]
    one.pool.mark(one.member(3), healthy=False)
    port.deliver()
    port.gossip(1)
    new = port.workers[1] = Worker(port, 1)
    if greeted:
        port.workers[2].sync.greet(1)
    else:
        new.sync.repeat()
    port.deliver()
    assert new.sync.checks is greeted
    port.gossip(SILENT_S + 1)  # without a greeting, the other one is the checker meanwhile
    assert [worker.out() for worker in port] == [[3]] * 2
    assert [worker.sync.checks for worker in port] == [True, False]


def test_nobody_waits_for_ever_for_one_who_knows() -> None:
    port = Port(3)
    port.gossip(1)
    assert not any(worker.sync.checks for worker in port)
    port.gossip(SILENT_S)
    assert sum(worker.sync.checks for worker in port) == 1


# Laws.


class AnyHistory(RuleBasedStateMachine):
    """Requests, restarts and messages in any order; afterwards all agree, and all come back."""

    @initialize(size=st.integers(2, 4))
    def begin(self, size: int) -> None:
        self.port = Port(size, instances=3, policy=ServicePolicy())
        self.held: list[tuple[Worker, int, Ticket]] = []

    def worker(self, number: int) -> Worker:
        return self.port.workers[number % self.port.size + 1]

    @rule(number=st.integers(0, 9), instance=st.integers(0, 2), times=st.integers(1, 6))
    def ask(self, number: int, instance: int, times: int) -> None:
        worker = self.worker(number)
        for _ in range(times):
            if ticket := worker.acquire(instance):
                self.held.append((worker, instance, ticket))

    @rule(outcome=st.sampled_from([*Outcome, BAD, BAD]), count=st.integers(1, 8))
    def end(self, outcome: Outcome, count: int) -> None:
        for _ in range(min(count, len(self.held))):
            worker, instance, ticket = self.held.pop(0)
            worker.end(ticket, outcome, instance)

    @rule(number=st.integers(0, 9), instance=st.integers(0, 2), healthy=st.booleans())
    def check(self, number: int, instance: int, healthy: bool) -> None:
        worker = self.worker(number)
        if worker.sync.checks:
            worker.pool.mark(worker.member(instance), healthy=healthy)

    @rule(number=st.integers(0, 9), instance=st.integers(0, 2))
    def come_back(self, number: int, instance: int) -> None:
        worker = self.worker(number)
        worker.back(instance)
        worker.pool.passed(worker.member(instance))

    @rule(number=st.integers(0, 9), knows=st.booleans())
    def restart(self, number: int, knows: bool) -> None:
        place = number % self.port.size + 1
        self.held = [one for one in self.held if one[0].number != place]
        new = self.port.workers[place] = Worker(self.port, place)
        if knows:
            for other in self.port:
                if other is not new:
                    other.sync.greet(place)

    @rule(number=st.integers(0, 9))
    def repeat(self, number: int) -> None:
        self.worker(number).sync.repeat()

    @rule(which=st.integers(0, 50), fate=st.sampled_from(["deliver", "lose", "again"]))
    def message(self, which: int, fate: str) -> None:
        if not self.port.under_way:
            return
        at = which % len(self.port.under_way)
        sender, to, said = self.port.under_way[at]
        if fate != "again":
            del self.port.under_way[at]
        if fate != "lose":
            self.port.workers[to].sync.hear(sender, said)

    @rule(seconds=st.sampled_from([0.01, 1.0, 4.0, 29.0, 61.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.port.clock.advance(seconds)

    @invariant()
    def probes_are_bounded(self) -> None:
        if not hasattr(self, "port"):
            return
        for instance in range(3):
            breakers = [worker.member(instance).breaker for worker in self.port]
            assert sum(one.snapshot().probes for one in breakers) <= max(3, self.port.size)

    def teardown(self) -> None:
        if not hasattr(self, "port"):
            return
        port = self.port
        port.lose()
        port.gossip(SILENT_S + 3)
        for instance in range(3):
            told = {worker.member(instance).breaker.told()[:2] for worker in port}
            assert len(told) == 1
        assert len({tuple(worker.out()) for worker in port}) == 1
        port.clock.advance(400)
        for worker in port:
            assert not [one for one in worker.pool._outliers.snapshot().values() if one.ejected_for]
        for worker, instance, ticket in self.held:
            worker.end(ticket, Outcome.CANCELLED, instance)
        for instance in range(3):
            assert all(worker.acquire(instance) for worker in port)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
