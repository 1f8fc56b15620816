"""Composition root of a service that is made up: it repeats what it is told."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from ai_services.echo.projections import PROJECTIONS
from ai_services.echo.routes import endpoints

from shared.config import Config
from shared.data_access.access import open_data_access
from shared.data_access.outbox.relay import OutboxRelay
from shared.data_access.ports import Relational
from shared.services import service_named
from shared.serving.registry import announce
from shared.serving.service import BaseAIService
from shared.store_urls import store_urls

_SERVICE = service_named("echo")


def create_service(config: Config) -> BaseAIService[Relational]:
    return BaseAIService(
        _SERVICE.name, config, endpoints=endpoints, open_state=partial(_open, config)
    )


async def _open(
    config: Config, service: BaseAIService[Relational], stack: AsyncExitStack
) -> Relational:
    stores = _SERVICE.stores
    data = await stack.enter_async_context(
        open_data_access(store_urls(config, stores), ports=stores, pool_size=2)
    )
    relay = OutboxRelay(data.relational, [make(data) for make in PROJECTIONS.values()])
    service.check("postgres", data.relational.ping)
    service.background("outbox", relay.run)
    service.background("registry", lambda: announce(data.cache, service.name, service.url))
    return data.relational
