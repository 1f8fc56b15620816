"""Exporting spans over OTLP/HTTP, so that a collector that is away costs nothing but its spans.

Spans wait in a bounded queue, from which a thread sends them in batches. While the collector
doesn't take them the oldest are dropped; one line of the log says that it began, one that it is
over. At a stop the rest is sent within two seconds or dropped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from socket import gethostname
from typing import Final
from uuid import uuid4

import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from shared.config import Config

_EXPORT_S: Final = 2.0  # for one batch, tries included; and for all that waits, at a stop
_QUEUE: Final = 4096
_log = structlog.get_logger("looma.traces")


def configure_tracing(service: str, endpoint: str, config: Config) -> Export:
    """Export spans over OTLP to `endpoint` (OTLP_ENDPOINT); the caller stops it."""
    # They would write a line for each batch that fails and each span that is dropped.
    for chatty in ("opentelemetry.sdk", "opentelemetry.exporter", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    traces = OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=_EXPORT_S)
    exporter = CalmExporter(traces)
    provider = TracerProvider(resource=_resource(service, config), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUE))
    trace.set_tracer_provider(provider)
    return Export(provider, exporter)


class Export:
    """The export of this process's spans; `stop` it."""

    def __init__(self, provider: TracerProvider, exporter: CalmExporter) -> None:
        self._provider = provider
        self._exporter = exporter

    def stop(self) -> None:
        """Send what waits, for two seconds at most, or not at all while the collector is away."""
        self._exporter.hurry()
        self._provider.shutdown()


class CalmExporter(SpanExporter):
    """Passes spans on to `exporter`, and says once that it can't, and once that it can again."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self._failing_since: float | None = None
        self._lost = 0
        self._until = float("inf")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        late = time.monotonic() > self._until
        result = SpanExportResult.FAILURE if late else self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._succeeded()
        else:
            self._failed(len(spans))
        return result

    def hurry(self) -> None:
        """Take no more than a moment for what is still to come."""
        self._until = time.monotonic() + (_EXPORT_S if self._failing_since is None else 0.0)

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call] # the library leaves it so

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _failed(self, spans: int) -> None:
        self._lost += spans
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            _log.warning("traces_not_exported", reason="the collector at OTLP_ENDPOINT takes none")

    def _succeeded(self) -> None:
        if self._failing_since is not None:
            seconds = round(time.monotonic() - self._failing_since, 1)
            _log.info("traces_exported_again", after_s=seconds, spans_lost=self._lost)
            self._failing_since, self._lost = None, 0


def _resource(service: str, config: Config) -> Resource:
    return Resource.create(
        {
            "service.name": f"looma-{service}",
            "service.namespace": "looma",
            "service.version": config.service_version,
            "service.instance.id": str(uuid4()),
            "host.name": gethostname(),
        }
    )
