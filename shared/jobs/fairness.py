"""Who is served next: free places are shared out among the owners of waiting jobs.

An owner is an organisation, or the platform itself. The next place goes to who has the fewest
jobs running, of those to who was served longest ago, of those to whose job waits longest. So ten
thousand jobs of one are at most one place ahead of the first of another. And one owner holds at
most four fifths of a process's places (of one place: all), so that jobs of hours leave some to the
others at any time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

_KEPT: Final = 5  # of so many places one is left to others


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody's jobs in the queue: the oldest is due since `since`; `running` anywhere by now."""

    owner: UUID
    since: datetime
    running: int


def most_places(places: int) -> int:
    """How many of a process's places one owner may hold."""
    return places if places == 1 else places - max(1, places // _KEPT)


def shares(
    waiting: Collection[Waiting],
    *,
    free: int,
    places: int,
    here: Mapping[UUID, int],
    served: Mapping[UUID, int],
) -> dict[UUID, int]:
    """How many of the `free` places of this process each owner gets, in the order of their turns.

    `places` are all that it has, `here` is who holds how many, `served` the number of the round in
    which each was served last.
    """
    given: Counter[UUID] = Counter()
    most = most_places(places)

    def rank(one: Waiting) -> tuple[int, int, datetime, UUID]:
        turn = served.get(one.owner, 0)
        return one.running + given[one.owner], turn, one.since, one.owner

    for _ in range(free):
        may = [one for one in waiting if here.get(one.owner, 0) + given[one.owner] < most]
        if not may:
            break
        given[min(may, key=rank).owner] += 1
    return dict(given)
