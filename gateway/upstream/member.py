"""A member of a pool: one instance, and how it has done of late."""

from __future__ import annotations

from gateway.resilience.breaker import Breaker
from gateway.resilience.slow_start import SlowStart
from gateway.upstream.instance import Instance
from gateway.upstream.peak_ewma import PeakEwma


class Member:
    """An instance in a pool. Its pool is the only one to change what is kept here.

    The same instance in the pool that follows (another policy) is another member, and begins anew.
    """

    def __init__(self, instance: Instance, breaker: Breaker, slow_start: SlowStart) -> None:
        self.instance = instance
        self.url = instance.url
        self.name = instance.name
        self.breaker = breaker
        self.latency = PeakEwma()
        self.slow_start = slow_start
        self.base_weight = 1.0  # by its version's share

    @property
    def weight(self) -> float:
        """Its share of the requests, compared with the others of its pool."""
        return self.base_weight * self.slow_start.factor

    @property
    def in_flight(self) -> int:
        """Exchanges that have not ended, the gateway's own calls included."""
        return self.instance.in_flight

    def admits(self) -> bool:
        """Whether its breaker would admit a request now."""
        return self.breaker.admits()
