"""Composition root of the auth service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from ai_services.auth.bootstrap import FirstStart
from ai_services.auth.routes import endpoints
from ai_services.auth.service import Auth, open_auth
from ai_services.auth.tokens.signing import TokenTerms
from shared.config import Config
from shared.data_access.access import open_data_access
from shared.services import service_named
from shared.serving.registry import announce
from shared.serving.service import BaseAIService
from shared.store_urls import store_urls

_SERVICE: Final = service_named("auth")


def create_service(config: Config) -> BaseAIService[Auth]:
    # A wrong setting stops the process before it listens.
    FirstStart.of(config)
    TokenTerms.of(config)
    return BaseAIService(
        _SERVICE.name,
        config,
        endpoints=endpoints,
        open_state=partial(_open, config),
        description="Sign-in, users, API keys, the keys that verify tokens, the audit log.",
    )


async def _open(config: Config, service: BaseAIService[Auth], stack: AsyncExitStack) -> Auth:
    data = await stack.enter_async_context(
        open_data_access(
            store_urls(config, _SERVICE.stores),
            ports=_SERVICE.stores,
            pool_size=config.database_pool_size,
            registry=service.metrics.registry,
        )
    )
    auth = stack.enter_context(open_auth(config, data.relational, data.cache))

    async def start() -> None:
        await auth.start()

    # Redis only speeds revocations up: the service is ready without it.
    service.check("postgres", data.relational.ping)
    for name, condition in data.conditions.items():
        service.notice(name, condition)
    service.background("first start", start)
    service.background("cleaning", auth.cleaning.run)
    service.background(
        "registry", lambda: announce(data.cache, service.name, service.url, config.service_version)
    )
    return auth
