"""The gateway's metrics. Labels are found once per route, not once per request."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from gateway.http.request import METHODS
from shared.telemetry.metrics import LATENCY_BUCKETS, Counter, Gauge, process_registry
from shared.telemetry.organisations import OrganisationLabels

# Seconds. mypyc takes a tuple of so many floats for one that was never set.
_OVERHEAD_BUCKETS: Final[Sequence[float]] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
]  # fmt: skip
UNMATCHED: Final = "(unmatched)"  # the route label of requests that no route matches
CLIENT_GONE: Final = 499  # counted, never sent


class LocalHistogram:
    """Counts of values by upper bound, as Prometheus has them. One event loop owns it.

    An observation costs one search in a short list, without locks or labels. Of each bucket the
    last value whose trace is exported is kept, as its exemplar.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = list(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._exemplars: dict[int, Exemplar] = {}
        self.sum = 0.0

    def observe(self, value: float, trace_id: str = "") -> None:
        bucket = bisect_left(self._bounds, value)
        self._counts[bucket] += 1
        self.sum += value
        if trace_id:
            self._exemplars[bucket] = Exemplar({"trace_id": trace_id}, value, time.time())

    def buckets(self) -> Sequence[tuple[str, float] | tuple[str, float, Exemplar]]:
        """(upper bound, how many values were not above it, exemplar), the last for all of them."""
        found = list[tuple[str, float] | tuple[str, float, Exemplar]]()
        bounds = [*map(str, map(float, self._bounds)), "+Inf"]
        total = 0
        for bucket, number in enumerate(self._counts):
            total += number
            exemplar = self._exemplars.get(bucket)
            if exemplar is None:
                found.append((bounds[bucket], float(total)))
            else:
                found.append((bounds[bucket], float(total), exemplar))
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

    def answered(self, status: int, seconds: float, trace_id: str = "") -> None:
        """`trace_id` of the request, if its trace is exported."""
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.duration.observe(seconds, trace_id)

    def relayed(self, overhead: float, upstream: float) -> None:
        """Seconds of our own until the answer's head was passed on, and those of the service, all
        tries together.
        """
        self.overhead.observe(overhead)
        self.upstream.observe(upstream)


class OrganisationMeter:
    """The counters of one organisation, or of all that share a label."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.by_status: dict[int, int] = {}
        self.duration = LocalHistogram(LATENCY_BUCKETS)

    def answered(self, status: int, seconds: float) -> None:
        self.by_status[status] = self.by_status.get(status, 0) + 1
        self.duration.observe(seconds)


class OrganisationCollector(Collector):
    """What the meters of organisations hold, when the page is asked for."""

    def __init__(self, registry: CollectorRegistry, meters: Iterable[OrganisationMeter]) -> None:
        self._meters = meters
        registry.register(self)

    def collect(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "organisation_requests",
            "Requests answered, by the caller's organisation; the less busy ones together as other",
            labels=["organisation", "status"],
        )
        duration = HistogramMetricFamily(
            "organisation_request_duration_seconds",
            "From the request's head read to the answer written, by the caller's organisation",
            labels=["organisation"],
        )
        for meter in self._meters:
            own = [meter.label]
            for status, number in meter.by_status.items():
                requests.add_metric([*own, str(status)], number)
            duration.add_metric(own, meter.duration.buckets(), meter.duration.sum)
        return (requests, duration)


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
    """Of one process. So many `organisations` at most have series of their own."""

    def __init__(self, organisations: int) -> None:
        registry = self.registry = process_registry()
        self._labels = OrganisationLabels(organisations)
        self._organisations: dict[str, OrganisationMeter] = {}
        OrganisationCollector(registry, self._organisations.values())
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

    def organisation(self, org_id: UUID) -> OrganisationMeter:
        """The meter that counts an organisation at the moment."""
        label = self._labels.of(org_id)
        if label not in self._organisations:
            self._organisations[label] = OrganisationMeter(label)
        return self._organisations[label]

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
