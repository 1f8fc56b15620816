"""Composition root of the auth service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from ai_services.auth.bootstrap import FirstStart
from ai_services.auth.gauges import Gauges
from ai_services.auth.routes import endpoints
from ai_services.auth.service import Auth, open_auth
from ai_services.auth.tokens.signing import TokenTerms
from shared.config import Config
from shared.services import service_named
from shared.serving.service import BaseAIService
from shared.serving.stores import open_stores

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
    data = await open_stores(_SERVICE, config, service, stack)
    auth = stack.enter_context(open_auth(config, data.relational, data.cache))

    async def start() -> None:
        await auth.start()

    service.background("first start", start)
    service.background("cleaning", auth.cleaning.run)
    gauges = Gauges(data.relational, auth.clock, service.metrics.registry)
    service.background("gauges", gauges.run)
    return auth
