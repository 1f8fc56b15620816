"""Who is sent to next: no webhook, and no organisation, takes the places of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import heapify, heappop, heappush
from uuid import UUID

from ai_services.monitor.webhooks.store.claiming import Due


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is sent at a time: by one process, and by all of them to whom."""

    places: int = 64
    of_organisation: int = 16
    of_webhook: int = 4


def shares(
    due: Sequence[Due], sending: Mapping[tuple[UUID, UUID], int], free: int, bounds: Bounds
) -> dict[tuple[UUID, UUID], int]:
    """(organisation, webhook) → how many of the `free` places it gets.

    `sending` is what any process sends at the moment. The next place goes to the organisation that
    has the fewest, there to the webhook that has the fewest, of those to whom waits longest.
    """
    taken = Counter(sending)
    of_organisation: Counter[UUID] = Counter()
    for (org_id, _), count in sending.items():
        of_organisation[org_id] += count

    def rank(one: Due) -> tuple[int, int, datetime]:
        return of_organisation[one.org_id], taken[one.org_id, one.webhook_id], one.since

    given: Counter[tuple[UUID, UUID]] = Counter()
    ranked = [(rank(one), place) for place, one in enumerate(due)]
    heapify(ranked)
    while free > 0 and ranked:
        known, place = heappop(ranked)
        one = due[place]
        now = rank(one)
        if now[0] >= bounds.of_organisation or now[1] >= bounds.of_webhook:
            continue
        if now == known:
            of_organisation[one.org_id] += 1
            taken[one.org_id, one.webhook_id] += 1
            given[one.org_id, one.webhook_id] += 1
            free -= 1
        heappush(
            ranked, (rank(one), place)
        )  # ranks only grow: the first that is current is the least
    return dict(given)
