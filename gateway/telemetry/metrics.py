"""The gateway's metrics. Labels are found once per route, not once per request."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from gateway.http.request import METHODS
from shared.telemetry import LATENCY_BUCKETS, process_registry

# Seconds. mypyc takes a tuple of so many floats for one that was never set.
_OVERHEAD_BUCKETS: Final[Sequence[float]] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
]  # fmt: skip
UNMATCHED: Final = "(unmatched)"  # the route label of requests that no route matches
CLIENT_GONE: Final = 499  # counted, never sent


class LocalHistogram:
    """Counts of values by upper bound, as Prometheus has them. One event loop owns it.

    An observation costs one search in a short list, without locks or labels.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound, how many values were not above it), the last for all of them."""
        found, total = list[tuple[str, float]](), 0
        for bound, number in zip(
            (*map(str, map(float, self._bounds)), "+Inf"), self._counts, strict=True
        ):
            total += number
            found.append((bound, float(total)))
        return found


class RouteMeter:
    """The counters of one method and path template.

    They are our own: those of prometheus_client take a lock for every number.
    """

    def __init__(self, method: str, path: str, service: str) -> None:
        self.labels = [method, path]
        self.service = service
        self.by_status: dict[int, int] = {}
        self.duration = LocalHistogram(LATENCY_BUCKETS)
        self.overhead = LocalHistogram(_OVERHEAD_BUCKETS)
        self.upstream = LocalHistogram(LATENCY_BUCKETS)

    def answered(self, status: int, seconds: float) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.duration.observe(seconds)

    def relayed(self, overhead: float, upstream: float) -> None:
        """Seconds of our own until the answer's head was passed on, and those of the service, all
        tries together.
        """
        self.overhead.observe(overhead)
        self.upstream.observe(upstream)


class RouteCollector(Collector):
    """What the meters of routes hold, when the page is asked for."""

    def __init__(self, registry: CollectorRegistry, meters: Iterable[RouteMeter]) -> None:
        self._meters = meters
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "http_requests", "Requests answered", labels=["service", "method", "route", "status"]
        )
        duration = HistogramMetricFamily(
            "http_request_duration_seconds",
            "From the request's head read to the answer written",
            labels=["service", "method", "route"],
        )
        overhead = HistogramMetricFamily(
            "gateway_overhead_seconds",
            "The gateway's own part of the time until an answer begins",
            labels=["method", "route"],
        )
        upstream = HistogramMetricFamily(
            "upstream_request_duration_seconds",
            "From the request sent to the head of the service's answer",
            labels=["service", "method", "route"],
        )
        for meter in self._meters:
            own = ["gateway", *meter.labels]
            for status, number in meter.by_status.items():
                requests.add_metric([*own, str(status)], number)
            for family, labels, histogram in (
                (duration, own, meter.duration),
                (overhead, meter.labels, meter.overhead),
                (upstream, [meter.service, *meter.labels], meter.upstream),
            ):
                family.add_metric(labels, histogram.buckets(), histogram.sum)
        return (requests, duration, overhead, upstream)


class PoolCollector(Collector):
    """What the pools count themselves, read when the page is asked for."""

    def __init__(
        self, registry: CollectorRegistry, read: Callable[[], Iterable[Mapping[str, Any]]]
    ) -> None:
        """`read` gives a snapshot of each pool."""
        self._read = read
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        retried = CounterMetricFamily("gateway_retries", "Tries made again", labels=["service"])
        hedged = CounterMetricFamily("gateway_hedges", "Second instances asked", labels=["service"])
        ejected = CounterMetricFamily(
            "gateway_ejections", "Instances ejected for failing in a row", labels=["service"]
        )
        shed = CounterMetricFamily(
            "gateway_shed", "Requests turned away for load", labels=["service", "priority"]
        )
        in_flight = GaugeMetricFamily(
            "gateway_upstream_in_flight", "Requests that services work on", labels=["service"]
        )
        streams = GaugeMetricFamily(
            "gateway_streams_in_flight", "Streams that are open", labels=["service"]
        )
        for pool in self._read():
            service = [pool["service"]]
            retried.add_metric(service, pool["retried"])
            hedged.add_metric(service, pool["hedged"])
            ejected.add_metric(service, pool["ejections"])
            in_flight.add_metric(service, pool["in_flight"])
            streams.add_metric(service, pool["streams"])
            for priority, count in pool["shed"].items():
                shed.add_metric([*service, priority], count)
        return (retried, hedged, ejected, shed, in_flight, streams)


class Meters:
    def __init__(self) -> None:
        registry = self.registry = process_registry()
        self._meters: dict[tuple[str, str, str], RouteMeter] = {}
        RouteCollector(registry, self._meters.values())
        self.cut = Counter(
            "gateway_answers_cut_total",
            "Answers that a service broke off after they had begun",
            ("service",),
            registry=registry,
        )
        self.websockets = Gauge(
            "gateway_websockets", "Open WebSockets", ("service",), registry=registry
        )
        self.circuit = Gauge(
            "circuit_state",
            "0 closed, 1 half-open, 2 open",
            ("service", "instance"),
            registry=registry,
        )
        self.instances = Gauge(
            "gateway_upstream_instances", "Known instances", ("service",), registry=registry
        )
        self.revocations_age = Gauge(
            "gateway_revocations_age_seconds",
            "Since revocations were last polled; -1 before the first time",
            registry=registry,
        )
        self.signing_keys_age = Gauge(
            "gateway_signing_keys_age_seconds",
            "Since the signing keys were fetched; -1 before the first time",
            registry=registry,
        )
        self._unmatched = {
            method: self.route(method, UNMATCHED, "none") for method in (*METHODS, "OTHER")
        }

    def page(self, path: str) -> RouteMeter:
        """The meter of one of the gateway's own pages."""
        return self.route("GET", path, "gateway")

    def own(self, method: str, path: str) -> RouteMeter:
        """The meter of one of the gateway's own routes."""
        return self.route(method, path, "gateway")

    def unmatched(self, method: str) -> RouteMeter:
        return self._unmatched.get(method) or self._unmatched["OTHER"]

    def route(self, method: str, path: str, service: str) -> RouteMeter:
        """The meter of one route; a known one goes on counting."""
        key = (method, path, service)
        if key not in self._meters:
            self._meters[key] = RouteMeter(method, path, service)
        return self._meters[key]
