"""One metrics page for all workers of a port: a scrape reaches any one of them.

Each worker keeps a file with what it has counted, written every few seconds and whenever one of
them is asked for the page; the page is the sum of the files. Nothing is shown that does not stand
in a file, and a worker that is started again goes on from the file of the one before it with its
number: what is summed up never sinks while the parent lives. What a killed worker had counted since
it last wrote, a few seconds at most, is lost.

Counters and histograms are added up, gauges by the table in telemetry/exposition.py. A gauge of a
worker that has ended is no more: the parent takes it out of the file.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import orjson
import structlog
from prometheus_client.metrics_core import Metric

from gateway.telemetry.exposition import Family, added, families_of, lasting, rendered
from gateway.workers.scatter_gather import ScatterGather

EVERY_S: Final = 5.0
_FRESH_S: Final = 0.2  # how often a worker writes its file at most, whoever asks how often
_QUESTION: Final = "metrics"
log = structlog.get_logger()


class WorkerMetrics:
    """The metrics of worker `number`; `folder` is shared by the workers of one port."""

    def __init__(
        self, folder: Path, number: int, own: Callable[[], Iterable[Metric]], others: ScatterGather
    ) -> None:
        self._folder = folder
        self._path = metrics_file(folder, number)
        self._own = own
        self._others = others
        self._before = lasting(read_families(self._path))  # of those with our number before us
        self._written_at = float("-inf")
        self._asking = asyncio.Lock()
        others.answer(_QUESTION, self._asked)

    async def write_forever(self) -> None:
        while True:
            self.write()
            await asyncio.sleep(EVERY_S)

    def write(self) -> None:
        """Bring the file up to date."""
        own = families_of(self._own())
        try:
            write_families(self._path, added([self._before, own]) if self._before else own)
        except OSError as error:  # a full disk stops the figures, not the requests
            log.warning("metrics can't be written", file=self._path.name, reason=error.strerror)
        self._written_at = time.monotonic()

    async def page(self, *, openmetrics: bool = False) -> bytes:
        """All workers' metrics; a worker that doesn't answer as it last wrote them."""
        async with self._asking:  # one page at a time, whoever asks how often
            self._asked()
            await self._others.ask(_QUESTION)
            # Read anew each time: a page that was kept would be behind one of another worker.
            return await asyncio.to_thread(_summed_page, self._folder, openmetrics=openmetrics)

    def _asked(self) -> bytes:
        if time.monotonic() - self._written_at >= _FRESH_S:
            self.write()
        return b""


def metrics_file(folder: Path, number: int) -> Path:
    return folder / f"worker-{number}.json"


def retire(folder: Path, number: int) -> None:
    """Worker `number` has ended: what it counted stays, its gauges go."""
    path = metrics_file(folder, number)
    try:
        if path.exists():
            write_families(path, lasting(read_families(path)))
    except OSError as error:
        log.warning("metrics can't be written", file=path.name, reason=error.strerror)


def read_families(path: Path) -> list[Family]:
    """What stands there; nothing if that is not to be read, as before the first time."""
    try:
        return [
            Family(
                str(name), str(documentation), str(kind), _numbers(samples), _exemplars(exemplars)
            )
            for name, documentation, kind, samples, exemplars in orjson.loads(path.read_bytes())
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("a worker's metrics can't be read", file=path.name, reason=str(error))
        return []


def write_families(path: Path, families: Iterable[Family]) -> None:
    """As a whole or not at all; readable by the owner only."""
    written = [
        [one.name, one.documentation, one.kind, one.samples, one.exemplars] for one in families
    ]
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps(written))
    new.replace(path)


def _numbers(samples: Mapping[str, object]) -> dict[str, float]:
    return {series: value for series, value in samples.items() if isinstance(value, float)}


def _exemplars(written: Mapping[str, tuple[float, str]]) -> dict[str, tuple[float, str]]:
    return {series: (float(at), str(text)) for series, (at, text) in written.items()}


def _summed_page(folder: Path, *, openmetrics: bool) -> bytes:
    pages = [read_families(path) for path in sorted(folder.glob("worker-*.json"))]
    return rendered(added(pages), openmetrics=openmetrics)
