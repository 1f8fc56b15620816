"""Metrics that can't grow without bound: labels from a table, values within a bound."""

from __future__ import annotations

from collections.abc import Iterable

import prometheus_client
import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from structlog.testing import capture_logs

from shared.telemetry.labels import LABELS, OTHER
from shared.telemetry.metrics import Counter, Gauge, Histogram, Metrics, process_registry


@pytest.mark.parametrize("kind", [Counter, Gauge, Histogram])
@pytest.mark.parametrize("label", ["user_id", "org_id", "phone", "path", "callid"])
def test_a_label_that_is_not_in_the_table_is_refused(kind: type[Counter], label: str) -> None:
    with pytest.raises(ValueError, match=rf"looma_calls: {label} is no label.*add it with"):
        kind("looma_calls", "Calls", ("service", label), registry=process_registry())


def test_a_collector_is_asked_for_its_labels() -> None:
    class ByUser(Collector):
        def collect(self) -> Iterable[Metric]:
            yield GaugeMetricFamily("calls", "Calls", labels=("user_id",))

    with pytest.raises(ValueError, match="calls: user_id is no label"):
        process_registry().register(ByUser())


def test_a_metric_without_a_bound_on_its_series_is_refused() -> None:
    with pytest.raises(ValueError, match=r"of that name of shared\.telemetry\.metrics"):
        prometheus_client.Counter("calls", "Calls", ("service",), registry=process_registry())


def test_values_beyond_the_bound_count_as_other_and_that_is_said_once() -> None:
    registry, bound = process_registry(), LABELS["result"]
    counter = Counter("looma_asked", "Asked", ("service", "result"), registry=registry)
    with capture_logs() as logs:
        for number in range(bound + 1000):
            counter.labels("portrait", f"result-{number}").inc()
            counter.labels(service="portrait", result=f"result-{number}").inc()
    page = generate_latest(registry).decode()
    assert page.count("looma_asked_total{") == bound + 1
    assert f'looma_asked_total{{result="{OTHER}",service="portrait"}} 2000.0' in page
    assert 'looma_asked_total{result="result-0",service="portrait"} 2.0' in page
    (line,) = logs
    assert (line["event"], line["label"]) == ("label_has_too_many_values", "result")


def test_values_that_were_cleared_make_room_for_others() -> None:
    gauge = Gauge("looma_state", "State", ("store",), registry=process_registry())
    for _ in range(3):
        gauge.clear()
        for number in range(LABELS["store"]):
            gauge.labels(f"store-{number}").set(1)
    assert OTHER not in str(list(gauge.collect()))


def test_a_request_costs_no_series() -> None:
    """However often a page is scraped, or by nobody: what is held depends on what there is."""
    metrics = Metrics("portrait", 50)
    for _ in range(1000):
        metrics.requests.labels("portrait", "GET", "/api/v1/calls", "200").inc()
        metrics.duration.labels("portrait", "GET", "/api/v1/calls").observe(
            0.1, {"trace_id": "0" * 32}
        )
    page = generate_latest(metrics.registry).decode()
    assert page.count("http_requests_total{") == 1
