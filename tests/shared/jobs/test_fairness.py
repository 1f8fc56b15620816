"""Nobody is held up by how much another has to do."""

from __future__ import annotations

from collections import Counter, deque
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.jobs.fairness import Waiting, most_places, shares

NOW = datetime(2026, 11, 29, tzinfo=UTC)
A, B, C = (UUID(int=n) for n in (1, 2, 3))
owners = st.integers(0, 6).map(lambda n: UUID(int=n))
waitings = st.dictionaries(owners, st.tuples(st.integers(0, 9), st.integers(0, 1000))).map(
    lambda them: [
        Waiting(owner, NOW - timedelta(seconds=age), running)
        for owner, (running, age) in them.items()
    ]
)


def share(waiting, free, *, places=None, here=None, served=None):
    return shares(waiting, free=free, places=places or free, here=here or {}, served=served or {})


def test_places_are_shared_evenly():
    waiting = [Waiting(A, NOW - timedelta(hours=9), 0), Waiting(B, NOW, 0)]
    assert share(waiting, 4) == {A: 2, B: 2}


def test_whoever_has_fewest_running_comes_first():
    waiting = [Waiting(A, NOW - timedelta(hours=9), 3), Waiting(B, NOW, 0)]
    assert share(waiting, 1) == {B: 1}


def test_one_owner_leaves_a_place_to_others():
    assert share([Waiting(A, NOW, 0)], 4) == {A: 3}
    assert share([Waiting(A, NOW, 0)], 1, places=4, here={A: 3}) == {}
    assert share([Waiting(A, NOW, 3), Waiting(B, NOW, 0)], 1, places=4, here={A: 3}) == {B: 1}
    assert share([Waiting(A, NOW, 0)], 1) == {A: 1}  # of one place there is none to leave


@given(st.integers(1, 100))
def test_an_owner_may_hold_most_places_and_never_none(places):
    assert 1 <= most_places(places) <= places
    assert places == 1 or most_places(places) < places


@given(waitings, st.integers(0, 12), st.integers(0, 12), st.dictionaries(owners, st.integers(0, 9)))
def test_no_more_is_given_than_is_free_and_nothing_is_left_without_reason(
    waiting, free, taken, served
):
    places = free + taken
    here = {waiting[0].owner: taken} if waiting and taken else {}
    given_ = share(waiting, free, places=max(1, places), here=here, served=served)
    most = most_places(max(1, places))
    assert sum(given_.values()) <= free
    assert all(here.get(owner, 0) + count <= most for owner, count in given_.items() if count)
    may_have_more = [
        one for one in waiting if here.get(one.owner, 0) + given_.get(one.owner, 0) < most
    ]
    assert sum(given_.values()) == free or not may_have_more


@given(waitings, st.integers(1, 12))
def test_nobody_gets_a_second_place_more_than_somebody_who_could_have_it(waiting, free):
    given_ = share(waiting, free)
    most = most_places(free)
    for one in waiting:
        for other in waiting:
            if given_.get(one.owner, 0) and given_.get(other.owner, 0) < most:
                mine = one.running + given_[one.owner]
                assert mine <= other.running + given_.get(other.owner, 0) + 1


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 5))
def test_whoever_waits_is_served_within_one_turn_of_each_other(backlogs, late):
    """One place, jobs that end at once, somebody who comes late with one job."""
    queues = {UUID(int=n): deque(range(count)) for n, count in enumerate(backlogs)}
    newcomer = UUID(int=99)
    served: dict[UUID, int] = {}
    waited: Counter[UUID] = Counter()
    for turn in range(1, sum(backlogs) + 2):
        if turn == late + 1:
            queues[newcomer] = deque([0])
        waiting = [
            Waiting(owner, NOW + timedelta(seconds=queue[0]), 0)
            for owner, queue in queues.items()
            if queue
        ]
        if not waiting:
            continue
        (owner,) = share(waiting, 1, served=served)
        queues[owner].popleft()
        for one in waiting:
            waited[one.owner] += 1
        waited[owner] = 0
        served[owner] = turn
        assert max(waited.values()) < len(queues) + 1
