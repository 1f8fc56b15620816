"""Composition root of the portrait service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from ai_services.portrait.answers import Answers
from ai_services.portrait.computing.jobs import JOBS
from ai_services.portrait.counting.loop import Counting
from ai_services.portrait.counting.metrics import CountingMetrics
from ai_services.portrait.gauges import Gauges
from ai_services.portrait.projections import PROJECTIONS
from ai_services.portrait.routes import endpoints
from ai_services.portrait.segments import refreshing
from ai_services.portrait.state import Stores
from shared.config import Config
from shared.data_access.outbox.relay import OutboxRelay
from shared.jobs.rebuilding import rebuild_jobs
from shared.jobs.worker import Worker
from shared.secrets import internal_token_secret
from shared.security import InternalTokens
from shared.services import service_named
from shared.serving.peers import open_peers
from shared.serving.service import BaseAIService
from shared.serving.stores import open_stores

_SERVICE: Final = service_named("portrait")
_PLACES: Final = 3  # each takes a connection of the pool, while it rebuilds two


def create_service(config: Config) -> BaseAIService[Stores]:
    return BaseAIService(
        _SERVICE.name,
        config,
        endpoints=endpoints,
        open_state=partial(_open, config),
        description="Who a user is by their calls, per natural week, month and quarter.",
    )


async def _open(config: Config, service: BaseAIService[Stores], stack: AsyncExitStack) -> Stores:
    data = await open_stores(_SERVICE, config, service, stack)
    relay = OutboxRelay(
        data.relational,
        [make(data) for make in PROJECTIONS.values()],
        registry=service.metrics.registry,
    )
    worker = Worker(
        data.relational,
        None,
        (*JOBS, *refreshing.JOBS, *rebuild_jobs(relay, _SERVICE.projections)),
        service=_SERVICE.name,
        registry=service.metrics.registry,
        places=_PLACES,
    )
    counting = Counting(data.relational, CountingMetrics(service.metrics.registry))
    gauges = Gauges(data.relational, service.metrics, config.metrics_organisations)
    service.background("outbox", relay.run)
    service.background("jobs", worker.run)
    service.background("gauges", gauges.run)
    service.background("counting", counting.run)
    answers = Answers(data.relational, data.cache, service.metrics.registry)
    stack.callback(answers.close)
    tokens = InternalTokens(internal_token_secret(config))
    peers = await stack.enter_async_context(open_peers(data.cache, tokens))
    return Stores(data.relational, answers, peers)
