"""What the gateway counts. Labels are found once per route, not once per request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.route import METHODS, Route
from shared.telemetry import LATENCY_BUCKETS, Metrics

_OVERHEAD_BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1)
UNMATCHED: Final = "(unmatched)"  # the route label of requests that no route matches
CLIENT_GONE: Final = 499  # counted, never sent


class RouteMeter:
    """The counters of one method and path template."""

    def __init__(self, meters: Meters, method: str, path: str, service: str) -> None:
        self._requests = meters.metrics.requests
        self._labels = ("gateway", method, path)
        self._by_status: dict[int, Counter] = {}
        self._duration = meters.metrics.duration.labels(*self._labels)
        self._overhead = meters.overhead.labels(method, path)
        self._upstream = meters.upstream.labels(service, method, path)

    def answered(self, status: int, seconds: float) -> None:
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._requests.labels(*self._labels, str(status))
            self._by_status[status] = counter
        counter.inc()
        self._duration.observe(seconds)

    def relayed(self, overhead: float, upstream: float) -> None:
        """Seconds of our own until the answer's head was passed on, and those of the service, all
        tries together.
        """
        self._overhead.observe(overhead)
        self._upstream.observe(upstream)


class PoolCollector(Collector):
    """What the pools count themselves, read when the page is asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.read: Callable[[], Iterable[Mapping[str, Any]]] = tuple
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
        for pool in self.read():
            service = [pool["service"]]
            retried.add_metric(service, pool["retried"])
            hedged.add_metric(service, pool["hedged"])
            ejected.add_metric(service, pool["ejections"])
            in_flight.add_metric(service, pool["in_flight"])
            for priority, count in pool["shed"].items():
                shed.add_metric([*service, priority], count)
        return (retried, hedged, ejected, shed, in_flight)


class Meters:
    def __init__(self) -> None:
        self.metrics = Metrics("gateway")
        registry = self.metrics.registry
        self.overhead = Histogram(
            "gateway_overhead_seconds",
            "The gateway's own part of the time until an answer begins",
            ("method", "route"),
            buckets=_OVERHEAD_BUCKETS,
            registry=registry,
        )
        self.upstream = Histogram(
            "upstream_request_duration_seconds",
            "From the request sent to the head of the service's answer",
            ("service", "method", "route"),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.cut = Counter(
            "gateway_answers_cut_total",
            "Answers that a service broke off after they had begun",
            ("service",),
            registry=registry,
        )
        self.circuit = Gauge(
            "circuit_state",
            "0 closed, 1 half-open, 2 open",
            ("service", "instance"),
            registry=registry,
        )
        self.pools = PoolCollector(registry)
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
            method: RouteMeter(self, method, UNMATCHED, "none") for method in (*METHODS, "OTHER")
        }

    def of(self, routes: Iterable[Route]) -> tuple[RouteMeter, ...]:
        """One meter per route, in the same order."""
        return tuple(RouteMeter(self, route.method, route.path, route.service) for route in routes)

    def page(self, path: str) -> RouteMeter:
        """The meter of one of the gateway's own pages."""
        return RouteMeter(self, "GET", path, "gateway")

    def own(self, method: str, path: str) -> RouteMeter:
        """The meter of one of the gateway's own routes."""
        return RouteMeter(self, method, path, "gateway")

    def unmatched(self, method: str) -> RouteMeter:
        return self._unmatched.get(method) or self._unmatched["OTHER"]
