"""Spans last as long as they lasted, whatever the wall clocks of machines do."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from gateway.http.headers import Headers
from gateway.telemetry.tracing import Traces
from shared.telemetry import spans
from shared.telemetry.clock import Clock

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


class Times:
    """A machine's two clocks, by hand."""

    def __init__(self, wall: int) -> None:
        self.wall = wall
        self.monotonic = 7 * MINUTE
        self.clock = Clock(lambda: self.wall, lambda: self.monotonic)

    def passes(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.monotonic += nanoseconds


def test_a_span_lasts_by_the_monotonic_clock_while_the_wall_clock_is_set() -> None:
    times = Times(wall=100 * MINUTE)
    began = times.clock.now()
    times.passes(3 * SECOND)
    times.wall -= 50 * MINUTE
    assert times.clock.since(began) - began.wall == 3 * SECOND


def test_small_corrections_leave_the_order_within_a_process_alone() -> None:
    times = Times(wall=100 * MINUTE)
    parent = times.clock.now()
    times.passes(1000)
    times.wall -= SECOND // 2  # as a time daemon may do at once
    assert times.clock.now().wall == parent.wall + 1000


def test_after_the_clock_was_set_or_the_machine_slept_what_begins_has_the_new_time() -> None:
    times = Times(wall=100 * MINUTE)
    times.wall += 8 * 60 * MINUTE
    assert times.clock.now().wall == times.wall


def test_a_child_on_a_machine_whose_clock_is_behind_is_told_as_it_is() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    ours, theirs = Times(wall=100 * MINUTE), Times(wall=95 * MINUTE)

    request = Traces(tracer, ours.clock).begin(Headers.of([]), "GET", "/api/v1/calls")
    headers = dict(line.split(": ") for line in request.lines.splitlines())
    one = spans.begin(
        "GET /api/v1/calls",
        SpanKind.SERVER,
        {},
        spans.incoming(headers),
        tracer=tracer,
        clock=theirs.clock,
    )
    theirs.passes(2 * SECOND)
    one.end()
    ours.passes(3 * SECOND)
    request.end(200)

    child, parent = exporter.get_finished_spans()
    assert child.context is not None
    assert parent.context is not None
    assert child.parent is not None
    assert child.context.trace_id == parent.context.trace_id
    assert child.parent.span_id == parent.context.span_id
    assert child.start_time == 95 * MINUTE
    assert child.end_time == 95 * MINUTE + 2 * SECOND
    assert parent.start_time == 100 * MINUTE
    assert parent.end_time == 100 * MINUTE + 3 * SECOND
