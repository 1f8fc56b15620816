"""Spans, when somebody collects them."""

from __future__ import annotations

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from gateway.http.headers import Headers
from gateway.telemetry.tracing import Traces

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_span_continues_the_clients_trace_and_is_the_services_parent() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = Traces(provider.get_tracer("test"))
    headers = Headers.of([("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1")])
    begun = traces.begin(headers, "GET", "/api/v1/calls/{callid}")
    begun.end(200)
    (span,) = exporter.get_finished_spans()
    assert span.name == "GET /api/v1/calls/{callid}"
    assert span.kind is SpanKind.SERVER
    assert span.attributes == {
        "http.request.method": "GET",
        "http.route": "/api/v1/calls/{callid}",
        "http.response.status_code": 200,
    }
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert f"traceparent: 00-{TRACE}-{span.context.span_id:016x}-01\r\n" in begun.lines
    assert "tracestate: vendor=1\r\n" in begun.lines
