"""The life of one server process: settings, logs, loop, signals, exit code.

`python -m gateway` and `python -m ai_services.NAME` are one call of `main` each.
"""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog
import uvloop

from shared.config import Config
from shared.errors import ConfigError
from shared.serving.server import wait_for_signal
from shared.telemetry.logs import configure_logging

EXIT_CONFIG = 2
_MOST_FILES = 1 << 20
log = structlog.get_logger()


class Process(Protocol):
    """Something that serves inside an `async with` block."""

    @property
    def name(self) -> str: ...
    def running(
        self, host: str | None = None, port: int | None = None
    ) -> AbstractAsyncContextManager[str]: ...


def main(name: str, create: Callable[[Config], Process]) -> None:
    """Serve until SIGTERM or SIGINT. A wrong setting ends the process with one line and code 2."""
    try:
        config = Config.from_env()
        configure_logging(name, config)
        allow_many_connections()
        uvloop.run(_serve(create(config), config))
    except ConfigError as error:
        sys.stderr.write(f"looma {name}: {error.message}\n")
        raise SystemExit(EXIT_CONFIG) from None


def allow_many_connections() -> None:
    """Use all the open files that the system grants; the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    granted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < granted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))


def collect_seldom() -> None:
    """Leave what the start has made out of garbage collection, and look at the rest less often.

    What a request makes goes by its reference count; a collection of everything holds up all
    requests for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


async def _serve(process: Process, config: Config) -> None:
    traces = None
    if config.otlp_endpoint is not None:
        # Imported here: a process that exports nothing starts without OpenTelemetry's SDK.
        from shared.telemetry.tracing import configure_tracing  # noqa: PLC0415 - see above

        traces = configure_tracing(process.name, config.otlp_endpoint, config)
    try:
        async with process.running():
            collect_seldom()
            received = await wait_for_signal()
            log.info("stopping", signal=received)
    finally:
        if traces is not None:
            traces.stop()
    log.info("stopped")
