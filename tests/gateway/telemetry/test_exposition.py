"""The gateway's pages: exemplars for those who ask for OpenMetrics, and one page of several workers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from gateway.telemetry.exposition import (
    Family,
    added,
    asks_for_openmetrics,
    families_of,
    rendered,
)
from gateway.telemetry.metrics import LocalHistogram
from gateway.workers.metrics import read_families, write_families

FIRST, SECOND = "a" * 32, "b" * 32
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


class Latency(Collector):
    def __init__(self, histogram: LocalHistogram) -> None:
        self.histogram = histogram

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily("seconds", "Time", labels=["route"])
        family.add_metric(["/x"], self.histogram.buckets(), self.histogram.sum)
        yield family


def pages(*observed: tuple[float, str]) -> list[Family]:
    histogram = LocalHistogram([1.0, 5.0])
    for value, trace_id in observed:
        histogram.observe(value, trace_id)
    registry = CollectorRegistry()
    registry.register(Latency(histogram))
    return families_of(registry.collect())


def exemplars(page: bytes) -> dict[str, tuple[str, float]]:
    return {
        sample.labels["le"]: (sample.exemplar.labels["trace_id"], sample.exemplar.value)
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if sample.exemplar is not None
    }


@pytest.mark.parametrize(
    ("accept", "asked"),
    [
        (PROMETHEUS, True),
        ("text/html, application/openmetrics-text; version=1.0.0", True),
        ("text/plain;version=0.0.4", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_who_asks_for_openmetrics(accept: str, asked: bool) -> None:
    assert asks_for_openmetrics(accept) is asked


def test_each_bucket_has_the_last_request_whose_trace_is_exported() -> None:
    page = pages((0.1, FIRST), (0.2, SECOND), (0.3, ""), (9.0, FIRST))
    assert exemplars(rendered(page, openmetrics=True)) == {"1.0": (SECOND, 0.2), "+Inf": (FIRST, 9)}


def test_the_plain_format_has_none() -> None:
    assert b"trace_id" not in rendered(pages((0.1, FIRST)))


def test_of_several_workers_the_latest_is_shown(tmp_path: Path) -> None:
    for number, page in enumerate((pages((0.1, FIRST), (2.0, FIRST)), pages((0.2, SECOND)))):
        write_families(tmp_path / f"worker-{number}.json", page)
    found = added(read_families(path) for path in sorted(tmp_path.iterdir()))
    page = rendered(found, openmetrics=True)
    assert exemplars(page) == {"1.0": (SECOND, 0.2), "5.0": (FIRST, 2.0)}
    assert b'seconds_count{route="/x"} 3.0\n' in page


def test_a_page_says_what_the_clients_own_writer_says() -> None:
    registry = CollectorRegistry()
    odd = 'quotes " and \\\\ and \\n and lines\n and 数'
    Counter("things", f"With {odd}", ("b", "a"), registry=registry).labels(odd, "").inc(1e20)
    Gauge("level", "Now", registry=registry).set(float("-inf"))
    Histogram("seconds", "Time", ("x",), registry=registry).labels("y").observe(
        0.3, {"trace_id": FIRST}
    )
    Summary("size", "Bytes", registry=registry).observe(7)

    def read(page: bytes) -> list[object]:
        return [
            (
                family.name,
                family.type,
                family.documentation,
                sample.name,
                sample.labels,
                sample.value,
            )
            for family in text_string_to_metric_families(page.decode())
            for sample in family.samples
            if not sample.name.endswith("_created")
        ]

    ours = rendered(families_of(registry.collect()), openmetrics=True)
    assert read(ours) == read(generate_latest(registry))
    assert ours.endswith(b"# EOF\n")
