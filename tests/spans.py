"""The spans that end in the tests' own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider


class EndedSpans(SpanProcessor):
    """Those that would be exported, while it is listening."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.listening = True

    def on_end(self, span: ReadableSpan) -> None:
        if self.listening:
            self.spans.append(span)


@contextmanager
def ended_spans() -> Iterator[EndedSpans]:
    """What ends inside the block. A process has one provider, which is never replaced."""
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    ended = EndedSpans()
    provider.add_span_processor(ended)
    try:
        yield ended
    finally:
        ended.listening = False
