"""Analyses what comes in, within seconds."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from ai_services.enrichment.analysis import store
from ai_services.enrichment.analysis.chain.first_look import FirstLook
from ai_services.enrichment.analysis.metrics import AnalysisMetrics
from ai_services.enrichment.analysis.pending import PooledAnalyzer, analyse_pending
from shared.data_access.ports import Relational
from shared.errors import StoreUnavailable

_POLL_S: Final = 1.0
_REST_S: Final = 30.0  # of an organisation whose analysis failed, until it is tried again
_log = structlog.get_logger("looma.analysis")


class AnalysisLoop:
    """Organisation after organisation; reports how far behind it is."""

    def __init__(
        self,
        db: Relational,
        analyzer: PooledAnalyzer,
        metrics: AnalysisMetrics,
        first: FirstLook,
    ) -> None:
        self._db = db
        self._first = first
        self._analyzer = analyzer
        self._metrics = metrics
        self._rests_until: dict[UUID, float] = {}

    async def run(self) -> None:
        """Until cancelled; raises StoreUnavailable."""
        idle_polls = 0
        while True:
            async with self._db.system() as tx:
                organisations = await store.organisations_to_analyse(tx)
                self._metrics.lag.set(await store.oldest_unanalysed(tx) if organisations else 0)
            done = 0
            away: StoreUnavailable | None = None
            for org_id in organisations:
                if time.monotonic() < self._rests_until.get(org_id, 0):
                    continue
                try:
                    done += await self._analyse(org_id)
                except StoreUnavailable as error:  # for all, or for this one's statements only
                    away = error
            if away is not None:
                raise away
            idle_polls = 0 if done or self._analyzer.busy else idle_polls + 1
            if idle_polls == 60:
                await self._analyzer.close()  # workers hold memory; they start again when needed
            await asyncio.sleep(_POLL_S)

    async def _analyse(self, org_id: UUID) -> int:
        saved = partial(self._metrics.saved, org_id)
        try:
            return await analyse_pending(
                self._db, org_id, self._analyzer, saved, self._metrics.discarded, first=self._first
            )
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - one organisation's transcripts must not hold up the others
            _log.exception("analysis_failed", org_id=str(org_id))
            self._rests_until[org_id] = time.monotonic() + _REST_S
            return 0
