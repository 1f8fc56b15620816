"""The models file (LLM_MODELS): read and checked. docs/llm.md explains its words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ai_services.llm.models.catalogue import (
    Catalogue,
    Deployment,
    FallbackReason,
    Limits,
    Model,
    ModelKind,
    Provider,
    Purpose,
    Rate,
)
from ai_services.llm.models.price import Price
from shared.errors import ConfigError
from shared.serving.toml_file import Table, checked, one_of, read_toml

_SETTING: Final = "LLM_MODELS"
_MOST_TOKENS: Final = 100_000_000
_MOST_MONEY: Final = 1_000_000
_MODEL_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KEY_NAME: Final = r"^[A-Z0-9_]{1,64}$"


def read_models_file(path: Path, keys: Mapping[str, str]) -> Catalogue:
    """A file as a whole; ConfigError that names file, entry, field, problem and fix.

    `keys` are the providers' keys by the names that the file gives them.
    """
    return parse_models(read_toml(path, _SETTING, exact=True), keys, source=str(path))


def parse_models(document: Mapping[str, Any], keys: Mapping[str, str], *, source: str) -> Catalogue:
    """A parsed file as a whole, in which numbers with a fraction are Decimal."""
    file = checked(_File, document, source)
    providers = {
        name: _provider(name, item, keys, f"{source}: [providers.{name}]")
        for name, item in _named(file.providers, f"{source}: [providers")
    }
    models = tuple(
        _model(name, item, providers, f'{source}: [models."{name}"]')
        for name, item in file.models.items()
    )
    _check_fallbacks({model.name: model for model in models}, source)
    purposes = {
        name: _purpose(name, item, f"{source}: [purposes.{name}]")
        for name, item in _named(file.purposes, f"{source}: [purposes")
    }
    limits = checked(_LimitsEntry, file.limits, f"{source}: [limits]")
    return Catalogue(models, purposes, limits.value(), file.currency)


def _named(items: Mapping[str, Any], label: str) -> Iterator[tuple[str, Any]]:
    for name, item in items.items():
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{label}.{name!r}] must be a name of lower-case letters, digits, '.', '-' and "
                "'_', 64 at most."
            )
        yield name, item


def _exact(value: object) -> object:
    """An amount as it is written; a text would be one by accident."""
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return Decimal(value)
    raise ValueError


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(
            "it must hold neither a query nor a password. Name the provider's key in `key`."
        )
    return url.rstrip("/")


Money = Annotated[Decimal, BeforeValidator(_exact)]


def _money(default: Any = ...) -> Any:
    wanted = f"an amount per million tokens from 0 to {_MOST_MONEY}, with 8 places at most"
    return Field(default, ge=0, le=_MOST_MONEY, decimal_places=8, description=wanted)


def _count(default: Any = ..., least: int = 1) -> Any:
    wanted = f"a whole number from {least} to {_MOST_TOKENS}"
    return Field(default, ge=least, le=_MOST_TOKENS, description=wanted)


def _seconds(default: float, *, least: float = 0.001, most: float = 3600) -> Any:
    wanted = f"a number of seconds from {least:g} to {most:g}"
    return Field(default, ge=least, le=most, description=wanted)


Seconds = Annotated[float, BeforeValidator(_plain)]
_TABLES: Final = "tables with names of their own"


class _File(Table):
    currency: str = Field(
        pattern=r"^[A-Z]{3}$",
        description='three capital letters, such as "CNY": that of all prices',
    )
    providers: dict[str, Any] = Field(min_length=1, description=_TABLES)
    models: dict[Annotated[str, Field(pattern=_MODEL_NAME)], Any] = Field(
        min_length=1,
        description=f"{_TABLES}: letters, digits and . _ : / @ + -, 128 characters at most",
    )
    purposes: dict[str, Any] = Field(default_factory=dict, description=_TABLES)
    limits: Any = Field(default_factory=dict)


class _ProviderEntry(Table):
    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        description="a URL such as https://api.openai.com/v1"
    )
    key: str | None = Field(
        None,
        pattern=_KEY_NAME,
        description='capital letters, digits and _: "QWEN" is the setting LLM_KEY_QWEN',
    )
    local: bool = Field(False, description="true or false")
    requests_per_minute: int | None = _count(None)
    tokens_per_minute: int | None = _count(None)
    concurrency: int | None = _count(None)
    connect_s: Seconds = _seconds(5)
    first_byte_s: Seconds = _seconds(60)
    total_s: Seconds = _seconds(600)
    idle_s: Seconds = _seconds(60)
    batch: bool = Field(False, description="true or false")
    batch_discount: Annotated[Decimal, BeforeValidator(_exact)] = Field(
        Decimal(0),
        ge=0,
        lt=1,
        decimal_places=4,
        description="the share of the price that batches cost less, such as 0.5: from 0 to below 1, "
        "with 4 places at most",
    )

    @model_validator(mode="after")
    def _agrees(self) -> _ProviderEntry:
        if self.batch_discount and not self.batch:
            raise ValueError("batch_discount is of batches. Add batch = true, or leave it out.")
        return self


class _DeploymentEntry(Table):
    provider: str = Field(description="the name of a provider in this file")
    model: str = Field(min_length=1, description="the name by which the provider knows the model")
    weight: int = Field(1, ge=1, le=1000, description="a whole number from 1 to 1000")


class _PriceEntry(Table):
    since: date = Field(description="the day from which it holds, as a date: 2026-01-31")
    input: Money = _money()
    output: Money = _money(Decimal(0))
    cached: Money | None = _money(None)

    def value(self) -> Price:
        cached = self.input if self.cached is None else self.cached
        return Price(self.since.isoformat(), self.input, self.output, cached, self.since)


class _ModelEntry(Table):
    kind: ModelKind = one_of(("chat", "embeddings"), "chat")
    deployments: list[_DeploymentEntry] = Field(
        min_length=1, description='a list such as [{ provider = "openai", model = "gpt-5" }]'
    )
    context: int = _count()
    max_output: int | None = _count(None)
    prices: list[_PriceEntry] = Field(
        min_length=1,
        description="a list such as [{ since = 2026-01-31, input = 2.5, output = 10 }]; what costs "
        "nothing has prices of 0",
    )
    fallbacks: list[str] = Field(default_factory=list, description="a list of names of models")
    fallback_on: list[FallbackReason] = Field(
        default=["unavailable"],
        description="a list of unavailable, context and refused",
    )
    reasoning: bool = Field(False, description="true or false")

    @model_validator(mode="after")
    def _agrees(self) -> _ModelEntry:
        """The rules between fields."""
        if self.kind == "chat":
            if self.max_output is None or self.max_output > self.context:
                raise ValueError(
                    f"max_output must be a whole number from 1 to the context, {self.context}: "
                    "the most tokens that an answer has."
                )
            if any("output" not in price.model_fields_set for price in self.prices):
                raise ValueError("prices: each needs the price of its output. Add output.")
        elif self.max_output is not None:
            raise ValueError("only answers of chat have an output. Leave out max_output.")
        if "fallback_on" in self.model_fields_set and not self.fallbacks:
            raise ValueError("fallback_on needs models to fall back to. Add fallbacks.")
        twice = [day for day, count in Counter(p.since for p in self.prices).items() if count > 1]
        if twice:
            raise ValueError(f"prices: two of them begin on {twice[0]}. Remove one.")
        return self


class _RateEntry(Table):
    requests_per_minute: int | None = _count(None)
    tokens_per_minute: int | None = _count(None)

    def value(self) -> Rate:
        return Rate(self.requests_per_minute, self.tokens_per_minute)


class _PurposeEntry(_RateEntry):
    cache_s: Seconds = _seconds(0, least=0, most=31 * 86_400)


class _LimitsEntry(Table):
    organisation: _RateEntry = Field(
        default_factory=_RateEntry, description="a table of requests_per_minute, tokens_per_minute"
    )
    subject: _RateEntry = Field(
        default_factory=_RateEntry, description="a table of requests_per_minute, tokens_per_minute"
    )

    def value(self) -> Limits:
        return Limits(self.organisation.value(), self.subject.value())


def _provider(name: str, item: object, keys: Mapping[str, str], label: str) -> Provider:
    entry = checked(_ProviderEntry, item, label)
    said = entry.model_dump(exclude={"key"})
    if entry.key is None:
        return Provider(name, **said)
    if entry.key not in keys:
        setting = f"LLM_KEY_{entry.key}"
        raise ConfigError(
            f"{label}: key names the setting {setting}, which is not set. Set {setting} or "
            f"{setting}_FILE, or leave out key if the provider asks for none."
        )
    return Provider(name, key=keys[entry.key], **said)


def _model(name: str, item: object, providers: Mapping[str, Provider], label: str) -> Model:
    entry = checked(_ModelEntry, item, label)
    for one in entry.deployments:
        if one.provider not in providers:
            raise ConfigError(
                f"{label}: deployments: {one.provider!r} is not a provider. Known are "
                f"{', '.join(sorted(providers))}."
            )
    return Model(
        name,
        entry.kind,
        tuple(
            Deployment(providers[one.provider], one.model, one.weight) for one in entry.deployments
        ),
        entry.context,
        entry.max_output or 0,
        tuple(one.value() for one in sorted(entry.prices, key=lambda one: one.since)),
        tuple(entry.fallbacks),
        frozenset(entry.fallback_on) if entry.fallbacks else frozenset(),
        entry.reasoning,
    )


def _purpose(name: str, item: object, label: str) -> Purpose:
    entry = checked(_PurposeEntry, item, label)
    return Purpose(name, entry.cache_s, entry.value())


def _check_fallbacks(models: Mapping[str, Model], source: str) -> None:
    for model in models.values():
        label = f'{source}: [models."{model.name}"]: fallbacks'
        for name in model.fallbacks:
            if name not in models:
                raise ConfigError(
                    f"{label}: {name!r} is not a model. Known are {', '.join(sorted(models))}."
                )
            if models[name].kind != model.kind:
                raise ConfigError(
                    f"{label}: {name!r} is of the kind {models[name].kind}, not {model.kind}. "
                    "Name one of the same kind."
                )
        circle = _way_back(model.name, models)
        if circle:
            raise ConfigError(f"{label} lead back to it: {' → '.join(circle)}. Remove one.")


def _way_back(start: str, models: Mapping[str, Model]) -> list[str]:
    """The names from a model over its fallbacks to itself; none if there is no such way."""
    ways, seen = [[start]], set[str]()
    while ways:
        way = ways.pop()
        for name in models[way[-1]].fallbacks if way[-1] in models else ():
            if name == start:
                return [*way, name]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []
