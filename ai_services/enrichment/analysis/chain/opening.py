"""The chain of one process, as its settings have it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from ai_services.enrichment.analysis.chain.asking.fence import fence_key
from ai_services.enrichment.analysis.chain.asking.pace import Pace
from ai_services.enrichment.analysis.chain.first_look import FirstLook
from ai_services.enrichment.analysis.chain.metrics import ChainMetrics
from ai_services.enrichment.analysis.chain.rules import Requests, Rules
from shared.config import Config
from shared.data_access.ports import Cache, Relational
from shared.errors import ConfigError, NotFound
from shared.llm.prompts import Prompt, read_prompt
from shared.secrets import data_key, internal_token_secret
from shared.security import InternalTokens

if TYPE_CHECKING:
    from ai_services.enrichment.analysis.chain.model_pass import ModelPass
    from ai_services.enrichment.analysis.trained.model import TrainedModel

PROMPTS: Final = Path(__file__).parent / "asking" / "prompts"
PROMPT: Final = ("calls", 1)


@dataclass(frozen=True, slots=True)
class Chain:
    """`first` looks at what comes in; `models` judges what it leaves to them, None without one.

    `trained` is the model of one's own that both let judge its fact.
    """

    first: FirstLook
    models: ModelPass | None
    metrics: ChainMetrics
    trained: TrainedModel | None = None


def judge_named(model: str) -> str:
    """Who has judged: the model, and the version of the prompt."""
    return f"llm:{model}/{_prompt().version}"


def _prompt() -> Prompt:
    return read_prompt(PROMPTS, *PROMPT)


def first_look(config: Config) -> FirstLook:
    """As the settings have it; without asking anybody. ConfigError for a trained model that isn't there."""
    return _first_look(config, _trained(config))


def _first_look(
    config: Config, trained: TrainedModel | None, metrics: ChainMetrics | None = None
) -> FirstLook:
    rules = Rules.of(config)
    if rules.model is None:
        return FirstLook(trained=trained, metrics=metrics)
    window = config.analysis_request_tokens
    return FirstLook(rules, judge_named(rules.model), window, trained, metrics)


def _trained(config: Config) -> TrainedModel | None:
    _, chosen, reference = config.analyzer.partition("trained:")
    if not chosen:
        return None
    # numpy takes a while to import: only where there is a model.
    from ai_services.enrichment.analysis.trained.registry import (  # noqa: PLC0415 - see above
        load,
        root_of,
    )

    try:
        return load(root_of(config), reference)
    except NotFound as error:
        raise ConfigError(f"ANALYZER: {error.message}") from error


async def open_chain(
    config: Config, db: Relational, cache: Cache, registry: CollectorRegistry, stack: AsyncExitStack
) -> Chain:
    rules, metrics = Rules.of(config), ChainMetrics(registry)
    trained = await asyncio.to_thread(_trained, config)
    first = _first_look(config, trained, metrics)
    if rules.model is None:
        return Chain(first, None, metrics, trained)
    # OpenAI's client takes a second to import, and 40 MB: only where a model is asked.
    from ai_services.enrichment.analysis.chain.asking.ask import Asking  # noqa: PLC0415 - see above
    from ai_services.enrichment.analysis.chain.model_pass import (  # noqa: PLC0415 - see above
        ModelPass,
    )
    from shared.llm.client import open_language_models  # noqa: PLC0415 - see above

    requests = Requests.of(config)
    tokens = InternalTokens(internal_token_secret(config))
    models = await stack.enter_async_context(open_language_models(cache, tokens))
    asking = Asking(
        models,
        rules.model,
        judge_named(rules.model),
        _prompt(),
        fence_key(data_key(config)),
        requests,
        Pace(requests.at_once, requests.per_minute, cache),
        metrics,
    )
    return Chain(first, ModelPass(db, asking, requests, metrics, trained), metrics, trained)
