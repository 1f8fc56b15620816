"""What the portrait service tells of organisations: how many portraits are kept of each."""

from __future__ import annotations

import asyncio
from typing import Final

from ai_services.portrait import store
from shared.data_access.ports import Relational
from shared.telemetry.labels import OTHER
from shared.telemetry.metrics import Gauge, Metrics

_EVERY_S: Final = 30.0


class Gauges:
    """Measured every 30 s, whoever computed them; `organisations` with the most have their own."""

    def __init__(self, relational: Relational, metrics: Metrics, organisations: int) -> None:
        self._relational = relational
        self._organisations = organisations
        self._kept = Gauge(
            "organisation_portraits",
            "Portraits of users that are kept; organisations with fewer together as other",
            ("organisation",),
            registry=metrics.registry,
        )

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(_EVERY_S)

    async def once(self) -> None:
        async with self._relational.system() as tx:
            kept = await store.portraits_kept(tx)
        self._kept.clear()  # of those that have fewer than others now
        for org_id, portraits in kept[: self._organisations]:
            self._kept.labels(str(org_id)).set(portraits)
        if others := kept[self._organisations :]:
            self._kept.labels(OTHER).set(sum(count for _, count in others))
