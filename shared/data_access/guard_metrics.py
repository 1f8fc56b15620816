"""What the guards of one process know, as metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.data_access.guard import Guard

_UP: Final = ("store_up", "Whether a store answers, as far as this process knows")
_REFUSED: Final = ("store_refused", "Calls refused because the store didn't answer others")


class GuardMetrics(Collector):
    """Reads `guards`, by the store's name, whenever somebody asks."""

    def __init__(self, guards: Mapping[str, Guard]) -> None:
        self._guards = guards

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(*_UP, labels=("store",))
        refused = CounterMetricFamily(*_REFUSED, labels=("store",))
        for store, guard in self._guards.items():
            up.add_metric((store,), float(guard.up))
            refused.add_metric((store,), guard.refused)
        yield up
        yield refused
