"""One metrics page for all workers of a port: a scrape reaches any one of them.

Each writes its own page to a file now and then; the one that is asked adds the others' to its own.
Series carry a label `worker` instead of being added up: a worker that is started again begins at 0,
which Prometheus takes for a reset of that series only.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

EVERY_S: Final = 2.0
_OLD_S: Final = 15.0  # a worker that wrote nothing for so long has gone


class WorkerMetrics:
    """The page of worker `number`; `folder` is shared by the workers of one port."""

    def __init__(self, folder: Path, number: int, own: Callable[[], bytes]) -> None:
        self._folder = folder
        self._number = number
        self._own = own

    async def write_forever(self) -> None:
        while True:
            self.write()
            await asyncio.sleep(EVERY_S)

    def write(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(self._number)
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._own())
        new.replace(path)

    def page(self) -> bytes:
        """All workers' metrics, the own ones as of now, the others' some seconds old."""
        pages = {self._number: self._own()}
        for path in self._folder.glob("worker-*.prom"):
            number = int(path.stem.removeprefix("worker-"))
            try:
                if number not in pages and time.time() - path.stat().st_mtime < _OLD_S:
                    pages[number] = path.read_bytes()
            except FileNotFoundError:
                continue  # it was being replaced
        return merged(pages)

    def _path(self, number: int) -> Path:
        return self._folder / f"worker-{number}.prom"


def merged(pages: dict[int, bytes]) -> bytes:
    """Pages by worker as one, each sample with its worker."""
    families: dict[str, Metric] = {}
    for number, page in sorted(pages.items()):
        for family in text_string_to_metric_families(page.decode()):
            into = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, "worker": str(number)}
                into.samples.append(sample._replace(labels=labels))
    registry = CollectorRegistry()
    registry.register(_Fixed(families.values()))
    return generate_latest(registry)


class _Fixed(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def collect(self) -> Iterable[Metric]:
        return self._families
