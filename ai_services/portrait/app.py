"""Composition root of the portrait service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from ai_services.portrait.projections import PROJECTIONS
from ai_services.portrait.routes import endpoints
from shared.config import Config
from shared.data_access.access import open_data_access
from shared.data_access.outbox.relay import OutboxRelay
from shared.data_access.ports import Relational
from shared.services import service_named
from shared.serving.registry import announce
from shared.serving.service import BaseAIService
from shared.store_urls import store_urls

_SERVICE: Final = service_named("portrait")


def create_service(config: Config) -> BaseAIService[Relational]:
    return BaseAIService(
        _SERVICE.name,
        config,
        endpoints=endpoints,
        open_state=partial(_open, config),
        description="Who a user is by their calls, per natural week, month and quarter.",
    )


async def _open(
    config: Config, service: BaseAIService[Relational], stack: AsyncExitStack
) -> Relational:
    data = await stack.enter_async_context(
        open_data_access(
            store_urls(config, _SERVICE.stores),
            ports=_SERVICE.stores,
            pool_size=config.database_pool_size,
            registry=service.metrics.registry,
        )
    )
    relay = OutboxRelay(
        data.relational,
        [make(data) for make in PROJECTIONS.values()],
        registry=service.metrics.registry,
    )
    service.check("postgres", data.relational.ping)
    for name, condition in data.conditions.items():
        service.notice(name, condition)
    service.background("outbox", relay.run)
    service.background(
        "registry", lambda: announce(data.cache, service.name, service.url, config.service_version)
    )
    return data.relational
