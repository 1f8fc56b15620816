"""At which hour a customer is likeliest to answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ai_services.portrait.customers.store import CustomerCall
from shared.calls import CONNECTED

FEWEST: Final = 3  # calls in an hour, to speak of it
_Z: Final = 1.96


@dataclass(frozen=True, slots=True)
class BestTime:
    """`rate` = answered / calls at this local hour; `at_least` is what it is with 97.5 % confidence."""

    hour: int
    calls: int
    answered: int
    at_least: float

    @property
    def rate(self) -> float:
        return self.answered / self.calls


def best_time(calls: Iterable[CustomerCall]) -> BestTime | None:
    """The hour with the highest lower bound, the earliest of several; None where no hour has 3 calls or
    none was answered.
    """
    made: Counter[int] = Counter()
    answered: Counter[int] = Counter()
    for call in calls:
        made[call.local.hour] += 1
        answered[call.local.hour] += call.call_status == CONNECTED
    hours = [
        BestTime(hour, count, answered[hour], lower_bound(answered[hour], count))
        for hour, count in sorted(made.items())
        if count >= FEWEST and answered[hour]
    ]
    return max(hours, key=lambda one: one.at_least, default=None)


def lower_bound(hits: int, of: int) -> float:
    """Of Wilson's score interval (1927) for a proportion, 95 % two-sided."""
    share, z2 = hits / of, _Z * _Z
    centre = share + z2 / (2 * of)
    spread = _Z * math.sqrt((share * (1 - share) + z2 / (4 * of)) / of)
    return max(0.0, (centre - spread) / (1 + z2 / of))
