"""Spans, as all of ours are made: named and labelled without personal data, timed by one clock.

A span's name and attributes are route templates, names of tables and operations, numbers and types
of errors. Never a raw path, a query string, a parameter, a value, a text that somebody sent or the
message of an error: a span leaves the platform for whoever collects it.

They follow OpenTelemetry's semantic conventions for HTTP and databases. Without a collector
(OTLP_ENDPOINT) nothing records, and what is here costs next to nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import Token
from types import TracebackType
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.telemetry.clock import Clock, Moment

Attributes = Mapping[str, str | int]

CLOCK: Final = Clock()  # of this process
_PROPAGATOR: Final = TraceContextTextMapPropagator()
_TRACER: Final = trace.get_tracer("looma")  # the provider's, as soon as there is one
_NEVER_ZERO: Final = 1 << 64 | 1  # neither the trace's part nor the span's
_NOT_OURS: Final = Context()  # of nobody: what begins in it has no parent


class TimedSpan:
    """A span that was begun, and its clock; `end` it once."""

    __slots__ = ("_began", "_clock", "span")

    def __init__(self, span: Span, began: Moment, clock: Clock) -> None:
        self.span = span
        self._began = began
        self._clock = clock

    def fail(self, error: BaseException) -> None:
        """Mark the span as failed: by the type of the error, without its text."""
        fail(self.span, type_of(error.__cause__ or error))

    def end(self) -> None:
        self.span.end(self._clock.since(self._began))


def begin(
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    parent: Context | None = None,
    *,
    tracer: Tracer = _TRACER,
    clock: Clock = CLOCK,
) -> TimedSpan:
    """Begin a span below `parent`, or below the current one."""
    began = clock.now()
    return TimedSpan(
        tracer.start_span(
            name,
            parent,
            kind,
            dict(attributes),
            start_time=began.wall,
            record_exception=False,
            set_status_on_exception=False,
        ),
        began,
        clock,
    )


class current(AbstractContextManager[Span]):  # noqa: N801 - used as a function
    """Make `span` the parent of what begins inside the block, and end it with the block.

    One that isn't recorded is a parent, too: what it leads to in other processes isn't either.
    """

    __slots__ = ("_span", "_token")

    def __init__(self, span: TimedSpan) -> None:
        self._span = span
        self._token: Token[Context] | None = None

    def __enter__(self) -> Span:
        span = self._span.span
        if span.get_span_context().is_valid:
            self._token = contexts.attach(trace.set_span_in_context(span))
        return span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            if error is not None:
                self._span.fail(error)
            contexts.detach(self._token)
            self._span.end()


@contextmanager
def work(name: str, attributes: Attributes) -> Iterator[Span]:
    """A trace of its own for a piece of work that no request waits for."""
    with current(begin(name, SpanKind.INTERNAL, attributes, _NOT_OURS)) as span:
        yield span


def incoming(headers: Mapping[str, str]) -> Context:
    """Where a request comes from, by its traceparent; nowhere without one.

    Not its tracestate: whoever sends it can write anything there, and it would be exported.
    """
    given = headers.get("traceparent")
    return _PROPAGATOR.extract({"traceparent": given}, _NOT_OURS) if given else _NOT_OURS


def outgoing(parent: Span | None = None) -> dict[str, str]:
    """The headers that make a request part of the trace of `parent`, or of the current span."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, None if parent is None else trace.set_span_in_context(parent))
    return carrier


def unsampled() -> dict[str, str]:
    """The headers of a request that nobody is to record: one of many that look for news."""
    number = f"{random.getrandbits(192) | _NEVER_ZERO:048x}"
    return {"traceparent": f"00-{number[:32]}-{number[32:]}-00"}


def answered(span: Span, status: int) -> None:
    """Note the HTTP status with which a server's `span` ends; from 500 on it has failed."""
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        fail(span, str(status))


def fail(span: Span, kind: str) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", kind)


def type_of(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


def sampled_trace(span: Span) -> str:
    """The trace id of a span that is under way and will be exported; '' for any other."""
    context = span.get_span_context()
    return f"{context.trace_id:032x}" if span.is_recording() and context.trace_flags.sampled else ""
