"""Metrics of the jobs that this process does, and of the queue. Labels are names of types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry

from shared.jobs.store.jobs import Depth
from shared.telemetry.metrics import Counter, Gauge, Histogram

_BUCKETS: Final = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400)


class JobMetrics:
    """Every series is there from the start, for each of `names`."""

    def __init__(self, registry: CollectorRegistry, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._duration = Histogram(
            "job_duration_seconds",
            "How long a claim of a job was worked on, whatever came of it",
            ("job_type",),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._failures = Counter(
            "job_failures_total",
            "Attempts that failed: the handler raised, its time was over, its worker was lost for good",
            ("job_type",),
            registry=registry,
        )
        self._queued = Gauge(
            "jobs_queued", "Jobs that could begin now", ("job_type",), registry=registry
        )
        self._oldest = Gauge(
            "oldest_queued_seconds",
            "Since when the oldest job that could begin now could",
            ("job_type",),
            registry=registry,
        )
        for name in self._names:
            self._duration.labels(name)
            self._failures.labels(name)
        self.show({})

    def ended(self, name: str, seconds: float) -> None:
        self._duration.labels(name).observe(seconds)

    def failed(self, name: str) -> None:
        self._failures.labels(name).inc()

    def show(self, depths: Mapping[str, Depth]) -> None:
        for name in self._names:
            depth = depths.get(name, Depth(0, 0.0))
            self._queued.labels(name).set(depth.queued)
            self._oldest.labels(name).set(depth.oldest_s)
