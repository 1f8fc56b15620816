"""W3C trace context: a client's trace is continued, otherwise one is started here.

Spans are only made when they are exported (OTLP_ENDPOINT); the context goes to the services in
either case.
"""

from __future__ import annotations

import random
import re
from contextvars import Token
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Tracer

from gateway.http.headers import Headers
from shared.telemetry import spans
from shared.telemetry.clock import Clock

# Later versions may add fields after the four known ones; version ff is invalid.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?"
)
_NEVER_ZERO: Final = 1 << 64 | 1  # neither the trace's part nor the span's


class Trace:
    """The gateway's part of a request's trace; `end` it once, in the task that began it.

    `lines` are the header lines for whoever is asked on its behalf.
    """

    def __init__(
        self,
        lines: str,
        span: spans.TimedSpan | None = None,
        token: Token[Context] | None = None,
    ) -> None:
        self.lines = lines
        self.id = "" if span is None else spans.sampled_trace(span.span)  # if it is exported
        self._span = span
        self._token = token

    def end(self, status: int) -> None:
        """Close the span, if there is one; `status` is what the request was answered with."""
        span, token = self._span, self._token
        if span is not None and token is not None:
            contexts.detach(token)
            spans.answered(span.span, status)
            span.end()


class Traces:
    """Without a `tracer` the context is passed on and no span is made."""

    def __init__(self, tracer: Tracer | None = None, clock: Clock = spans.CLOCK) -> None:
        self._tracer = tracer
        self._clock = clock

    def begin(self, headers: Headers, method: str, route: str) -> Trace:
        """What stores and services are asked until its end belongs to the trace."""
        if self._tracer is not None:
            return self._spanned(self._tracer, headers, method, route)
        given = headers.get("traceparent")
        parent = _TRACEPARENT.fullmatch(given) if given else None
        if parent is None:
            # Identifiers, not secrets: they need to differ, not to be unguessable. Never all zero.
            number = f"{random.getrandbits(192) | _NEVER_ZERO:048x}"
            return Trace(f"traceparent: 00-{number[:32]}-{number[32:]}-01\r\n")
        trace_id, flags = parent.groups()
        span_id = random.getrandbits(64) or 1
        lines = f"traceparent: 00-{trace_id}-{span_id:016x}-{flags}\r\n"
        return Trace(lines + _state(headers))

    def _spanned(self, tracer: Tracer, headers: Headers, method: str, route: str) -> Trace:
        span = spans.begin(
            f"{method} {route}",
            SpanKind.SERVER,
            {"http.request.method": method, "http.route": route},
            spans.incoming(dict(headers.items())),
            tracer=tracer,
            clock=self._clock,
        )
        token = contexts.attach(trace.set_span_in_context(span.span))
        carried = spans.outgoing(span.span)
        lines = "".join(f"{name}: {value}\r\n" for name, value in carried.items())
        return Trace(lines + _state(headers), span, token)


def _state(headers: Headers) -> str:
    """The client's own part of the context, passed on and otherwise left alone."""
    state = headers.get("tracestate")
    return f"tracestate: {state}\r\n" if state else ""
