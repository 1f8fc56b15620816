"""How busy the connections to PostgreSQL of one process are, as metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.data_access.relational.fair_turns import FairTurns


class PoolMetrics(Collector):
    """Reads the turns at the connections whenever somebody asks."""

    def __init__(self, turns: FairTurns) -> None:
        self._turns = turns

    def collect(self) -> Iterator[Metric]:
        turns = self._turns
        yield GaugeMetricFamily(
            "postgres_connections_in_use", "Connections that work for somebody", turns.taken
        )
        yield GaugeMetricFamily(
            "postgres_connections_max", "The most that this process opens", turns.limit
        )
        yield GaugeMetricFamily(
            "postgres_connections_waiters", "Transactions that wait for one", turns.waiters
        )
