"""Catalogues for tests: models at a model server on loopback."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ai_services.llm.models.catalogue import Catalogue, Deployment, Model, Provider
from ai_services.llm.models.price import Price

PRICE = Price("2025-01-01", input=Decimal(1), output=Decimal(4), cached=Decimal("0.5"))


def provider(url: str = "http://127.0.0.1:9/v1", name: str = "loopback", **fields: Any) -> Provider:
    return Provider(name, url, **{"key": "sk-test", **fields})


def model(name: str, *deployments: Deployment, **fields: Any) -> Model:
    values: dict[str, Any] = {
        "kind": "chat", "context": 32_768, "max_output": 4096, "prices": (PRICE,), **fields,
    }  # fmt: skip
    return Model(name, deployments=deployments, **values)


def catalogue(*models: Model, **fields: Any) -> Catalogue:
    return Catalogue(models, **fields)
