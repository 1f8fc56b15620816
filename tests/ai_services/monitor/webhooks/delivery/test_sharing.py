"""Whose turn it is: laws that hold whatever is due."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from ai_services.monitor.webhooks.delivery.sharing import Bounds, shares
from ai_services.monitor.webhooks.store.claiming import Due

BOUNDS = Bounds(places=8, of_organisation=4, of_webhook=2)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PAIRS = st.tuples(st.integers(1, 4), st.integers(1, 5)).map(
    lambda pair: (UUID(int=pair[0]), UUID(int=pair[0] * 100 + pair[1]))
)


def due(pairs: list[tuple[UUID, UUID]]) -> list[Due]:
    return [
        Due(org_id, webhook_id, NOW + timedelta(seconds=place))
        for place, (org_id, webhook_id) in enumerate(pairs)
    ]


@given(
    st.lists(PAIRS, unique=True, max_size=12),
    st.dictionaries(PAIRS, st.integers(1, 3), max_size=6),
    st.integers(0, 8),
)
def test_bounds_hold_and_no_place_is_left_that_somebody_may_have(
    pairs: list[tuple[UUID, UUID]], sending: dict[tuple[UUID, UUID], int], free: int
) -> None:
    given_now = shares(due(pairs), sending, free, BOUNDS)
    assert set(given_now) <= set(pairs)
    assert sum(given_now.values()) <= free
    after = Counter(sending) + Counter(given_now)
    of_organisation: Counter[UUID] = Counter()
    for (org_id, _), count in after.items():
        of_organisation[org_id] += count
    for pair in given_now:
        assert after[pair] <= BOUNDS.of_webhook
        assert of_organisation[pair[0]] <= BOUNDS.of_organisation
    if sum(given_now.values()) < free:
        assert all(
            after[pair] >= BOUNDS.of_webhook or of_organisation[pair[0]] >= BOUNDS.of_organisation
            for pair in pairs
        )


def test_the_next_place_is_that_of_whom_has_fewest() -> None:
    busy, idle = UUID(int=1), UUID(int=2)
    pairs = [(busy, UUID(int=101)), (idle, UUID(int=201)), (idle, UUID(int=202))]
    sending = {(busy, UUID(int=102)): 1}
    assert shares(due(pairs), sending, 1, BOUNDS) == {pairs[1]: 1}
    assert shares(due(pairs), sending, 2, BOUNDS) == {pairs[0]: 1, pairs[1]: 1}
    assert shares(due(pairs), sending, 3, BOUNDS) == {pairs[0]: 1, pairs[1]: 1, pairs[2]: 1}


def test_thousands_of_webhooks_are_shared_among_in_no_time() -> None:
    """Each is looked at a few times at most, not once for every place."""
    looked_at = 0

    class Looked(Due):
        def __getattribute__(self, name: str) -> object:
            nonlocal looked_at
            looked_at += 1
            return super().__getattribute__(name)

    pairs = [(UUID(int=number % 50), UUID(int=number)) for number in range(5_000)]
    counted = [Looked(org_id, webhook_id, NOW) for org_id, webhook_id in pairs]
    assert sum(shares(counted, {}, 64, Bounds()).values()) == 64
    assert looked_at < 100 * len(pairs)
