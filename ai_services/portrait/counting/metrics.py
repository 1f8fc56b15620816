"""What the service measures of its counting: how fresh portraits are, and how much is to be counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from prometheus_client import CollectorRegistry

from ai_services.portrait.counting.store import Batch, Waiting
from shared.telemetry.metrics import Counter, Gauge, Histogram

_LAGS: Final = (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300, 1800)


class CountingMetrics:
    """Of all organisations together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._freshness = Gauge(
            "portrait_freshness_seconds",
            "Age of the oldest change of a call that is in no portrait yet; 0 without any",
            registry=registry,
        )
        self._pending = Gauge(
            "portrait_changes_pending",
            "Changes of calls that are in no portrait yet",
            registry=registry,
        )
        self._counted = Counter(
            "portrait_changes_counted_total",
            "Changes of calls that were counted in portraits",
            registry=registry,
        )
        self._lag = Histogram(
            "portrait_counting_lag_seconds",
            "From a change of a call until it is in all portraits: the longest of each batch",
            buckets=_LAGS,
            registry=registry,
        )

    def waiting(self, waiting: Sequence[Waiting]) -> None:
        self._freshness.set(max((one.age_s for one in waiting), default=0.0))

    def pending(self, changes: int) -> None:
        self._pending.set(changes)

    def counted(self, batch: Batch) -> None:
        self._counted.inc(batch.changes)
        self._lag.observe(max(0.0, (datetime.now(UTC) - batch.changed_at).total_seconds()))
