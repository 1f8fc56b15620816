"""History that is old is deleted; what waits, is late or died is counted."""

from __future__ import annotations

import asyncio
from typing import Final

from ai_services.monitor.webhooks.metrics import WebhookMetrics
from ai_services.monitor.webhooks.store import deliveries
from shared.data_access.ports import Relational

KEPT_S: Final = 30 * 86_400.0
_EVERY_S: Final = 30.0
_BATCH: Final = 1_000


class Upkeep:
    """Every 30 s, in any number of processes."""

    def __init__(self, relational: Relational, metrics: WebhookMetrics) -> None:
        self._relational = relational
        self._metrics = metrics

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.once()
            await asyncio.sleep(_EVERY_S)

    async def once(self) -> None:
        async with self._relational.system() as tx:
            await deliveries.let_go(tx)
        while True:
            async with self._relational.system() as tx:
                deleted = await deliveries.clean(tx, KEPT_S, _BATCH)
            if deleted < _BATCH:
                break
        async with self._relational.system() as tx:
            depth = await deliveries.measure(tx)
        self._metrics.open.set(depth.open)
        self._metrics.late.set(depth.late_s)
        self._metrics.dead.set(depth.dead)
