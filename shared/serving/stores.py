"""The stores of a service, and what follows from having them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TypeVar

from shared.config import Config
from shared.data_access.access import UnifiedDataAccess, open_data_access
from shared.services import Service
from shared.serving.registry import announce
from shared.serving.service import BaseAIService
from shared.store_urls import store_urls

S = TypeVar("S")


async def open_stores(
    entry: Service, config: Config, service: BaseAIService[S], stack: AsyncExitStack
) -> UnifiedDataAccess:
    """Open the stores of the service's entry until `stack` ends.

    PostgreSQL counts towards `/ready`, which tells of the others; all are among the metrics. While
    the service serves it is announced in the registry.
    """
    data = await stack.enter_async_context(
        open_data_access(
            store_urls(config, entry.stores),
            ports=entry.stores,
            pool_size=config.database_pool_size,
            registry=service.metrics.registry,
        )
    )
    service.check("postgres", data.relational.ping)
    for name, condition in data.conditions.items():
        service.notice(name, condition)
    service.background(
        "registry", lambda: announce(data.cache, service.name, service.url, config.service_version)
    )
    return data
