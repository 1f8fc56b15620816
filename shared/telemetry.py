"""Logs, metrics and traces of one process.

Log lines are JSON objects with `service`, `request_id`, `trace_id` and `org_id` taken from the
context of the request. Labels of metrics come from closed vocabularies: route templates,
methods, status classes.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog
from opentelemetry import trace
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from shared.config import Config
from shared.phones import mask_phones

LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SECRET = re.compile(r"(?i)(bearer\s+)\S+|(//[^:/@\s]*:)[^\s@/]+(?=@)")


def _hide(match: re.Match[str]) -> str:
    return f"{match[1] or match[2]}***"


def _redact(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for key, value in event.items():
        if isinstance(value, str) and key not in ("timestamp", "request_id", "trace_id", "org_id"):
            event[key] = mask_phones(_SECRET.sub(_hide, value))
    return event


def configure_logging(service: str, config: Config) -> None:
    """Send every log line of this process, the libraries' too, to stderr in one format."""
    level = getattr(logging, config.log_level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if config.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    for noisy in ("sanic.access", "sanic.root", "sanic.server", "httpx", "httpcore", "neo4j"):
        logging.getLogger(noisy).handlers.clear()
        logging.getLogger(noisy).setLevel(logging.WARNING)
        logging.getLogger(noisy).propagate = True


def process_registry() -> CollectorRegistry:
    """The Prometheus registry of one process, with what is measured of any process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Metrics:
    """The Prometheus registry of one process with what every service counts."""

    def __init__(self, service: str) -> None:
        self.registry = process_registry()
        self.requests = Counter(
            "http_requests_total",
            "Requests answered",
            ("service", "method", "route", "status"),
            registry=self.registry,
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "From the request's head read to the answer written",
            ("service", "method", "route"),
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "http_requests_in_flight",
            "Requests being answered",
            ("service",),
            registry=self.registry,
        ).labels(service)


def configure_tracing(service: str, config: Config) -> TracerProvider | None:
    """Export spans over OTLP when OTLP_ENDPOINT is set; the caller shuts the provider down."""
    set_global_textmap(TraceContextTextMapPropagator())
    if config.otlp_endpoint is None:
        return None
    # Imported here: it brings protobuf and requests, which a process without a collector never uses.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - see above
        OTLPSpanExporter,
    )

    provider = TracerProvider(resource=Resource.create({"service.name": f"looma-{service}"}))
    endpoint = config.otlp_endpoint.rstrip("/") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)
    return provider
