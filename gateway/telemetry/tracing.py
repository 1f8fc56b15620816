"""W3C trace context: a client's trace is continued, otherwise one is started here.

Spans are only made when they are exported (OTLP_ENDPOINT); the context goes to the services in
either case.
"""

from __future__ import annotations

import random
import re
from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.http.headers import Headers

# Later versions may add fields after the four known ones; version ff is invalid.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?"
)
_NEVER_ZERO: Final = 1 << 64 | 1  # neither the trace's part nor the span's


class Trace:
    """`lines` are the header lines for the service; `end` closes the span, if there is one."""

    def __init__(self, lines: str, span: Span | None = None) -> None:
        self.lines = lines
        self.span = span

    def end(self, status: int) -> None:
        if self.span is not None:
            self.span.set_attribute("http.response.status_code", status)
            self.span.end()


class Traces:
    """Without a `tracer` the context is passed on and no span is made."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, headers: Headers, method: str, route: str) -> Trace:
        if self._tracer is not None:
            return self._spanned(self._tracer, headers, f"{method} {route}")
        given = headers.get("traceparent")
        parent = _TRACEPARENT.fullmatch(given) if given else None
        if parent is None:
            # Identifiers, not secrets: they need to differ, not to be unguessable. Never all zero.
            number = f"{random.getrandbits(192) | _NEVER_ZERO:048x}"
            return Trace(f"traceparent: 00-{number[:32]}-{number[32:]}-01\r\n")
        trace_id, flags = parent.groups()
        span_id = random.getrandbits(64) or 1
        lines = f"traceparent: 00-{trace_id}-{span_id:016x}-{flags}\r\n"
        state = headers.get("tracestate")
        return Trace(lines + (f"tracestate: {state}\r\n" if state else ""))

    def _spanned(self, tracer: Tracer, headers: Headers, name: str) -> Trace:
        parent = self._propagator.extract(dict(headers.items()))
        span = tracer.start_span(name, parent, kind=SpanKind.SERVER)
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, trace.set_span_in_context(span))
        lines = "".join(f"{key}: {value}\r\n" for key, value in carrier.items())
        return Trace(lines, span)
