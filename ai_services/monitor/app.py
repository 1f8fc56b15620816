"""Composition root of the monitor service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

import httpx

from ai_services.monitor.jobs.gauges import Gauges
from ai_services.monitor.routes import endpoints
from ai_services.monitor.state import State
from ai_services.monitor.status.patience import Patience
from ai_services.monitor.status.platform import Services, Stores
from ai_services.monitor.status.report import StoreName
from ai_services.monitor.status.survey import Survey
from ai_services.monitor.webhooks.delivery.resolving import REGISTERING_THREADS, opened_resolver
from ai_services.monitor.webhooks.delivery.sending import Sender
from ai_services.monitor.webhooks.delivery.signing import Seal
from ai_services.monitor.webhooks.delivery.worker import Deliveries
from ai_services.monitor.webhooks.listening import WebhookMessages
from ai_services.monitor.webhooks.metrics import WebhookMetrics
from ai_services.monitor.webhooks.service import Webhooks
from ai_services.monitor.webhooks.upkeep import Upkeep
from shared.config import Config
from shared.data_access.access import UnifiedDataAccess
from shared.data_access.outbox.relay import OutboxRelay
from shared.secrets import data_key, internal_token_secret
from shared.security import InternalTokens
from shared.services import service_named
from shared.serving.peers import open_peers
from shared.serving.registry import KnownInstances
from shared.serving.service import BaseAIService
from shared.serving.stores import open_stores

_SERVICE: Final = service_named("monitor")
_PATIENCE_S: Final = 1.5  # of the status, with each that it asks


def create_service(config: Config) -> BaseAIService[State]:
    return BaseAIService(
        _SERVICE.name,
        config,
        endpoints=endpoints,
        open_state=partial(_open, config),
        description="Jobs and their schedules, how the whole platform is, and webhooks.",
    )


async def _open(config: Config, service: BaseAIService[State], stack: AsyncExitStack) -> State:
    data = await open_stores(_SERVICE, config, service, stack)
    service.background("gauges", Gauges(data.relational, service.metrics.registry).run)
    return State(
        data.relational,
        await _survey(config, data, stack),
        await _webhooks(config, data, service, stack),
    )


async def _survey(config: Config, data: UnifiedDataAccess, stack: AsyncExitStack) -> Survey:
    tokens = InternalTokens(internal_token_secret(config))
    peers = await stack.enter_async_context(open_peers(data.cache, tokens))
    client = await stack.enter_async_context(
        httpx.AsyncClient(timeout=_PATIENCE_S, trust_env=False)
    )
    within: dict[StoreName, StoreName] = {}
    if config.vector_url is None:
        within["vectors"] = "postgres"
    if config.search_url is None:
        within["search"] = "postgres"
    patience = Patience(_PATIENCE_S)
    survey = Survey(
        data.relational,
        Services(KnownInstances(data.cache), client, patience),
        Stores(data, within, patience),
        peers,
        patience,
    )
    stack.push_async_callback(survey.close)
    return survey


async def _webhooks(
    config: Config, data: UnifiedDataAccess, service: BaseAIService[State], stack: AsyncExitStack
) -> Webhooks:
    registry = service.metrics.registry
    metrics = WebhookMetrics(registry)
    networks = config.webhook_private_networks
    registering = await stack.enter_async_context(opened_resolver(networks, REGISTERING_THREADS))
    sending = await stack.enter_async_context(opened_resolver(networks))
    seal = Seal(data_key(config))
    deliveries = Deliveries(data.relational, Sender(sending), seal, metrics)
    messages = WebhookMessages(
        data.relational, queued=deliveries.nudge, dropped=metrics.dropped.inc
    )
    service.background("outbox", OutboxRelay(data.relational, [messages], registry=registry).run)
    service.background("webhooks", deliveries.run)
    service.background("webhook upkeep", Upkeep(data.relational, metrics).run)
    return Webhooks(data.relational, registering, seal, deliveries.nudge)
