"""What the monitor service tells of jobs, whichever service does them."""

from __future__ import annotations

import asyncio
from typing import Final

from prometheus_client import CollectorRegistry

from shared.data_access.ports import Relational
from shared.jobs.store import jobs
from shared.telemetry.metrics import Gauge

_EVERY_S: Final = 30.0


class Gauges:
    """Measured every 30 s over all organisations. Labels are names of kinds of job."""

    def __init__(self, relational: Relational, registry: CollectorRegistry) -> None:
        self._relational = relational
        self._dead = Gauge(
            "jobs_dead", "Jobs that died within 24 hours and weren't retried", ("job_type",),
            registry=registry,
        )  # fmt: skip

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(_EVERY_S)

    async def once(self) -> None:
        async with self._relational.system() as tx:
            dead = await jobs.dead_of_a_day(tx)
        for name, count in dead.items():
            self._dead.labels(name).set(count)
