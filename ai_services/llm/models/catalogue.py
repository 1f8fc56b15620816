"""The catalogue: providers, the models that they offer, what each costs, what stands in for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from ai_services.llm.models.price import Price
from shared.errors import ModelNotFound, NoModel, NoPrice

ModelKind = Literal["chat", "embeddings"]
FallbackReason = Literal["unavailable", "context", "refused"]


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens and requests that may begin in a minute; None: no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The rate of each organisation, and of each key or user."""

    organisation: Rate = Rate()
    subject: Rate = Rate()


@dataclass(frozen=True, slots=True)
class Provider:
    """Somebody who answers by the OpenAI protocol below `base_url`, which ends without a slash.

    `key` is '' where none is asked for. `local`: what is sent doesn't leave the operator's network.
    `concurrency` is the number of requests under way. An attempt may take `connect_s` to connect,
    `first_byte_s` to its first byte, `idle_s` between two, `total_s` in all. `batch`: it takes batches
    of requests, for which it asks `batch_discount` (0 to 1) less.
    """

    name: str
    base_url: str
    key: str = field(default="", repr=False)
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    local: bool = False
    connect_s: float = 5.0
    first_byte_s: float = 60.0
    total_s: float = 600.0
    idle_s: float = 60.0
    batch: bool = False
    batch_discount: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model at one provider, which calls it `model`; `weight` is its share of requests."""

    provider: Provider
    model: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Model:
    """What clients ask for by `name`; any of `deployments` answers.

    `context` bounds the tokens of a request with its answer, `max_output` those of an answer (0 for
    embeddings). `prices` are in the order in which they begin. Where none of the deployments
    answers for a reason in `fallback_on`, the models in `fallbacks` are asked, in their order.
    """

    name: str
    kind: ModelKind
    deployments: tuple[Deployment, ...]
    context: int
    max_output: int
    prices: tuple[Price, ...]
    fallbacks: tuple[str, ...] = ()
    fallback_on: frozenset[FallbackReason] = frozenset()
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class Purpose:
    """What requests are for, as they say in X-Purpose: for how long their answers are kept (0: not
    at all), and how many there may be.
    """

    name: str
    cache_s: float = 0.0
    rate: Rate = Rate()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models by their names. One without any is that of a platform without providers."""

    models: tuple[Model, ...] = ()
    purposes: Mapping[str, Purpose] = field(default_factory=dict)
    limits: Limits = Limits()
    currency: str = "USD"
    _by_name: Mapping[str, Model] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {model.name: model for model in self.models})

    def model(self, name: str) -> Model:
        """ModelNotFound (404) for a name that is none; NoModel (503) where there are none at all."""
        if not self.models:
            raise NoModel(
                "No provider of language models is set up. Set LLM_MODELS, or LLM_BASE_URL and "
                "LLM_MODEL."
            )
        found = self._by_name.get(name)
        if found is None:
            raise ModelNotFound(
                f"There is no model {name[:100]!r}. GET /v1/models lists those that there are."
            )
        return found

    def purpose(self, name: str) -> Purpose:
        """One that the file doesn't name has no cache and no limits."""
        return self.purposes.get(name) or Purpose(name)

    def provider(self, name: str) -> Provider | None:
        """One that a model is deployed at."""
        deployed = (one.provider for model in self.models for one in model.deployments)
        return next((provider for provider in deployed if provider.name == name), None)

    def price(self, model: Model, on: date) -> Price:
        """The one that holds on a day; NoPrice (503) for a day before the first one begins."""
        held = [price for price in model.prices if price.since <= on]
        if not held:
            raise NoPrice(
                f"The model {model.name!r} has no price on {on}. Add one that begins by then to "
                "the file that LLM_MODELS names."
            )
        return held[-1]
