"""The Prometheus metrics of one process, none of which can grow without bound.

Counters, gauges and histograms are those of this module: their labels stand in labels.py, and a
value beyond a label's bound counts as "other", which is logged once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shared.telemetry.labels import LABELS, OTHER, check_labels
from shared.telemetry.organisations import OrganisationLabels

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_log = structlog.get_logger("looma.metrics")


class BoundedRegistry(CollectorRegistry):
    """Takes only metrics whose labels are in the table; ValueError for any other."""

    def register(self, collector: Collector) -> None:
        for name, labels in _labelled(collector):
            check_labels(name, labels)
            if labels and isinstance(collector, _LIBRARYS) and not isinstance(collector, _Bounded):
                raise ValueError(
                    f"{name} has labels and is one of prometheus_client itself, whose series have "
                    "no bound. Make it with the class of that name of shared.telemetry.metrics."
                )
        super().register(collector)


if TYPE_CHECKING:
    _Metric = prometheus_client.metrics.MetricWrapperBase
else:
    _Metric = object


class _Bounded(_Metric):
    """A metric each of whose labels has at most as many values as the table says."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._seen: dict[str, set[str]] = {}
        self._known: set[tuple[object, ...]] = set()
        super().__init__(*args, **kwargs)

    def labels(self, *labelvalues: object, **labelkwargs: object) -> Self:
        """The series of these values, in the order of the metric's labels or by name."""
        values = labelvalues
        if labelkwargs and labelkwargs.keys() == set(self._labelnames):
            values, labelkwargs = tuple(labelkwargs[name] for name in self._labelnames), {}
        if values not in self._known:
            values = self._within_bounds(values)
        return super().labels(*values, **labelkwargs)

    def clear(self) -> None:
        self._seen.clear()
        self._known.clear()
        super().clear()

    def _within_bounds(self, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(values) != len(self._labelnames):
            return values  # refused by the library, in its words
        bounded = tuple(map(self._counted, self._labelnames, map(str, values)))
        if bounded == values:
            self._known.add(values)
        return bounded

    def _counted(self, label: str, value: str) -> str:
        seen = self._seen.setdefault(label, set())
        if value in seen:
            return value
        if len(seen) < LABELS[label]:
            seen.add(value)
            return value
        if OTHER not in seen:
            seen.add(OTHER)
            _log.warning(
                "label_has_too_many_values", metric=self._name, label=label, bound=LABELS[label]
            )
        return OTHER


class Counter(_Bounded, prometheus_client.Counter):
    """See _Bounded."""


class Gauge(_Bounded, prometheus_client.Gauge):
    """See _Bounded."""


class Histogram(_Bounded, prometheus_client.Histogram):
    """See _Bounded."""


_LIBRARYS: Final = prometheus_client.metrics.MetricWrapperBase


def process_registry() -> CollectorRegistry:
    """The Prometheus registry of one process, with what is measured of any process."""
    registry = BoundedRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Metrics:
    """The Prometheus registry of one process with what every service counts.

    `organisations` are those that have series of their own in what the service itself counts.
    """

    def __init__(self, service: str, organisations: int) -> None:
        self.registry = process_registry()
        self.organisations = OrganisationLabels(organisations)
        self.requests = Counter(
            "http_requests_total",
            "Requests answered",
            ("service", "method", "route", "status"),
            registry=self.registry,
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "From the request's head read to the answer written",
            ("service", "method", "route"),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "http_requests_in_flight",
            "Requests being answered",
            ("service",),
            registry=self.registry,
        ).labels(service)


def _labelled(collector: Collector) -> Iterable[tuple[str, Sequence[str]]]:
    """Name and label names of each metric of `collector`.

    The library publishes neither: a metric and a family keep them in `_labelnames`. A collector
    of our own is asked what it would show.
    """
    if isinstance(collector, _LIBRARYS):
        return [(collector._name, collector._labelnames)]  # noqa: SLF001 - see above
    return [
        (metric.name, (*getattr(metric, "_labelnames", ()), *_of_samples(metric)))
        for metric in collector.collect()
    ]


def _of_samples(metric: prometheus_client.Metric) -> set[str]:
    names = {name for sample in metric.samples for name in sample.labels}
    # Those of the format itself.
    return names - {"le", "quantile"}
