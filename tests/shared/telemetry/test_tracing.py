"""Exporting spans, to a collector that is there, away, or comes late."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from shared.config import process_environment
from tests.otlp import Collector, collector

# A process that begins spans as a service does, and tells how long each took it.
SCRIPT = """
import json, sys, time
from opentelemetry.trace import SpanKind
from shared.config import Config
from shared.telemetry.logs import configure_logging
from shared.telemetry.spans import begin, current
from shared.telemetry.tracing import configure_tracing

config = Config.from_env()
configure_logging("portrait", config)
export = configure_tracing("portrait", config.otlp_endpoint, config) if config.otlp_endpoint else None
took = []
def make(number):
    for _ in range(number):
        began = time.perf_counter()
        with current(begin("GET /x", SpanKind.SERVER, {"http.route": "/x"})):
            pass
        took.append(time.perf_counter() - began)
for line in sys.stdin:
    make(int(line))
    print("made", flush=True)
began = time.perf_counter()
if export is not None:
    export.stop()
stop = time.perf_counter() - began
print(json.dumps({"p99": sorted(took)[len(took) * 99 // 100], "stop": stop}), flush=True)
"""


class Process:
    def __init__(self, endpoint: str | None) -> None:
        # The SDK's own setting: a batch each 0.2 s, not each 5.
        settings = {"LOG_FORMAT": "json", "SERVICE_VERSION": "3", "OTEL_BSP_SCHEDULE_DELAY": "200"}
        if endpoint is not None:
            settings["OTLP_ENDPOINT"] = endpoint
        self._process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=process_environment(**settings),
        )

    def make(self, number: int) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "made\n"

    def end(self) -> tuple[dict[str, float], list[str]]:
        """What it measured, and the events that it logged."""
        out, err = self._process.communicate(timeout=40)
        assert self._process.returncode == 0, err
        return json.loads(out), [json.loads(line)["event"] for line in err.splitlines()]


@pytest.fixture
def collected() -> Iterator[Collector]:
    with collector() as running:
        yield running


def test_spans_arrive_with_who_made_them(collected: Collector) -> None:
    process = Process(collected.url)
    process.make(10)
    _, said = process.end()
    assert [(s.service, s.name, s.kind) for s in collected.spans] == [
        ("looma-portrait", "GET /x", "SERVER")
    ] * 10
    assert collected.resources[0]["service.version"] == "3"
    assert said == []


@pytest.mark.slow
def test_a_collector_that_is_away_costs_its_spans_and_one_line_of_the_log(free_port: int) -> None:
    process = Process(f"http://127.0.0.1:{free_port}")
    process.make(6000)  # more than wait
    time.sleep(3)  # one batch after the other is given up
    process.make(1000)
    with collector(free_port) as collected:
        collected.await_(lambda spans: len(spans) > 0)
        measured, said = process.end()
        assert len(collected.spans) <= 5000  # nothing else has waited
    assert said == ["traces_not_exported", "traces_exported_again"]
    assert measured["p99"] < 0.05  # nobody waits for the collector


@pytest.mark.slow
def test_a_collector_that_answers_nothing_holds_up_neither_work_nor_stop() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        process = Process(f"http://127.0.0.1:{silent.getsockname()[1]}")
        process.make(5000)
        time.sleep(2.5)
        measured, said = process.end()
    assert said == ["traces_not_exported"]
    assert measured["p99"] < 0.05
    assert measured["stop"] < 8  # a batch that is under way has two seconds
