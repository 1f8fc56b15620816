"""Composition root of the llm service."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from ai_services.llm.asking.answers_cache import AnswersCache
from ai_services.llm.asking.attempts import Attempts
from ai_services.llm.asking.coalescing import Coalescing
from ai_services.llm.asking.completions import Completions
from ai_services.llm.asking.course import RetryPolicy
from ai_services.llm.asking.limits import Limits
from ai_services.llm.asking.replicas import Replicas
from ai_services.llm.asking.running import Means
from ai_services.llm.batches.batches import Batches
from ai_services.llm.batches.files import Files
from ai_services.llm.batches.following import Following
from ai_services.llm.metrics import LlmMetrics
from ai_services.llm.models.reload import Models
from ai_services.llm.organisation.settings import Settings
from ai_services.llm.privacy.seal import Seal
from ai_services.llm.providers.batch_client import opened_batch_client
from ai_services.llm.providers.client import opened_providers
from ai_services.llm.providers.health import Health
from ai_services.llm.routes import endpoints
from ai_services.llm.spend.ledger import Ledger
from ai_services.llm.spend.sweep import keep_sweeping
from ai_services.llm.state import State
from shared.config import Config
from shared.secrets import data_key
from shared.services import service_named
from shared.serving.service import BaseAIService
from shared.serving.stores import open_stores

_SERVICE: Final = service_named("llm")


def create_service(config: Config) -> BaseAIService[State]:
    return BaseAIService(
        _SERVICE.name,
        config,
        endpoints=endpoints,
        open_state=partial(_open, config),
        description="The one door to every language model: OpenAI-compatible, ledger, budgets.",
    )


async def _open(config: Config, service: BaseAIService[State], stack: AsyncExitStack) -> State:
    data = await open_stores(_SERVICE, config, service, stack)
    models = Models(config)
    metrics = LlmMetrics(service.metrics.registry)
    ledger = await stack.enter_async_context(Ledger(data.relational))
    providers = await stack.enter_async_context(opened_providers())
    replicas = Replicas(data.cache, service.name)
    limits = Limits(data.cache, service.metrics.registry, replicas=lambda: replicas.number)
    stack.push_async_callback(limits.close)
    means = Means(providers, ledger, Health(), limits, metrics)
    attempts = Attempts(means, RetryPolicy())
    service.notice("models", lambda: models.problem or "up")
    service.background("replicas", replicas.follow_forever)
    service.background("models", models.watch_forever)
    service.background("sweep", partial(keep_sweeping, data.relational, swept=metrics.swept))
    coalescing: Coalescing[bytes] = Coalescing()
    stack.push_async_callback(coalescing.close)
    settings = Settings(data.relational)
    answers = AnswersCache(data.cache, data_key(config), service.metrics.registry)
    completions = Completions(lambda: models.catalogue, attempts, settings, answers, coalescing)
    seal = Seal(data_key(config), b"looma llm batches")
    client = await stack.enter_async_context(opened_batch_client())
    following = Following(data.relational, lambda: models.catalogue, client, seal, metrics)
    service.background("batches", following.follow_forever)
    files = Files(data.relational, seal)
    batches = Batches(
        data.relational, lambda: models.catalogue, settings, files, seal, following.news
    )
    return State(data.relational, models, completions, settings, files, batches)
