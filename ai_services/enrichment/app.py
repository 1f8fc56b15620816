"""Composition root of the enrichment service."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

from ai_services.enrichment.analysis import store
from ai_services.enrichment.analysis.pending import (
    Discarded,
    PooledAnalyzer,
    analyse_pending,
    pooled_analyzer,
)
from ai_services.enrichment.projections import PROJECTIONS
from ai_services.enrichment.routes import endpoints
from ai_services.enrichment.service import Stores
from shared.config import Config
from shared.data_access.access import UnifiedDataAccess, open_data_access
from shared.data_access.outbox.relay import OutboxRelay
from shared.errors import StoreUnavailable
from shared.secrets import data_key
from shared.services import service_named
from shared.serving.registry import announce
from shared.serving.service import BaseAIService
from shared.store_urls import store_urls

_POLL_S: Final = 1.0
_REST_S: Final = 30.0  # of an organisation whose analysis failed, until it is tried again
_SERVICE: Final = service_named("enrichment")
_log = structlog.get_logger("looma.analysis")


def create_service(config: Config) -> BaseAIService[Stores]:
    return BaseAIService(
        _SERVICE.name,
        config,
        endpoints=endpoints,
        open_state=partial(_open, config),
        description="Call records in, analysed: sentiment, complaint and churn risk, search.",
    )


async def _open(config: Config, service: BaseAIService[Stores], stack: AsyncExitStack) -> Stores:
    data = await stack.enter_async_context(
        open_data_access(
            store_urls(config, _SERVICE.stores),
            ports=_SERVICE.stores,
            pool_size=config.database_pool_size,
            registry=service.metrics.registry,
        )
    )
    analyzer = await stack.enter_async_context(pooled_analyzer(config.analysis_workers))
    relay = OutboxRelay(
        data.relational,
        [make(data) for make in PROJECTIONS.values()],
        registry=service.metrics.registry,
    )
    service.check("postgres", data.relational.ping)
    for name, condition in data.conditions.items():
        service.notice(name, condition)
    service.background("outbox", relay.run)
    service.background("analysis", _AnalysisLoop(data, analyzer, service).run)
    service.background(
        "registry", lambda: announce(data.cache, service.name, service.url, config.service_version)
    )
    return Stores(data.relational, data.search, data_key(config))


class _AnalysisLoop:
    """Analyses what comes in, organisation after organisation, and reports how far behind it is."""

    def __init__(
        self, data: UnifiedDataAccess, analyzer: PooledAnalyzer, service: BaseAIService[Stores]
    ) -> None:
        self._db = data.relational
        self._analyzer = analyzer
        self._rests_until: dict[UUID, float] = {}
        self._lag = Gauge(
            "enrichment_lag_seconds",
            "Age of the oldest transcript that waits for analysis",
            registry=service.metrics.registry,
        )
        self._analysed = Counter(
            "enrichment_analysed_total",
            "Transcripts analysed",
            ("analyzer",),
            registry=service.metrics.registry,
        ).labels(analyzer.name)
        self._in_vain = Counter(
            "enrichment_analyses_discarded_total",
            "Analyses not saved: the call was claimed by another worker, or its transcript corrected",
            ("reason",),
            registry=service.metrics.registry,
        )

    async def run(self) -> None:
        idle_polls = 0
        while True:
            async with self._db.system() as tx:
                organisations = await store.organisations_to_analyse(tx)
                self._lag.set(await store.oldest_unanalysed(tx) if organisations else 0)
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
            idle_polls = 0 if done else idle_polls + 1
            if idle_polls == 60:
                await self._analyzer.close()  # workers hold memory; they start again when needed
            await asyncio.sleep(_POLL_S)

    async def _analyse(self, org_id: UUID) -> int:
        try:
            return await analyse_pending(
                self._db, org_id, self._analyzer, self._analysed.inc, self._discarded
            )
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - one organisation's transcripts must not hold up the others
            _log.exception("analysis_failed", org_id=str(org_id))
            self._rests_until[org_id] = time.monotonic() + _REST_S
            return 0

    def _discarded(self, reason: Discarded, calls: int) -> None:
        self._in_vain.labels(reason).inc(calls)
