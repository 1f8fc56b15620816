"""Log lines of one process.

They are JSON objects with `service`, `request_id`, `trace_id` and `org_id` taken from the context
of the request.
"""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar
from typing import Any, Protocol
from uuid import UUID

import structlog

from shared.config import Config
from shared.phones import mask_phones
from shared.telemetry.tracebacks import without_texts


class Traceable(Protocol):
    """A request, as far as log lines name it."""

    @property
    def id(self) -> str: ...
    @property
    def trace_lines(self) -> str:
        """Header lines that carry its trace on; '' while there is none."""
        ...

    @property
    def trace_id(self) -> str:
        """'' while it is part of no trace."""
        ...


class RequestNames:
    """What the log lines of a service's request name; `org_id` '' until it is known."""

    __slots__ = ("org_id", "request_id", "trace_id")

    def __init__(self, request_id: str, trace_id: str) -> None:
        self.request_id = request_id
        self.trace_id = trace_id
        self.org_id: UUID | str = ""


# The request that is worked on. Binding its ids for each would cost too much: they are asked for by
# the lines that are written, which are few. In the gateway and in a service.
current_request: ContextVar[Traceable | None] = ContextVar("current_request", default=None)
current_names: ContextVar[RequestNames | None] = ContextVar("current_names", default=None)
_SECRET = re.compile(r"(?i)(bearer\s+)\S+|(//[^:/@\s]*:)[^\s@/]+(?=@)")


def _hide(match: re.Match[str]) -> str:
    return f"{match[1] or match[2]}***"


def name_request(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """The processor that names the request that is worked on."""
    names = current_names.get()
    if names is not None:
        for key in names.__slots__:
            if value := str(getattr(names, key)):
                event.setdefault(key, value)
    request = current_request.get()
    if request is not None:
        event.setdefault("request_id", request.id)
        if request.trace_id:
            event.setdefault("trace_id", request.trace_id)
    return event


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
        name_request,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(without_texts),
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
