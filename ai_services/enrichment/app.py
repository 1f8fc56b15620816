"""Composition root of the enrichment service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from ai_services.enrichment.analysis.chain.model_loop import ModelLoop
from ai_services.enrichment.analysis.chain.opening import open_chain
from ai_services.enrichment.analysis.loop import AnalysisLoop
from ai_services.enrichment.analysis.metrics import AnalysisMetrics
from ai_services.enrichment.analysis.pending import pooled_analyzer
from ai_services.enrichment.counts import OrganisationCounts
from ai_services.enrichment.imports.sweep import keep_sweeping
from ai_services.enrichment.jobs import JOBS
from ai_services.enrichment.projections import PROJECTIONS
from ai_services.enrichment.routes import endpoints
from ai_services.enrichment.service import Stores
from ai_services.enrichment.sources.connected import Connected
from ai_services.enrichment.sources.metrics import SourceMetrics
from ai_services.enrichment.sources.sources_file import read_sources
from ai_services.enrichment.sync.drop_folder import DropFolder
from ai_services.enrichment.work import Work
from shared.config import Config
from shared.data_access.outbox.relay import OutboxRelay
from shared.jobs.rebuilding import rebuild_jobs
from shared.jobs.worker import Worker
from shared.secrets import data_key
from shared.services import service_named
from shared.serving.service import BaseAIService
from shared.serving.stores import open_stores

_SERVICE: Final = service_named("enrichment")
# Each takes a connection or two at a time, of DATABASE_POOL_SIZE: requests are to find some left.
_PLACES: Final = 3


def create_service(config: Config) -> BaseAIService[Stores]:
    return BaseAIService(
        _SERVICE.name,
        config,
        endpoints=endpoints,
        open_state=partial(_open, config),
        description="Call records in, analysed: sentiment, complaint and churn risk, search.",
    )


async def _open(config: Config, service: BaseAIService[Stores], stack: AsyncExitStack) -> Stores:
    data = await open_stores(_SERVICE, config, service, stack)
    db, registry = data.relational, service.metrics.registry
    analyzer = await stack.enter_async_context(pooled_analyzer(config.analysis_workers))
    relay = OutboxRelay(db, [make(data) for make in PROJECTIONS.values()], registry=registry)
    service.background("outbox", relay.run)
    counts = OrganisationCounts(service.metrics)
    analyses = AnalysisMetrics(analyzer.name, counts, registry)
    chain = await open_chain(config, db, data.cache, registry, stack)
    service.background("analysis", AnalysisLoop(db, analyzer, analyses, chain.first).run)
    models = ModelLoop(
        db, chain.models, chain.metrics, config.analysis_wait_seconds, config.analysis_kept_days
    )
    service.background("models", models.run)
    country = config.default_country
    sources = (
        [] if config.sync_folder is None else [DropFolder(config.sync_folder, country=country)]
    )
    known = {} if config.sources is None else read_sources(config.sources, config.source_secrets)
    connected = Connected(SourceMetrics(registry), known)
    service.background("sources", partial(connected.metrics.watch, db, known))
    work = Work(data_key(config), analyzer, chain, analyses, counts, sources, country, connected)
    types = (*JOBS, *rebuild_jobs(relay, _SERVICE.projections))
    worker = Worker(db, work, types, service=_SERVICE.name, registry=registry, places=_PLACES)
    service.background("jobs", worker.run)
    service.background("sweep", partial(keep_sweeping, db))
    topics = frozenset(
        chain.trained.labels if chain.trained and chain.trained.fact == "topic" else ()
    )
    return Stores(
        db,
        data.search,
        data_key(config),
        counts,
        country,
        config.erased_stay_out,
        connected,
        topics=topics,
    )
