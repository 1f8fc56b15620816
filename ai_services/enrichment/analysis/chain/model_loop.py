"""Asks models about what waits for them, once in a while, so that transcripts share requests."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from ai_services.enrichment.analysis.chain import store
from ai_services.enrichment.analysis.chain.metrics import ChainMetrics
from shared.data_access.ports import Relational
from shared.errors import StoreUnavailable

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.chain.model_pass import ModelPass

_CLAIMS: Final = 4  # of an organisation, until the next has its turn
_SWEEP_S: Final = 3600.0
_LOOK_S: Final = 60.0  # between two counts of what waits
_log = structlog.get_logger("looma.analysis")


class ModelLoop:
    """Organisation after organisation, every `every_s` seconds; 0: that is left to the daily job."""

    def __init__(
        self,
        db: Relational,
        models: ModelPass | None,
        metrics: ChainMetrics,
        every_s: float,
        kept_days: int,
    ) -> None:
        self._db = db
        self._models = models
        self._metrics = metrics
        self._every_s = every_s
        self._kept_days = kept_days
        self._swept_at = -math.inf

    async def run(self) -> None:
        """Until cancelled; raises StoreUnavailable."""
        while True:
            async with self._db.system() as tx:
                organisations = await store.organisations_waiting(tx)
                self._metrics.waiting.set(await store.count_waiting(tx))
                self._metrics.dead_letters.set(await store.count_dead(tx))
                if time.monotonic() > self._swept_at + _SWEEP_S:
                    self._swept_at = time.monotonic()
                    await store.sweep(tx, self._kept_days)
            more = False
            if self._models is not None and self._every_s:
                for org_id in organisations:
                    more = await self._pass(org_id, self._models) or more
            if not more:
                await asyncio.sleep(self._every_s or _LOOK_S)

    async def _pass(self, org_id: UUID, models: ModelPass) -> bool:
        """Whether there is more to do at once."""
        try:
            return (await models.run(org_id, most_claims=_CLAIMS)).more
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - one organisation's transcripts must not hold up the others
            _log.exception("model_analysis_failed", org_id=str(org_id))
            return False
