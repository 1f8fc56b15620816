"""GCRA, the generic cell rate algorithm (ITU-T I.371), as arithmetic on one number per key.

That number is the theoretical arrival time (TAT): the moment at which the key's bucket is full
again. A request of cost n is allowed if, moved n intervals later, it stays within the tolerance.
`Bucket` is what one process knows of a key that several count together.
"""

from __future__ import annotations

import math
from typing import Final

from gateway.expiring_cache import Entry
from gateway.limits.limit import Limit

NEVER: Final = float("-inf")
_ROUNDING: Final = 1 + 1e-9  # a sum of intervals may end a few bits beyond their product


class Rule:
    """A limit with the numbers that its arithmetic needs.

    Of `share` processes that count together each may hold `lease` units that it has not given
    out yet: 1% of the burst in all.
    """

    def __init__(self, limit: Limit, identity: str, share: int) -> None:
        self.limit = limit
        self.id = identity
        self.burst = limit.burst
        self.interval = limit.interval
        self.room = limit.tolerance * _ROUNDING
        self.lease = limit.burst // (100 * share)
        # Counting alone, a process gives out its part of the rate and of the burst; the tolerance
        # in seconds stays, but must hold at least one request.
        self.alone = limit.interval * share
        self.room_alone = max(self.room, self.alone * _ROUNDING)


class Bucket(Entry):
    """What one process knows of one key's count.

    `tat` is never later than the shared one (in seconds of the process's clock): what is over the
    limit by it is over the limit.
    """

    def __init__(self, rule: Rule, key: str) -> None:
        super().__init__()
        self.rule = rule
        self.key = key
        self.tat = NEVER
        self.leased = 0  # units taken from the shared count and not given out yet
        self.asleep_until = NEVER  # before that, asking again would bring too little
        self.forgotten = False  # another one counts for the key now

    def follow(self, rule: Rule) -> None:
        """Count by another rule from now on: another route's of that name, or a new route table's."""
        if rule.limit != self.rule.limit:
            self.leased = 0
            self.asleep_until = NEVER
        self.rule = rule

    def available(self, now: float) -> int:
        """Units that may still be given out now, as far as is known here."""
        rule = self.rule
        left = (now + rule.room - self.tat) / rule.interval if self.tat > now else rule.burst
        return min(rule.burst, max(0, math.floor(left)) + self.leased)

    def wait(self, now: float, cost: int) -> float:
        """Seconds until a request of `cost` can be allowed; 0 if it may be now."""
        rule = self.rule
        if self.tat <= now:
            return 0.0
        return max(0.0, self.tat + cost * rule.interval - now - rule.room)

    def refusing(self, now: float, cost: int) -> float:
        """Seconds for which a request is refused without asking Redis; 0 if asking may help."""
        if self.leased >= cost:
            return 0.0
        return max(self.wait(now, cost), self.asleep_until - now)

    def learn(self, sent: float, ahead: float, granted: int) -> None:
        """Take over an answer of the shared count: `ahead` is TAT − its clock, `granted` a lease.

        It was asked at `sent` and looked at its clock later, so this TAT is too early by at most
        the round trip.
        """
        rule = self.rule
        self.tat = sent + ahead
        self.leased += granted
        missing = rule.interval - (rule.room - ahead)
        # An empty bucket is left alone until a lease has come together again: at 10,000/s one
        # token comes every 100 µs, and asking for each costs more than the request.
        empty = missing > 0 and self.leased == 0 and rule.lease > 1
        self.asleep_until = sent + missing + (rule.lease - 1) * rule.interval if empty else NEVER

    def wait_alone(self, now: float, cost: int) -> float:
        """`wait` for a process that counts its part alone."""
        rule = self.rule
        if self.tat <= now:
            return 0.0
        need = min(cost * rule.alone, rule.room_alone / _ROUNDING)
        return max(0.0, self.tat + need - now - rule.room_alone)

    def spend_alone(self, now: float, cost: int) -> None:
        """Count a request that `wait_alone` lets through."""
        self.tat = max(self.tat, now) + cost * self.rule.alone
