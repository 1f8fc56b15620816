"""Which limits a request and an attempt are under, by the models file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from uuid import UUID

from ai_services.llm.asking.rate import Places, Rate, Scope
from ai_services.llm.models.catalogue import Limits, Provider, Purpose
from ai_services.llm.models.catalogue import Rate as Allowed

_KEPT: Final = 10_000  # rates of those who asked last


def of_provider(provider: Provider) -> Sequence[Rate]:
    return _rates(
        "provider", provider.name, provider.requests_per_minute, provider.tokens_per_minute
    )


def places(provider: Provider) -> Places | None:
    if provider.concurrency is None:
        return None
    return Places("provider", provider.name, provider.concurrency)


def of_client(org_id: UUID, subject: str, purpose: Purpose, limits: Limits) -> Sequence[Rate]:
    """Of the organisation, of whoever asks, and of the organisation's requests for a purpose."""
    organisation = str(org_id)
    return (
        *_allowed("organisation", organisation, limits.organisation),
        *_allowed("key", f"{organisation}:{subject}", limits.subject),
        *_allowed("purpose", f"{organisation}:{purpose.name}", purpose.rate),
    )


def _allowed(scope: Scope, of: str, allowed: Allowed) -> Sequence[Rate]:
    return _rates(scope, of, allowed.requests_per_minute, allowed.tokens_per_minute)


@lru_cache(_KEPT)
def _rates(
    scope: Scope, of: str, requests_per_minute: int | None, tokens_per_minute: int | None
) -> Sequence[Rate]:
    found: list[Rate] = []
    if requests_per_minute is not None:
        found.append(Rate(scope, of, "requests", requests_per_minute))
    if tokens_per_minute is not None:
        found.append(Rate(scope, of, "tokens", tokens_per_minute))
    return tuple(found)
