"""The figures of several workers as one page."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry.exposition import GAUGES, added, families_of, rendered
from gateway.workers.channel import Channel
from gateway.workers.metrics import WorkerMetrics, metrics_file, retire
from gateway.workers.scatter_gather import ScatterGather
from tests.gateway.conftest import Platform


class Worker:
    """What a worker counts, and its part of the page."""

    def __init__(self, folder: Path, number: int, pairs: list[list[socket.socket]]) -> None:
        registry = CollectorRegistry()
        self.asked = Counter("asked", "Requests", ("route",), registry=registry)
        self.seconds = Histogram("seconds", "Time", buckets=(1, 5), registry=registry)
        self.busy = Gauge("gateway_upstream_in_flight", "Now", registry=registry)
        self.circuit = Gauge("circuit_state", "Worst", registry=registry)
        ends = {
            place: (pair[0] if place == number else pair[1]).dup()
            for place, pair in enumerate(pairs, start=1)
        }
        self.channel = Channel(number, ends.pop(number), ends)
        self.channel.start()
        self.metrics = WorkerMetrics(folder, number, registry.collect, ScatterGather(self.channel))


def pairs(size: int) -> list[list[socket.socket]]:
    return [list(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)) for _ in range(size)]


def values(page: bytes) -> dict[str, float]:
    return {
        sample.name + "".join(sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


async def test_a_page_is_the_sum_of_all_as_of_now_and_outlives_a_worker(tmp_path: Path) -> None:
    sockets = pairs(2)
    one, two = (Worker(tmp_path, number, sockets) for number in (1, 2))
    one.asked.labels("/x").inc(3)
    two.asked.labels("/x").inc(4)
    two.asked.labels("/y").inc()
    for seconds in (0.5, 2, 9):
        one.seconds.observe(seconds)
        two.seconds.observe(seconds)
    one.busy.set(5)
    two.busy.set(6)
    two.circuit.set(2)
    page = await one.metrics.page()
    assert b"worker" not in page
    got = values(page)
    assert (got["asked_total/x"], got["asked_total/y"]) == (7, 1)
    assert [got[f"seconds_bucket{le}"] for le in ("1.0", "5.0", "+Inf")] == [2, 4, 6]
    assert (got["seconds_count"], got["seconds_sum"]) == (6, 23)
    assert (got["gateway_upstream_in_flight"], got["circuit_state"]) == (11, 2)

    two.metrics.write()
    two.channel.close()
    retire(tmp_path, 2)
    got = values(await one.metrics.page())
    assert (got["asked_total/x"], got["seconds_sum"]) == (7, 23)
    assert (got["gateway_upstream_in_flight"], got["circuit_state"]) == (5, 0)

    again = Worker(tmp_path, 2, sockets)
    again.asked.labels("/x").inc()
    got = values(await again.metrics.page())
    assert (got["asked_total/x"], got["asked_total/y"]) == (8, 1)
    assert len(list(tmp_path.iterdir())) == 2
    for worker in (one, again):
        worker.channel.close()
    for pair in sockets:
        for end in pair:
            end.close()


async def test_a_file_that_can_not_be_read_counts_as_none(tmp_path: Path) -> None:
    sockets = pairs(1)
    metrics_file(tmp_path, 1).write_text("[[")
    metrics_file(tmp_path, 2).write_text('[["a", "b", "counter", 7]]')
    retire(tmp_path, 3)
    one = Worker(tmp_path, 1, sockets)
    one.asked.labels("/x").inc(2)
    assert values(await one.metrics.page())["asked_total/x"] == 2
    one.channel.close()
    for end in sockets[0]:
        end.close()


def test_when_a_counter_began_is_when_the_first_worker_began() -> None:
    registries = [CollectorRegistry(), CollectorRegistry()]
    for registry in registries:
        Counter("asked", "Requests", registry=registry).inc()
    pages = [families_of(registry.collect()) for registry in registries]
    created = [values(rendered(page))["asked_created"] for page in pages]
    assert values(rendered(added(pages)))["asked_created"] == min(created)


def test_a_page_says_what_the_clients_own_writer_says() -> None:
    registry = CollectorRegistry()
    odd = 'quotes " and \\\\ and \\n and lines\n and 数'
    Counter("things", f"With {odd}", ("b", "a"), registry=registry).labels(odd, "").inc(1e20)
    Gauge("level", "Now", registry=registry).set(float("-inf"))
    Gauge("nothing", "None", ("x",), registry=registry)
    Histogram("seconds", "Time", ("x",), registry=registry).labels("y").observe(0.3)
    Summary("size", "Bytes", registry=registry).observe(7)

    def read(page: bytes) -> list[Any]:
        return [
            (one.name, one.type, one.documentation, sorted(map(str, one.samples)))
            for one in text_string_to_metric_families(page.decode())
        ]

    ours = read(rendered(families_of(registry.collect())))
    assert sorted(ours) == sorted(read(generate_latest(registry)))


async def test_every_gauge_of_the_gateway_has_a_rule(platform: Platform) -> None:
    page = (await platform.client.get("/metrics")).text
    found = {one.name for one in text_string_to_metric_families(page) if one.type == "gauge"}
    assert {one for one in found if not one.endswith("_created")} <= set(GAUGES)
    assert "circuit_state" in found
